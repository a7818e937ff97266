"""A forest plot as a table: name, number of cases, a strip with the interval, and the figure in digits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from medfuse.reporting.svg import Stroke, mark, strip, strokes_of
from medfuse.types import Comparison, Estimate

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation
    from medfuse.reporting.sentences import Sentences

__all__ = ["Forest", "ForestRow", "areas_forest", "counted_forest", "strokes_for", "subgroup_forest"]

PLAIN = Stroke("#00785a", "", "square")
MOST_COLUMNS = 12


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One row; ``strip`` is empty for a heading or where no figure is defined, ``is_level`` a value under a heading."""

    name: str
    count: str = ""
    strip: str = ""
    figure: str = ""
    is_heading: bool = False
    is_faint: bool = False
    is_level: bool = False


@dataclass(frozen=True, slots=True)
class Forest:
    """Rows above one axis."""

    rows: tuple[ForestRow, ...]
    axis: Markup


def counted_forest(rows: Sequence[tuple[str, str, Estimate | None]], words: Sentences) -> Forest:
    """Draw one figure a row, such as the AUROC of each target.

    Parameters
    ----------
    rows : sequence of (str, str, Estimate or None)
        Name, count, area; None where it is not evaluated.
    words : Sentences
    """
    span, ticks = axis_of([area for _, _, area in rows if area is not None])
    return Forest(
        tuple(
            ForestRow(name, count, _strip(area, span, PLAIN) if area else "", words.estimate(area) if area else "–")
            for name, count, area in rows
        ),
        mark(span, ticks, zero=0.5),
    )


def areas_forest(
    rows: Sequence[tuple[str, str, Estimate]],
    words: Sentences,
    *,
    strokes: Mapping[str, Stroke],
    faint: Sequence[str] = (),
) -> Forest:
    """Draw the AUROC of several models or conditions.

    Parameters
    ----------
    rows : sequence of (str, str, Estimate)
        Key, shown name, area.
    words : Sentences
    strokes : mapping of str to Stroke
        By key.
    faint : sequence of str
        Keys of baselines.

    Returns
    -------
    Forest
    """
    span, ticks = axis_of([area for _, _, area in rows])
    return Forest(
        tuple(
            ForestRow(name, "", _strip(area, span, strokes[key]), words.estimate(area), is_faint=key in faint)
            for key, name, area in rows
        ),
        mark(span, ticks, zero=0.5),
    )


def subgroup_forest(evaluation: Evaluation, words: Sentences) -> Forest | None:
    """Draw the AUROC of every subgroup, with the p value that all groups of a column are alike.

    Parameters
    ----------
    evaluation : Evaluation
    words : Sentences

    Returns
    -------
    Forest or None
        None where no column makes groups.
    """
    say = words.say
    shown_factors = evaluation.subgroups[:MOST_COLUMNS]
    areas = [group.figures["auroc"] for one in shown_factors for group in one.groups if "auroc" in group.figures]
    if not areas:
        return None
    span, ticks = axis_of(areas)
    rows = []
    for factor in shown_factors:
        p = factor.p_holm.get("auroc", math.nan)
        note = say("subgroup.alike", p=words.p(p)) if not math.isnan(p) else say("subgroup.untested")
        missing = say("subgroup.missing", n=factor.n_missing) if factor.n_missing else ""
        rows.append(ForestRow(factor.column, missing, figure=note, is_heading=True))
        for group in factor.groups:
            area = group.figures.get("auroc")
            count = say("subgroup.count", n=group.n, positive=group.n_positive)
            shown = _strip(area, span, PLAIN) if area else ""
            figure = words.estimate(area) if area else say("subgroup.one_class")
            rows.append(ForestRow(group.name or say("subgroup.unknown"), count, shown, figure, is_level=True))
    if more := len(evaluation.subgroups) - len(shown_factors):
        rows.append(ForestRow(say("subgroup.more", n=more), is_heading=True))
    return Forest(tuple(rows), mark(span, ticks, zero=0.5))


def axis_of(figures: Sequence[Estimate | Comparison]) -> tuple[tuple[float, float], tuple[float, ...]]:
    """Return the ends of an axis of areas, from at most 0.5 to 1, and its ticks.

    Examples
    --------
    >>> axis_of([Estimate("auroc", 0.8, 0.7, 0.9, 10, 5, "")])
    ((0.45, 1.0), (0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
    """
    lowest = min((figure.low for figure in figures if not math.isnan(figure.low)), default=0.5)
    if lowest >= 0.45:
        return (0.45, 1.0), (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    if lowest >= 0.2:
        return (0.2, 1.0), (0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
    return (0.0, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0)


def _strip(area: Estimate, span: tuple[float, float], stroke: Stroke) -> str:
    if math.isnan(area.value):
        return ""
    return strip((area.low, area.value, area.high), span, stroke, zero=0.5)


def strokes_for(evaluation: Evaluation) -> dict[str, Stroke]:
    """Return the stroke of each condition and baseline."""
    return strokes_of([*evaluation.metrics, *evaluation.baselines])
