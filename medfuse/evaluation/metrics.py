"""Figures beside the AUROC, each with its interval.

Proportions (accuracy, sensitivity, specificity) have Wilson intervals, which stay honest at 0 and 1; where
patients repeat, the count is reduced to its effective size. The others (AUPRC, F1, Brier) have percentile
intervals of 2,000 resamples of whole patients.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from medfuse.evaluation.bootstrap import N_RESAMPLES, bootstrap_interval
from medfuse.evaluation.inputs import (
    binary_labels,
    check_level,
    cluster_codes,
    finite_scores,
    two_class_labels,
)
from medfuse.types import Array, Estimate

__all__ = ["accuracy", "auprc", "brier", "f1", "sensitivity", "specificity", "wilson_interval"]


def auprc(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None) -> Estimate:
    """Return the average precision: the area under the precision-recall steps.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    scores : array_like, shape (n,)
        Higher means more likely positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Raises
    ------
    LabelError
        If a class is absent.

    Examples
    --------
    >>> round(auprc([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8]).value, 3)
    1.0
    """
    positive = two_class_labels(labels)
    values = finite_scores(scores, positive.size)
    order = np.argsort(-values, kind="stable")
    falling, hit = values[order], positive[order]
    ends = np.append(np.flatnonzero(np.diff(falling)), falling.size - 1)  # ties share one step

    def statistic(weights: Array) -> Array:
        ordered = weights[:, order]
        true = np.cumsum(ordered * hit, axis=1)[:, ends]
        called = np.cumsum(ordered, axis=1)[:, ends]
        gained = np.diff(true, axis=1, prepend=0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(called > 0, true / called, 0.0)
            return np.asarray((gained * precision).sum(axis=1) / true[:, -1])

    return _bootstrapped("auprc", statistic, positive, clusters=clusters, level=level)


def brier(
    labels: ArrayLike, probabilities: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the mean squared distance of the probability to the label; 0 is best.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    probabilities : array_like, shape (n,)
        In [0, 1].
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].

    Examples
    --------
    >>> round(brier([0, 1], [0.1, 0.8]).value, 3)
    0.025
    """
    positive = binary_labels(labels)
    squares = (finite_scores(probabilities, positive.size, unit_interval=True) - positive) ** 2

    def statistic(weights: Array) -> Array:
        return np.asarray(weights @ squares / weights.sum(axis=1))

    return _bootstrapped("brier", statistic, positive, clusters=clusters, level=level)


def f1(labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None) -> Estimate:
    """Return the harmonic mean of precision and sensitivity; 0 where nothing is found.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    calls : array_like, shape (n,)
        1 where the case is called positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> round(f1([0, 1, 1, 0], [1, 1, 1, 0]).value, 3)
    0.8
    """
    positive = binary_labels(labels)
    called = _calls(calls, positive.size)
    found, either = positive & called, positive.astype(float) + called

    def statistic(weights: Array) -> Array:
        total = weights @ either
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, 2 * (weights @ found) / total, 0.0)

    return _bootstrapped("f1", statistic, positive, clusters=clusters, level=level)


def accuracy(
    labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the share of cases called right.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    calls : array_like, shape (n,)
        1 where the case is called positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> accuracy([0, 1, 1, 0], [1, 1, 1, 0]).value
    0.75
    """
    positive = binary_labels(labels)
    right = positive == _calls(calls, positive.size)
    return _proportion("accuracy", right, np.ones_like(positive), positive, clusters=clusters, level=level)


def sensitivity(
    labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the share of positive cases that are called positive; ``n`` counts the positive cases.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    calls : array_like, shape (n,)
        1 where the case is called positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> sensitivity([0, 1, 1, 0], [1, 1, 0, 0]).value
    0.5
    """
    positive = two_class_labels(labels)
    called = _calls(calls, positive.size)
    return _proportion("sensitivity", called, positive, positive, clusters=clusters, level=level)


def specificity(
    labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the share of negative cases that are called negative; ``n`` counts the negative cases.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    calls : array_like, shape (n,)
        1 where the case is called positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> specificity([0, 1, 1, 0], [0, 1, 0, 0]).value
    1.0
    """
    positive = two_class_labels(labels)
    called = _calls(calls, positive.size)
    return _proportion("specificity", ~called, ~positive, positive, clusters=clusters, level=level)


def wilson_interval(share: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion.

    Parameters
    ----------
    share : float
        In [0, 1].
    n : float
        Cases, or their effective number; above 0.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    tuple of float
        Low and high, in [0, 1].

    Notes
    -----
    Source: Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4.

    Examples
    --------
    >>> [round(end, 3) for end in wilson_interval(1.0, 20)]
    [0.839, 1.0]
    """
    z = float(norm.ppf((1 + level) / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)


def _calls(calls: ArrayLike, n: int) -> NDArray[np.bool_]:
    return finite_scores(calls, n, where="calls", unit_interval=True) >= 0.5


def _bootstrapped(
    name: str,
    statistic: Callable[[Array], Array],
    positive: NDArray[np.bool_],
    *,
    clusters: ArrayLike | None,
    level: float,
) -> Estimate:
    """Estimate with a percentile interval; the statistic takes weights (R, n)."""
    codes = cluster_codes(clusters, positive.size)
    value = float(statistic(np.ones((1, positive.size)))[0])
    low, high = bootstrap_interval(statistic, codes, level=check_level(level))
    unit = "cases" if clusters is None else "patients"
    method = f"bootstrap of {unit} {100 * level:g}%, {N_RESAMPLES} resamples"
    # A percentile interval may miss the estimate by rounding where every resample gives the same value.
    return Estimate(name, value, min(low, value), max(high, value), positive.size, int(positive.sum()), method)


def _proportion(
    name: str,
    hit: NDArray[np.bool_],
    among: NDArray[np.bool_],
    positive: NDArray[np.bool_],
    *,
    clusters: ArrayLike | None,
    level: float,
) -> Estimate:
    """Share of hits among the chosen cases, by Wilson on the effective number of cases."""
    chosen = hit[among].astype(float)
    n, share = chosen.size, float(chosen.mean())
    effective, method = float(n), f"Wilson {100 * check_level(level):g}%"
    if clusters is not None:
        codes = np.unique(cluster_codes(clusters, positive.size)[among], return_inverse=True)[1]
        effective = _effective_n(chosen, codes)
        method += ", effective number by patient"
    low, high = wilson_interval(share, effective, level=level)
    return Estimate(name, share, low, high, n, int(positive[among].sum()), method)


def _effective_n(hits: Array, codes: NDArray[np.intp]) -> float:
    """Cases that would give the between-patient variance if each were a patient of its own.

    Source: Rao and Scott 1992, never above the number of cases. Where all or no cases are hits the variance
    says nothing, and each patient counts once.
    """
    n, n_clusters, share = hits.size, int(codes.max()) + 1, float(hits.mean())
    if n_clusters == n:
        return float(n)
    if share in (0.0, 1.0) or n_clusters < 2:
        return float(n_clusters)
    residuals = np.bincount(codes, weights=hits - share)
    variance = n_clusters / (n_clusters - 1) * float(residuals @ residuals) / n**2
    return min(float(n), share * (1 - share) / variance) if variance > 0 else float(n)
