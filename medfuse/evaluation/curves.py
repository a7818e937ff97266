"""The curves of an evaluation, thinned to what a plot can show."""

from __future__ import annotations

import numpy as np

from medfuse.evaluation.abstention import abstention_curve
from medfuse.evaluation.answers import Answers
from medfuse.evaluation.calibration import calibration_curve
from medfuse.evaluation.decision import decision_curve
from medfuse.evaluation.evaluation import Curves
from medfuse.evaluation.metrics import score_steps
from medfuse.types import Array

__all__ = ["curves_of"]

MOST_POINTS = 2000


def curves_of(answers: Answers, name: str, *, level: float) -> Curves:
    """Return what the plots of one condition or baseline are drawn from.

    Parameters
    ----------
    answers : Answers
    name : str
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Curves
    """
    labels, p, clusters = answers.cases.labels, answers.answer(name), answers.clusters
    cut = answers.cut(name)
    hits, called = score_steps(labels, p)
    recall, false_rate = hits / labels.sum(), (called - hits) / (~labels).sum()
    return Curves(
        *_thin(np.append(0.0, false_rate), np.append(0.0, recall)),
        calibration_curve(labels, p, level=level, clusters=clusters),
        *_thin(recall, hits / called),
        decision_curve(labels, p, level=level, clusters=clusters),
        abstention_curve(labels, p, threshold=cut, level=level, clusters=clusters),
    )


def _thin(x: Array, y: Array) -> tuple[Array, Array]:
    """Keep at most ``MOST_POINTS`` of a curve, both ends among them."""
    if x.size <= MOST_POINTS:
        return x, y
    kept = np.linspace(0, x.size - 1, MOST_POINTS).round().astype(np.intp)
    return x[kept], y[kept]
