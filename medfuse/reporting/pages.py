"""One template environment for every page: escaped, strict, without script or network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from medfuse.reporting import words
from medfuse.reporting.catalogue import open_catalogue

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render", "write_json", "write_page"]


def render(template: str, context: Mapping[str, object]) -> str:
    """Fill a template of this room.

    Parameters
    ----------
    template : str
        File name in ``templates/``.
    context : mapping of str to object
        Names that the template uses; a missing one is an error. All text is escaped.

    Returns
    -------
    str
        HTML with its style inside, no script, and a policy that forbids any request.
    """
    return _environment().get_template(template).render(context)


def write_page(path: Path, template: str, context: Mapping[str, object]) -> Path:
    """Fill a template and write it as UTF-8, its folder made where needed.

    Parameters
    ----------
    path : Path
    template : str
    context : mapping of str to object

    Returns
    -------
    Path
        The file written.
    """
    text = render(template, context)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json(path: Path, content: Mapping[str, object]) -> Path:
    """Write figures as strict JSON (no NaN), its folder made where needed.

    Parameters
    ----------
    path : Path
    content : mapping

    Returns
    -------
    Path
        The file written.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
    return path


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medfuse.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = words.number
    environment.filters["signed"] = words.signed
    environment.globals["say"] = open_catalogue("en")  # a page in another language brings its own
    return environment
