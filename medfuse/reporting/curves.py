"""The curves of an evaluation as plots, each with its legend and a description in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from medfuse.reporting.svg import FAINT, Frame, Line, Points, Stroke, plot, strokes_of, swatch
from medfuse.reporting.words import number

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation
    from medfuse.reporting.sentences import Sentences

__all__ = ["Figure", "curve_figures", "missing_figures", "small_figures"]

CHANCE = Stroke(FAINT, "3 3", "circle", 1.2)
ALL = Stroke("#333333", "10 4", "square", 1.4)
NONE = Stroke(FAINT, "", "circle", 1.4)
MOST_CURVES = 7
Legend = tuple[tuple[Markup, str, str], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot, its legend (a swatch, a name and a number each) and its caption."""

    svg: Markup
    legend: Legend
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
    drawn = _Drawn(evaluation, main, words)
    return [_roc(drawn), _precision(drawn), _calibration(drawn), _benefit(drawn)]


def small_figures(evaluation: Evaluation, main: str, words: Sentences, *, prefix: str) -> list[Figure]:
    """Draw ROC and calibration of one of several targets.

    Parameters
    ----------
    evaluation : Evaluation
    main : str
    words : Sentences
    prefix : str
        Keeps the plots of a page apart.

    Returns
    -------
    list of Figure
    """
    drawn = _Drawn(evaluation, main, words, prefix)
    return [_roc(drawn), _calibration(drawn)]


class _Drawn:
    """The conditions that are drawn: a constant has no curve, and those of pairs of inputs would hide the others."""

    def __init__(self, evaluation: Evaluation, main: str, words: Sentences, prefix: str = "") -> None:
        every = {**evaluation.metrics, **evaluation.baselines}
        names = [name for name in every if name != "prevalence" and "+" not in name][:MOST_CURVES]
        names = names if main in names else [*names[:-1], main]
        self.evaluation, self.main, self.words, self.prefix = evaluation, main, words, prefix
        self.curves = {name: evaluation.curves[name] for name in names}
        self.named = {name: words.condition(name, among=evaluation.metrics) for name in names}
        self.figures = {name: every[name] for name in names}
        self.strokes = strokes_of(names)

    def frame(self, kind: str, description: str, *, title: str = "") -> Frame:
        """Return the axes of a kind of plot, named from the catalogue."""
        say = self.words.say
        return Frame(self.prefix + kind, title or say(f"{kind}.title"), description, say(f"{kind}.x"), say(f"{kind}.y"))

    def areas(self, metric: str) -> str:
        """Say the areas of all curves."""
        found = (f"{self.named[name]} {self.words.estimate(one[metric])}" for name, one in self.figures.items())
        return "; ".join(found)

    def legend(self, metric: str = "", names: Sequence[str] = ()) -> Legend:
        """Return a swatch, a name and a figure a curve."""
        return tuple(
            (swatch(self.strokes[n]), self.named[n], number(self.figures[n][metric].value) if metric else "")
            for n in names or self.curves
        )


def _roc(drawn: _Drawn) -> Figure:
    say = drawn.words.say
    layers: list[Line | Points] = [Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), CHANCE)]
    layers += [
        Line(curve.false_positive_rate, curve.true_positive_rate, drawn.strokes[name])
        for name, curve in drawn.curves.items()
    ]
    for name in drawn.curves:
        if name in drawn.evaluation.metrics:  # where its locked threshold lies
            found = drawn.figures[name]
            at = [1 - found["specificity"].value], [found["sensitivity"].value]
            layers.append(Points(*at, drawn.strokes[name]))
    frame = drawn.frame("roc", say("roc.description", areas=drawn.areas("auroc")))
    return Figure(plot(frame, layers), drawn.legend("auroc"), say("roc.caption"))


def _precision(drawn: _Drawn) -> Figure:
    say, share = drawn.words.say, drawn.evaluation.n_positive / drawn.evaluation.n
    layers = [Line(np.array([0.0, 1.0]), np.array([share, share]), CHANCE)]
    layers += [Line(curve.recall, curve.precision, drawn.strokes[name]) for name, curve in drawn.curves.items()]
    frame = drawn.frame("pr", say("pr.description", areas=drawn.areas("auprc")))
    caption = say("pr.caption", share=f"{100 * share:.0f}%")
    return Figure(plot(frame, layers), drawn.legend("auprc"), caption)


def _calibration(drawn: _Drawn) -> Figure:
    say, name = drawn.words.say, drawn.named[drawn.main]
    bins = drawn.curves[drawn.main].calibration
    seen = [point.observed for point in bins]
    points = Points(
        [point.predicted for point in bins],
        [one.value for one in seen],
        drawn.strokes[drawn.main],
        [one.low for one in seen],
        [one.high for one in seen],
    )
    told = "; ".join(f"{number(p.predicted, 2)}: {number(p.observed.value, 2)}" for p in bins)
    title = say("calibration.title", name=name)
    frame = drawn.frame("calibration", say("calibration.description", points=told), title=title)
    sizes = [one.n for one in seen]
    caption = say("calibration.caption", low=min(sizes), high=max(sizes), level=drawn.words.level)
    diagonal = Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), CHANCE)
    return Figure(plot(frame, [diagonal, points]), drawn.legend(names=[drawn.main]), caption)


def _benefit(drawn: _Drawn) -> Figure:
    say = drawn.words.say
    curves = {name: curve.decision for name, curve in drawn.curves.items() if name in drawn.evaluation.metrics}
    at, everyone = curves[drawn.main].thresholds, curves[drawn.main].treat_all
    top = max(0.05, float(np.nanmax(everyone)), *(float(np.nanmax(curve.net_benefit)) for curve in curves.values()))
    layers = [Line(at, everyone, ALL), Line(at, np.zeros(at.size), NONE)]
    layers += [Line(curve.thresholds, curve.net_benefit, drawn.strokes[name]) for name, curve in curves.items()]
    described = say("benefit.description", names=", ".join(drawn.named[name] for name in curves))
    frame = replace(drawn.frame("benefit", described), y_range=(-0.15 * top, 1.05 * top))
    both = ((swatch(ALL), say("benefit.all"), ""), (swatch(NONE), say("benefit.none"), ""))
    return Figure(plot(frame, layers), (*drawn.legend(names=list(curves)), *both), say("benefit.caption"))


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
        name = say(f"inputs.{modality}")
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
