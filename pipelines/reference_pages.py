"""Write docs/configuration.md and docs/components.md: every key and every option, from the code that reads them.

Run it by ``make reference``; a test holds the pages to the code.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from medfuse.config import RunConfig
from medfuse.docstrings import parameters, summary
from medfuse.models import component_options, list_components
from medfuse.whole_files import write_whole

TITLES = {
    "": "The run",
    "targets": "targets, a list",
    "attributes": "attributes, a list",
    "baselines": "baselines, a list",
}
RUN = {
    "name": "Shown in logs, MLflow and reports.",
    "seed": "Of weights, batches, augmentation and the inner validation part.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--out``, a folder.

    Returns
    -------
    int
        0.
    """
    parser = argparse.ArgumentParser(prog="reference_pages", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args(argv)
    write_whole(options.out / "configuration.md", configuration_page().encode())
    write_whole(options.out / "components.md", components_page().encode())
    return 0


def configuration_page() -> str:
    """Return every key of a configuration: what it takes, its default, what it means."""
    lines = [
        "# Configuration",
        "",
        "One YAML file holds a run, as in `configs/`. A key that is left out has the default given here; an unknown one"
        " is refused with the nearest right one. `--set key.of.one=value` overrides a key, its value read as YAML:"
        " write `1.0e-3`, since YAML reads `1e-3` as text. The run's folder keeps the whole of it, defaults written"
        " out, as `config.resolved.yaml`.",
        "",
        "This page is written from the code by `make reference`.",
    ]
    for path, model in sections("", RunConfig):
        lines += ["", f"## {TITLES.get(path, path)}", ""]
        said = plain(summary(model.__doc__)) if path else ""
        lines += [said, ""] if said else []
        lines += ["| key | takes | default | |", "|---|---|---|---|"]
        meanings = {**parameters(model.__doc__), **({} if path else RUN)}
        for name, field in model.model_fields.items():
            if inner := model_of(field.annotation):
                key = f"{path}.{name}" if path else name
                place = TITLES.get(key, key)
                lines.append(f"| `{name}` | see [{place}](#{anchor(place)}) | | {plain(summary(inner.__doc__))} |")
                continue
            default = "" if field.default is PydanticUndefined else f"`{shown(field.default)}`"
            limits = ", ".join(filter(None, (limit_of(item) for item in field.metadata)))
            takes = kind_of(field.annotation) + (f", {limits}" if limits else "")
            lines.append(f"| `{name}` | {takes} | {default} | {plain(meanings.get(name, ''))} |")
    return "\n".join(lines) + "\n"


def components_page() -> str:
    """Return every component and its options."""
    lines = [
        "# Components",
        "",
        "What `model.image_encoder` and its like can name. `medfuse models` lists the same, those of installed packages"
        " included. Sizes that the model knows (channels, box, vocabulary) are no options.",
        "",
        "This page is written from the code by `make reference`.",
    ]
    for kind, components in list_components().items():
        lines += ["", f"## model.{kind}"]
        for name, options in components.items():
            lines += ["", f"### {name}", "", options[""], ""]
            told = component_options(kind, name)
            for option, default in options.items():
                if option:
                    lines.append(f"- `{option} = {default}` {plain(told.get(option, ''))}".rstrip())
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Give a model, then those inside it, each with its dotted path."""
    yield path, model
    for name, field in model.model_fields.items():
        if inner := model_of(field.annotation):
            yield from sections(f"{path}.{name}" if path else name, inner)


def model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a field holds, alone or in a list; None if it holds none."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(model_of, get_args(annotation))), None)


def plain(text: str) -> str:
    """Return a docstring's text as a cell of a Markdown table."""
    return re.sub(r"`medfuse\.[\w.]*?(\w+)`", r"`\1`", text.replace("``", "`").replace("|", "\\|"))


def kind_of(annotation: Any) -> str:
    """Say what a field takes.

    Examples
    --------
    >>> kind_of(Literal["a", "b"]), kind_of(tuple[int, ...]), kind_of(float | None)
    ('`a`, `b`', 'list of int', 'float or nothing')
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = ", ".join(filter(None, map(limit_of, inner[1:])))
        return kind_of(inner[0]) + (f" {limits}" if limits else "")
    if origin is Literal:
        return ", ".join(f"`{value}`" if value != "" else "empty" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join("nothing" if one is NoneType else kind_of(one) for one in inner)
    if origin is tuple:
        several = inner[-1] is Ellipsis
        return f"list of {kind_of(inner[0])}" if several else "[" + ", ".join(map(kind_of, inner)) + "]"
    if origin in (dict, Mapping):
        return "mapping"
    name: str = annotation.__name__
    return {"str": "text", "bool": "true or false"}.get(name, name)


def limit_of(metadata: Any) -> str:
    """Say what pydantic holds a value to."""
    parts = getattr(metadata, "metadata", [metadata])
    signs = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}", "min_length": "{} or more"}
    found = [words.format(getattr(part, key)) for part in parts for key, words in signs.items() if hasattr(part, key)]
    return " and ".join(one for one in found if "None" not in one)


def shown(value: Any) -> str:
    """Show a default as YAML in one line would."""
    import yaml

    content = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    listed = [*content] if isinstance(content, tuple) else content
    return yaml.safe_dump(listed, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()


def anchor(title: str) -> str:
    """Return how a heading is linked to.

    Examples
    --------
    >>> anchor("data.image")
    'dataimage'
    """
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
