"""What a page needs to know of a case beside its explanation: which lesion, and how the model does on others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import ConfigError
from medfuse.reporting.explanation_sentences import explanation_sentences
from medfuse.reporting.provenance import limits_of, read_settings
from medfuse.reporting.words import number

__all__ = ["CaseFacts", "GroupFigure", "model_limits", "read_group_figures"]


@dataclass(frozen=True, slots=True)
class GroupFigure:
    """How well the model ranks the test cases of a group.

    Parameters
    ----------
    column, name : str
        The group: a column of the cohort and its value, empty where it is missing; both empty for all test cases.
    n, n_positive : int
    area : tuple of (value, low, high), optional
        AUROC with its interval; None where a class is missing.
    """

    column: str
    name: str
    n: int
    n_positive: int
    area: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class CaseFacts:
    """Which case a page is of, and what is known of its model.

    Parameters
    ----------
    position_mm : tuple of float, optional
        Of the lesion, (x, y, z) in RAS+ mm.
    side : {"", "left", "right"}
        Half of the imaged body that the lesion lies in; empty where that cannot be told.
    diameter_mm : float, optional
    n_lesions : int
        Of the study.
    unit : str
        Of the image's values: ``"HU"``, or empty.
    channel : str
        Name of the channel that is shown, if the image has several.
    other_channels : mapping of str to ndarray, shape (I, J, K)
        By name, on the grid of the explained image.
    groups : tuple of GroupFigure
        All test cases first.
    level : float
        Confidence level of their intervals.
    limits : tuple of str
        Sentences on what the labels or the model forbid to conclude.
    """

    position_mm: tuple[float, float, float] | None = None
    side: Literal["", "left", "right"] = ""
    diameter_mm: float | None = None
    n_lesions: int = 1
    unit: str = ""
    channel: str = ""
    other_channels: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    groups: tuple[GroupFigure, ...] = ()
    level: float = 0.95
    limits: tuple[str, ...] = ()


def read_group_figures(figures: Path, *, target: str) -> tuple[GroupFigure, ...]:
    """Read how well a model does by group from the metrics.json of its evaluation.

    Parameters
    ----------
    figures : Path
        A metrics.json that `medfuse.reporting.write_evaluation_report` wrote.
    target : str

    Returns
    -------
    tuple of GroupFigure
        All test cases first; empty if there is no such file, or it holds nothing of the target.
    """
    try:
        content = json.loads(figures.read_text(encoding="utf-8"))
        found = _of_target(content, target)
        if found is None:
            return ()
        condition = "fused" if "fused" in found else next(n for n in ("image", "text", "table") if n in found)
        whole = GroupFigure("", "", int(found["n"]), int(found["n_positive"]), _area(found[condition]))
        groups = [
            GroupFigure(factor["column"], one["name"], int(one["n"]), int(one["n_positive"]), _area(one["figures"]))
            for factor in found.get("subgroups", ())
            for one in factor["groups"]
        ]
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return ()
    return (whole, *groups)


def model_limits(run: Path, groups: Sequence[GroupFigure], *, target: str) -> tuple[str, ...]:
    """Return what a model's own record forbids to conclude from its answers.

    Parameters
    ----------
    run : Path
        Folder of the run that made the model.
    groups : sequence of GroupFigure
        How well it does, all test cases first.
    target : str

    Returns
    -------
    tuple of str
        Sentences: where the labels come from, if from reports; how few cases the figures rest on; the groups that the
        model ranks worse than all cases together, by the whole interval.
    """
    say = explanation_sentences()
    try:
        config = read_settings(run)
        said = limits_of(config.model_copy(update={"targets": [one for one in config.targets if one.name == target]}))
    except ConfigError:  # no run lies beside a model that came by itself
        said = []
    if not groups:
        return (*said, say("limit.untested"))
    whole = groups[0]
    said.append(say("limit.size", positive=whole.n_positive, negative=whole.n - whole.n_positive))
    for group in groups[1:]:
        if whole.area and group.area and group.area[2] < whole.area[0]:
            value, low, high = (number(figure, 2) for figure in group.area)
            column = group.column.replace("_", " ")
            said.append(say("limit.group", column=column, name=group.name, value=value, low=low, high=high))
    return tuple(said)


def _of_target(content: Mapping[str, Any], target: str) -> Mapping[str, Any] | None:
    """Return the figures of a target's last class: a file is of one target, or of several by name."""
    if "targets" not in content:
        return content if content.get("target", target) in (target, "") else None
    by_class: Mapping[str, Any] = content["targets"].get(target, {}).get("by_class", {})
    return by_class[list(by_class)[-1]] if by_class else None


def _area(figures: Mapping[str, Any]) -> tuple[float, float, float] | None:
    found = figures.get("auroc")
    if not found or found["value"] is None:
        return None
    return float(found["value"]), float(found["low"]), float(found["high"])
