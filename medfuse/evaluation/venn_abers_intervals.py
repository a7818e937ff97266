"""How sure a single probability is: two isotonic fits, the case once taken as negative and once as positive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.errors import DataError
from medfuse.evaluation.inputs import finite_scores, two_class_labels
from medfuse.types import Array

Point = tuple[int, int]

__all__ = ["VennAbersRule", "fit_venn_abers", "venn_abers_interval"]


@dataclass(frozen=True, slots=True)
class VennAbersRule:
    """Both ends of the interval as steps over the score.

    Parameters
    ----------
    scores : tuple of float
        Where an end steps, rising; k of them.
    low, high : tuple of float
        k + 1 values of each end in [0, 1], rising; the low end steps at a score, the high end above it.
    n, n_positive : int
        Calibration cases, and how many of them are positive.

    Raises
    ------
    DataError
        If the values are no steps.
    """

    scores: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: int
    n_positive: int

    def __post_init__(self) -> None:
        ends = np.array([self.low, self.high]) if len(self.low) == len(self.high) else np.empty((2, 0))
        rising = np.diff(self.scores).min(initial=1.0) > 0 and np.diff(ends, axis=1).min(initial=0.0) >= 0
        in_range = ends.shape[1] == len(self.scores) + 1 and bool(((ends >= 0) & (ends <= 1)).all())
        if not (rising and in_range):
            raise DataError("Venn-Abers rule", "found values that are no steps", expected="rising values in [0, 1]")


def fit_venn_abers(labels: ArrayLike, scores: ArrayLike) -> VennAbersRule:
    """Return the rule that gives each new case's probability an interval.

    Fit it on validation cases that trained nothing. One of the two ends is a calibrated probability of the case,
    whatever the scores are; the interval is narrow where validation cases of like scores are many and agree.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    scores : array_like, shape (n,)
        Higher means more likely positive; a probability or any other finite scale, the same for new cases.

    Returns
    -------
    VennAbersRule

    Raises
    ------
    LabelError
        If a class is absent.
    DataError
        If a score is not finite.

    Notes
    -----
    Source: Vovk, Petej and Fedorova 2015, Large-scale probabilistic predictors with and without guarantees of
    validity, section 4 (inductive Venn-Abers predictors) and algorithms 1 to 4, O(n log n). It takes cases as
    exchangeable: where patients repeat, the promise holds for cases and not for patients.

    Examples
    --------
    >>> rule = fit_venn_abers([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.8, 0.9])
    >>> low, high = venn_abers_interval([0.35, 0.85], rule)
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.33, 0.5], [0.67, 1.0])
    """
    positive = two_class_labels(labels)
    values = finite_scores(scores, positive.size)
    distinct, which = np.unique(values, return_inverse=True)
    n_cases, n_positive = np.bincount(which), np.bincount(which, weights=positive).astype(np.int64)
    high = np.append(_upper_ends(n_cases, n_positive), 1.0)
    # The low end is the high end of the mirrored task: classes exchanged, scores reversed.
    low = 1 - np.append(_upper_ends(n_cases[::-1], (n_cases - n_positive)[::-1]), 1.0)[::-1]
    steps = np.flatnonzero((np.diff(low) > 0) | (np.diff(high) > 0))
    kept = np.concatenate([[0], steps + 1])
    return VennAbersRule(
        tuple(distinct[steps].tolist()),
        tuple(low[kept].tolist()),
        tuple(high[kept].tolist()),
        int(positive.size),
        int(positive.sum()),
    )


def venn_abers_interval(scores: ArrayLike, rule: VennAbersRule) -> tuple[Array, Array]:
    """Return the interval of each case's probability of being positive.

    Parameters
    ----------
    scores : array_like, shape (n,)
        On the scale that the rule was fitted on.
    rule : VennAbersRule

    Returns
    -------
    low, high : ndarray, shape (n,)
        ``high / (1 - low + high)`` is the probability that merges both with the least regret of log loss.

    Raises
    ------
    DataError
        If a score is not finite.

    Examples
    --------
    >>> rule = VennAbersRule((0.5,), (0.0, 0.4), (0.5, 1.0), n=9, n_positive=4)
    >>> low, high = venn_abers_interval([0.5, 0.6], rule)
    >>> low.tolist(), high.tolist()
    ([0.4, 0.4], [0.5, 1.0])
    """
    values = np.asarray(scores, dtype=np.float64)
    values = finite_scores(values, values.size)
    steps = np.asarray(rule.scores)
    low = np.asarray(rule.low)[np.searchsorted(steps, values, side="right")]
    high = np.asarray(rule.high)[np.searchsorted(steps, values, side="left")]
    return low, high


def _upper_ends(n_cases: NDArray[np.int64], n_positive: NDArray[np.int64]) -> Array:
    """Return the isotonic value at each distinct score if one more positive case had it: shape (k,).

    It is the slope there of the greatest convex minorant of the cumulative sums, of which a part is moved by the new
    case at each step. Counts are whole, so that no slope is compared by rounded numbers.
    """
    across, up = np.cumsum(n_cases).tolist(), np.cumsum(n_positive).tolist()
    points: list[Point] = [(-1, -1), (0, 0), *zip(across, up, strict=True)]
    corners: list[Point] = []
    for point in reversed(points):  # the leftmost corner is on top
        _push(corners, point)
    ends = np.empty(len(across))
    before = points[0]
    for i in range(len(ends)):
        (x0, y0), (x1, y1) = corners[-1], corners[-2]
        ends[i] = (y1 - y0) / (x1 - x0)
        here, after = points[i + 1], points[i + 2]
        before = (before[0] + after[0] - here[0], before[1] + after[1] - here[1])
        if (before[1] - y0) * (x1 - x0) < (y1 - y0) * (before[0] - x0):  # below the minorant: a new corner
            corners.pop()
            _push(corners, before)
    return ends


def _push(corners: list[Point], point: Point) -> None:
    """Put a corner to the left of others, after those that it makes concave are gone."""
    while len(corners) > 1:
        (x1, y1), (x2, y2) = corners[-1], corners[-2]
        if (y1 - point[1]) * (x2 - x1) < (y2 - y1) * (x1 - point[0]):
            break
        corners.pop()
    corners.append(point)
