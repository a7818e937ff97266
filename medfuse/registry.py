"""Components by name: one function that builds any of them and says clearly what was wrong."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from medfuse.errors import ConfigError, nearest_name

__all__ = ["build", "choose", "with_entry_points"]

T = TypeVar("T")


def with_entry_points(components: Mapping[str, type[T]], *, group: str) -> dict[str, type[T]]:
    """Add the components that installed packages offer, read lazily and only by their entry point.

    Parameters
    ----------
    components : mapping of str to type
        The components of medfuse itself; they win over one of the same name from outside.
    group : str
        Entry-point group, for example ``"medfuse.fusions"``.

    Returns
    -------
    dict of str to type
    """
    outside = {point.name: point for point in entry_points(group=group) if point.name not in components}
    return {**{name: point.load() for name, point in outside.items()}, **components}


def choose(components: Mapping[str, type[T]], options: Mapping[str, Any], *, where: str) -> type[T]:
    """Return the component that a configuration names.

    Parameters
    ----------
    components : mapping of str to type
        The components to choose from.
    options : mapping
        ``name`` of the component, beside its options.
    where : str
        The configuration key, for error messages.

    Raises
    ------
    ConfigError
        If there is no such component.
    """
    name = str(options.get("name"))
    if name not in components:
        raise ConfigError(f"{where}.name", f"found {name!r}", expected=nearest_name(name, components))
    return components[name]


def build(components: Mapping[str, type[T]], options: Mapping[str, Any], *, where: str, given: Mapping[str, Any]) -> T:
    """Build a component from its configuration.

    Parameters
    ----------
    components : mapping of str to type
        The components to choose from.
    options : mapping
        ``name`` of the component; every other key is an option of its constructor.
    where : str
        The configuration key, for error messages, for example ``"model.fusion"``.
    given : mapping
        Arguments that the model supplies itself (sizes), passed if the constructor has them.

    Returns
    -------
    object
        An instance of the named component.

    Raises
    ------
    ConfigError
        If the name or an option is unknown, an option is missing, or a value is refused.

    Examples
    --------
    >>> from fractions import Fraction
    >>> options = {"name": "fraction", "numerator": 3}
    >>> build({"fraction": Fraction}, options, where="number", given={"denominator": 4})
    Fraction(3, 4)
    """
    component = choose(components, options, where=where)
    name = str(options["name"])
    parameters = inspect.signature(component).parameters
    own = {key: value for key, value in options.items() if key != "name"}
    free = [key for key in parameters if key not in given]
    for key in own:
        if key not in free:
            raise ConfigError(
                f"{where}.{key}", f"component {name!r} has no such option", expected=nearest_name(key, free)
            )
    arguments = {**own, **{key: value for key, value in given.items() if key in parameters}}
    required = [key for key, p in parameters.items() if p.default is p.empty and key not in arguments]
    if required:
        raise ConfigError(where, f"component {name!r} lacks {required}", expected="a value for each")
    try:
        return component(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(where, f"component {name!r} refused its options: {error}") from error
