"""YAML of a person's own, read as plain data and within limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from medfuse.errors import ConfigError

__all__ = ["parse_yaml", "read_yaml"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
SHOWN_LETTERS = 60


def read_yaml(path: Path) -> Any:
    """Read a YAML file as plain data: no tag of it makes an object.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict, list, str, int, float, bool, date or None

    Raises
    ------
    ConfigError
        If it cannot be read, is above 1 MB, is no YAML, holds an alias or a key twice, or nests deeper than 50.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(path.name, "found a file above 1 MB: too large", expected="a configuration")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(path.name, f"cannot be read ({type(error).__name__})", expected="a YAML file") from error
    return parse_yaml(text, where=path.name)


def parse_yaml(text: str, *, where: str) -> Any:
    r"""Parse YAML as `read_yaml` does.

    Examples
    --------
    >>> parse_yaml("optim: {epochs: 3}", where="--set")
    {'optim': {'epochs': 3}}
    >>> parse_yaml("a: &a [1]\nb: *a", where="x.yaml")
    Traceback (most recent call last):
    medfuse.errors.ConfigError: x.yaml: found a YAML alias; expected each value written out
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                # Aliases let a small file grow without bound; a configuration needs none.
                raise ConfigError(where, "found a YAML alias", expected="each value written out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ConfigError(where, "found YAML nested too deep", expected=f"at most {MAX_DEPTH} levels")
        _check_keys(yaml.compose(text, Loader=yaml.SafeLoader), where)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(where + line, "found invalid YAML", expected="keys and values") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        # A date that is none, a number too long, a tag on the wrong kind of value: PyYAML lets them through.
        raise ConfigError(where, "found a YAML value that cannot be read", expected="keys and values") from error


def _check_keys(node: yaml.Node | None, where: str) -> None:
    """Refuse a key that stands twice: PyYAML would take the last one, and say nothing."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, where)
    if isinstance(node, yaml.MappingNode):
        names: set[object] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    line = f"{where} line {key.start_mark.line + 1}"
                    raise ConfigError(line, f"found key {key.value[:SHOWN_LETTERS]!r} twice", expected="each key once")
                names.add(key.value)
            _check_keys(value, where)
