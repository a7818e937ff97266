"""Which method explains which input, from the words of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medfuse.errors import UsageError, nearest_name
from medfuse.explain.explaining import ExplainOptions
from medfuse.explain.methods import known_methods

__all__ = ["chosen_methods"]

WHERE = "--method"
INPUTS = ("image", "text")


def chosen_methods(asked: Sequence[str]) -> ExplainOptions:
    """Return how a case is explained by the methods that somebody asked for.

    Parameters
    ----------
    asked : sequence of str
        Each ``"NAME"``, for every input that the method scores, or ``"image=NAME"`` or ``"text=NAME"`` for one alone;
        of several for one input the last counts. An input that none is asked for keeps its default.

    Returns
    -------
    ExplainOptions

    Raises
    ------
    UsageError
        If there is no such input or method, or the method does not score that input.

    Examples
    --------
    >>> found = chosen_methods(["grad_cam", "text=feature_ablation"])
    >>> found.image_method, found.text_method
    ({'name': 'grad_cam'}, {'name': 'feature_ablation'})
    """
    options = ExplainOptions()
    for one in asked:
        given, _, name = (part.strip() for part in one.rpartition("="))
        inputs = _one_of(given, name) if given else _scored_by(name)
        if "image" in inputs:
            options = replace(options, image_method={"name": name})
        if "text" in inputs:
            options = replace(options, text_method={"name": name})
    return options


def _scored_by(name: str) -> tuple[str, ...]:
    methods = known_methods()
    if name not in methods:
        raise UsageError(WHERE, f"found {name!r}", expected=nearest_name(name, methods))
    return tuple(one for one in INPUTS if one in methods[name].explains)


def _one_of(given: str, name: str) -> tuple[str, ...]:
    if given not in INPUTS:
        raise UsageError(WHERE, f"found the input {given!r}", expected=nearest_name(given, INPUTS))
    if given not in _scored_by(name):
        able = [other for other, method in known_methods().items() if given in method.explains]
        raise UsageError(WHERE, f"found {name!r}, which does not score {given}", expected=" or ".join(sorted(able)))
    return (given,)
