"""The curves of an evaluation as plots, each with its legend and a description in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from medfuse.reporting.svg import FAINT, Frame, Line, Points, Stroke, plot, strokes_of, swatch
from medfuse.reporting.words import number
from medfuse.types import Estimate

if TYPE_CHECKING:
    from medfuse.evaluation import Curves, Evaluation
    from medfuse.reporting.sentences import Sentences

__all__ = ["Figure", "curve_figures", "missing_figures"]

CHANCE = Stroke(FAINT, "3 3", "circle", 1.2)
ALL = Stroke("#333333", "10 4", "square", 1.4)
NONE = Stroke(FAINT, "", "circle", 1.4)
MOST_CURVES = 7


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot, its legend (a swatch, a name and a number each) and its caption."""

    svg: Markup
    legend: tuple[tuple[Markup, str, str], ...]
    caption: str


def curve_figures(evaluation: Evaluation, main: str, words: Sentences) -> list[Figure]:
    """Draw ROC, precision and recall, calibration and net benefit.

    Parameters
    ----------
    evaluation : Evaluation
    main : str
        The condition that calibration is drawn of.
    words : Sentences

    Returns
    -------
    list of Figure
    """
    every = {**evaluation.metrics, **evaluation.baselines}
    drawn = [name for name in every if name != "prevalence" and "+" not in name][:MOST_CURVES]
    if main not in drawn:
        drawn = [*drawn[:-1], main]
    curves = {name: evaluation.curves[name] for name in drawn}
    named = {name: words.condition(name, among=evaluation.metrics) for name in drawn}
    areas = {name: every[name] for name in drawn}
    share = evaluation.n_positive / evaluation.n
    return [
        _roc(curves, named, {name: found["auroc"] for name, found in areas.items()}, _operating(evaluation), words),
        _precision(curves, named, {name: found["auprc"] for name, found in areas.items()}, share, words),
        _calibration(curves[main], named[main], main, words),
        _benefit({name: curves[name] for name in evaluation.metrics if name in curves}, named, words),
    ]


def _operating(evaluation: Evaluation) -> dict[str, tuple[float, float]]:
    """1 - specificity and sensitivity at the locked threshold, by condition."""
    return {
        name: (1 - found["specificity"].value, found["sensitivity"].value) for name, found in evaluation.metrics.items()
    }


def _roc(
    curves: Mapping[str, Curves],
    named: Mapping[str, str],
    areas: Mapping[str, Estimate],
    operating: Mapping[str, tuple[float, float]],
    words: Sentences,
) -> Figure:
    say, strokes = words.say, strokes_of(list(curves))
    layers: list[Line | Points] = [Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), CHANCE)]
    layers += [Line(c.false_positive_rate, c.true_positive_rate, strokes[name]) for name, c in curves.items()]
    layers += [Points([x], [y], strokes[name]) for name, (x, y) in operating.items() if name in curves]
    frame = Frame("roc", say("roc.title"), _listed("roc.description", named, areas, words), say("roc.x"), say("roc.y"))
    return Figure(plot(frame, layers), _legend(strokes, named, areas), say("roc.caption"))


def _precision(
    curves: Mapping[str, Curves],
    named: Mapping[str, str],
    areas: Mapping[str, Estimate],
    share: float,
    words: Sentences,
) -> Figure:
    say, strokes = words.say, strokes_of(list(curves))
    layers = [Line(np.array([0.0, 1.0]), np.array([share, share]), CHANCE)]
    layers += [Line(c.recall, c.precision, strokes[name]) for name, c in curves.items()]
    frame = Frame("pr", say("pr.title"), _listed("pr.description", named, areas, words), say("pr.x"), say("pr.y"))
    caption = say("pr.caption", share=f"{100 * share:.0f}%")
    return Figure(plot(frame, layers), _legend(strokes, named, areas), caption)


def _calibration(curve: Curves, name: str, main: str, words: Sentences) -> Figure:
    say, bins, stroke = words.say, curve.calibration, strokes_of([main])[main]
    seen = [point.observed for point in bins]
    points = Points(
        [point.predicted for point in bins],
        [one.value for one in seen],
        stroke,
        [one.low for one in seen],
        [one.high for one in seen],
    )
    told = "; ".join(f"{number(p.predicted, 2)}: {number(p.observed.value, 2)}" for p in bins)
    frame = Frame(
        "calibration",
        say("calibration.title", name=name),
        say("calibration.description", points=told),
        say("calibration.x"),
        say("calibration.y"),
    )
    sizes = [one.n for one in seen]
    caption = say("calibration.caption", low=min(sizes), high=max(sizes), level=words.level)
    legend = ((swatch(stroke), name, ""),)
    return Figure(plot(frame, [Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), CHANCE), points]), legend, caption)


def _benefit(curves: Mapping[str, Curves], named: Mapping[str, str], words: Sentences) -> Figure:
    say, strokes = words.say, strokes_of(list(curves))
    first = next(iter(curves.values())).decision
    tops = [np.nanmax(curve.decision.net_benefit) for curve in curves.values()]
    top = max(float(max(*tops, np.nanmax(first.treat_all))) if tops else 0.0, 0.05)
    layers = [Line(first.thresholds, first.treat_all, ALL), Line(first.thresholds, 0 * first.thresholds, NONE)]
    layers += [Line(c.decision.thresholds, c.decision.net_benefit, strokes[name]) for name, c in curves.items()]
    frame = Frame(
        "benefit",
        say("benefit.title"),
        say("benefit.description", names=", ".join(named[name] for name in curves)),
        say("benefit.x"),
        say("benefit.y"),
        y_range=(-0.15 * top, 1.05 * top),
    )
    both = ((swatch(ALL), say("benefit.all"), ""), (swatch(NONE), say("benefit.none"), ""))
    legend = tuple((swatch(strokes[name]), named[name], "") for name in curves)
    return Figure(plot(frame, layers), (*legend, *both), say("benefit.caption"))


def missing_figures(evaluation: Evaluation, words: Sentences) -> list[Figure]:
    """Draw how the model falls as a modality goes missing.

    Parameters
    ----------
    evaluation : Evaluation
    words : Sentences

    Returns
    -------
    list of Figure
        One a modality that the predictions know the model's answers without.
    """
    say = words.say
    figures: list[Figure] = []
    for modality, points in evaluation.missing.items():
        stroke = strokes_of(["fused"])["fused"]
        name = words.condition(modality)
        shares = [point.share for point in points]
        areas = [point.area for point in points]
        lows, highs = [area.low for area in areas], [area.high for area in areas]
        told = "; ".join(f"{100 * s:.0f}%: {number(a.value)}" for s, a in zip(shares, areas, strict=True))
        bottom = min(0.5, *lows)
        frame = Frame(
            f"missing-{len(figures)}",
            say("missing.title", name=name),
            say("missing.description", points=told),
            say("missing.x", name=name),
            say("missing.y"),
            y_range=(bottom, 1.0),
            percent=True,
        )
        drawn: Sequence[Line | Points] = [
            Line(np.array(shares), np.array([area.value for area in areas]), stroke),
            Points(shares, [area.value for area in areas], stroke, lows, highs),
        ]
        first, last = words.estimate(areas[0]), words.estimate(areas[-1])
        caption = say("missing.caption", name=name, first=first, last=last, level=words.level)
        figures.append(Figure(plot(frame, drawn), (), caption))
    return figures


def _listed(key: str, named: Mapping[str, str], areas: Mapping[str, Estimate], words: Sentences) -> str:
    return words.say(key, areas="; ".join(f"{named[name]} {words.estimate(area)}" for name, area in areas.items()))


def _legend(
    strokes: Mapping[str, Stroke], named: Mapping[str, str], areas: Mapping[str, Estimate]
) -> tuple[tuple[Markup, str, str], ...]:
    return tuple((swatch(strokes[name]), named[name], number(areas[name].value)) for name in named)
