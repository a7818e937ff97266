"""What acting on a model is worth: net benefit at each probability at which a reader would act."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from medfuse.errors import UsageError
from medfuse.evaluation.influence import clustered_error
from medfuse.evaluation.inputs import binary_labels, check_level, cluster_codes, finite_scores
from medfuse.types import Array

__all__ = ["DecisionCurve", "decision_curve"]

THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))


@dataclass(frozen=True, slots=True, eq=False)
class DecisionCurve:
    """Net benefit by the probability at which one would act; acting on no case is worth 0.

    Parameters
    ----------
    thresholds : ndarray, shape (points,)
        In (0, 1), rising.
    net_benefit, low, high : ndarray, shape (points,)
        True positives a case less false ones weighed by the odds of the threshold, with the interval.
    treat_all : ndarray, shape (points,)
        Of acting on every case.
    """

    thresholds: Array
    net_benefit: Array
    low: Array
    high: Array
    treat_all: Array


def decision_curve(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    thresholds: ArrayLike = THRESHOLDS,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> DecisionCurve:
    """Return the net benefit of acting on the cases at or above each threshold.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    probabilities : array_like, shape (n,)
        In [0, 1].
    thresholds : array_like, shape (points,)
        In (0, 1), rising.
    level : float
        Confidence level in (0, 1), at each threshold by itself.
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    DecisionCurve

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].
    UsageError
        If thresholds do not rise within (0, 1).

    Notes
    -----
    Source: Vickers and Elkin 2006, eq. 1. The interval is that of a mean over patients.

    Examples
    --------
    >>> curve = decision_curve([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], thresholds=[0.2, 0.5])
    >>> curve.net_benefit.round(4).tolist(), curve.treat_all.round(3).tolist()
    ([0.4375, 0.0], [0.375, 0.0])
    """
    positive = binary_labels(labels)
    values = finite_scores(probabilities, positive.size, where="probabilities", unit_interval=True)
    cuts = np.asarray(thresholds, dtype=np.float64)
    if cuts.ndim != 1 or not cuts.size or cuts[0] <= 0 or cuts[-1] >= 1 or (np.diff(cuts) <= 0).any():
        raise UsageError("thresholds", "found numbers that do not rise within (0, 1)", expected="such as 0.1, 0.2")
    n, n_positive = positive.size, int(positive.sum())
    odds = cuts / (1 - cuts)
    place = np.searchsorted(cuts, values, side="right")  # thresholds at or below each case
    hits = _at_or_above(place[positive], cuts.size)
    false = _at_or_above(place[~positive], cuts.size)
    benefit = (hits - odds * false) / n
    if clusters is None:
        variance = (hits + odds**2 * false) / n - benefit**2
        error = np.sqrt(np.maximum(variance, 0.0) / max(n - 1, 1))
    else:
        codes = cluster_codes(clusters, n)
        worth = np.where(positive, 1.0, -1.0)
        error = np.empty(cuts.size)
        for k in range(cuts.size):
            gained = np.where(place > k, np.where(positive, worth, worth * odds[k]), 0.0)
            error[k] = clustered_error((gained - benefit[k]) / n, codes)
    half = float(norm.ppf((1 + check_level(level)) / 2)) * error
    treat_all = (n_positive - odds * (n - n_positive)) / n
    return DecisionCurve(cuts, benefit, benefit - half, benefit + half, treat_all)


def _at_or_above(place: NDArray[np.intp], n_cuts: int) -> Array:
    """Count the cases at or above each threshold, of cases that have so many thresholds at or below them."""
    counts = np.bincount(place, minlength=n_cuts + 1)
    return counts[::-1].cumsum()[::-1][1:].astype(np.float64)
