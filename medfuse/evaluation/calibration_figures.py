"""Whether probabilities mean what they say: intercept, slope and expected error of calibration, with intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from medfuse.errors import UsageError
from medfuse.evaluation.influence import Influence, clustered_error, estimate, undefined
from medfuse.evaluation.inputs import binary_labels, check_level, cluster_codes, finite_scores
from medfuse.types import Array, Estimate

__all__ = ["bins_of", "calibration_intercept", "calibration_slope", "ece"]

NEAREST = 1e-6
"""A probability nearer to 0 or 1 than this counts as this far: its logit would outweigh all others."""
STEEPEST = 1e3
"""A slope beyond it belongs to classes that one cut separates."""
N_DRAWS = 4000
SEED = 20240
Flags = NDArray[np.bool_]


def calibration_intercept(
    labels: ArrayLike, probabilities: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return what must be added to every logit so that as many cases are expected as are seen; 0 is best.

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
        Above 0 where the model expects too few positive cases; NaN where a class is absent.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].

    Notes
    -----
    Source: Cox 1958; Van Calster et al. 2016, A calibration hierarchy for risk models was defined, section 2 (the slope
    held at 1). The interval is that of the sandwich variance.

    Examples
    --------
    >>> round(calibration_intercept([0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]).value, 3)
    1.099
    """
    return _recalibrated("calibration_intercept", labels, probabilities, level=level, clusters=clusters)


def calibration_slope(
    labels: ArrayLike, probabilities: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the slope of a logistic regression of the labels on the logits; 1 is best.

    Parameters
    ----------
    labels, probabilities, level, clusters
        As of `calibration_intercept`.

    Returns
    -------
    Estimate
        Below 1 where the model is too sure; NaN where a class is absent, the score is constant, or one cut separates
        the classes.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].

    Notes
    -----
    Source: Cox 1958; Van Calster et al. 2016, section 2. The interval is that of the sandwich variance.

    Examples
    --------
    >>> p = [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]
    >>> round(calibration_slope([0, 0, 1, 0, 1, 1], p).value, 3)
    0.315
    """
    return _recalibrated("calibration_slope", labels, probabilities, level=level, clusters=clusters)


def ece(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    n_bins: int = 10,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Estimate:
    """Return the expected calibration error: the mean distance of predicted and observed share, bin by bin.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    probabilities : array_like, shape (n,)
        In [0, 1].
    n_bins : int
        Bins of nearly equal numbers of cases; equal probabilities share a bin, so there may be fewer.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate
        Its method states the bins, and what a perfectly calibrated model of as many cases would show on average: a
        mean of distances is above 0 by chance alone.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].

    Notes
    -----
    Source: Naeini, Cooper and Hauskrecht 2015, section 2.3, with bins as in Nguyen and O'Connor 2015. The interval
    reaches up to the high percentile of errors drawn about the observed ones, and as far down, or to 0 where perfect
    calibration would show as much.

    Examples
    --------
    >>> found = ece([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9], n_bins=2)
    >>> round(found.value, 3), found.method.split(";")[0]
    (0.133, '2 bins of equal counts')
    """
    if n_bins < 1:
        raise UsageError("n_bins", f"found {n_bins}", expected="1 or more")
    check_level(level)
    positive = binary_labels(labels)
    values = finite_scores(probabilities, positive.size, where="probabilities", unit_interval=True)
    codes = cluster_codes(clusters, positive.size)
    which = bins_of(values, n_bins)
    gaps = values - positive
    n, n_clusters = positive.size, int(codes.max()) + 1
    signed = np.bincount(which, weights=gaps) / n
    counts = np.bincount(which)
    lost = np.sqrt(counts / np.maximum(counts - 1, 1))[which]  # a bin's own mean takes one case's freedom
    spread = np.where(counts[which] > 1, (gaps - (n * signed / counts)[which]) * lost, gaps)
    value = float(np.abs(signed).sum())
    draw = np.random.default_rng(SEED).standard_normal((N_DRAWS, signed.size))
    chance = np.abs(draw @ _bin_root(gaps / n, which, codes)).sum(axis=1)
    drawn = draw @ _bin_root(spread / n, which, codes)
    half = max(float(np.quantile(np.abs(drawn + signed).sum(axis=1), (1 + level) / 2)) - value, 0.0)
    low = 0.0 if value <= np.quantile(chance, (1 + level) / 2) else max(value - half, 0.0)
    by_patient = ", clustered by patient" if n_clusters < n else ""
    method = (
        f"{signed.size} bins of equal counts; {100 * level:g}% by drawing{by_patient}; "
        f"{chance.mean():.3f} expected of perfect calibration"
    )
    return Estimate("ece", value, low, min(value + half, 1.0), n, int(positive.sum()), method)


def bins_of(values: Array, n_bins: int) -> NDArray[np.intp]:
    """Return the bin of each value, of nearly equal numbers of cases; equal values share a bin.

    Examples
    --------
    >>> bins_of(np.array([0.1, 0.9, 0.1, 0.4]), 2).tolist()
    [0, 1, 0, 1]
    """
    last = np.arange(1, n_bins) * values.size // n_bins - 1  # rank of the last case of each bin
    edges = np.unique(np.sort(values)[last[last >= 0]])
    which = np.searchsorted(edges, values, side="left")
    used = np.zeros(edges.size + 1, dtype=bool)
    used[which] = True
    return (np.cumsum(used) - 1)[which]


def _bin_root(gaps: Array, which: NDArray[np.intp], codes: NDArray[np.intp]) -> Array:
    """Square root of the covariance, over patients, of the sum of gaps in each bin."""
    n_bins, n_clusters = int(which.max()) + 1, int(codes.max()) + 1
    if n_clusters == gaps.size:
        return np.diag(np.sqrt(np.bincount(which, weights=gaps**2)))
    sums = np.bincount(codes * n_bins + which, weights=gaps, minlength=n_clusters * n_bins)
    table = sums.reshape(n_clusters, n_bins)
    values, vectors = np.linalg.eigh(table.T @ table)
    return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def _recalibrated(
    name: str, labels: ArrayLike, probabilities: ArrayLike, *, level: float, clusters: ArrayLike | None
) -> Estimate:
    positive = binary_labels(labels)
    values = finite_scores(probabilities, positive.size, where="probabilities", unit_interval=True)
    codes = cluster_codes(clusters, positive.size)
    n, n_positive = positive.size, int(positive.sum())
    logits = logit(np.clip(values, NEAREST, 1 - NEAREST))
    is_slope = name == "calibration_slope"
    if n_positive in (0, n):
        return undefined(name, "a class is absent", n=n, n_positive=n_positive, scale="plain")
    if is_slope and np.ptp(logits) == 0:
        return undefined(name, "the score is constant", n=n, n_positive=n_positive, scale="plain")
    columns = np.stack([np.ones(n), logits], axis=1) if is_slope else np.ones((n, 1))
    found = _logistic(positive, columns, offset=np.zeros(n) if is_slope else logits)
    if found is None:
        return undefined(name, "one cut separates the classes", n=n, n_positive=n_positive, scale="plain")
    weights, by_case = found
    figure = Influence(name, float(weights[-1]), by_case, "plain")
    if not np.isfinite(clustered_error(by_case, codes)):
        return undefined(name, "there is one patient only", n=n, n_positive=n_positive, scale="plain")
    return estimate(figure, codes, n_positive=n_positive, level=check_level(level), how="sandwich")


def _logistic(positive: Flags, columns: Array, *, offset: Array) -> tuple[Array, Array] | None:
    """Newton's steps for a logistic regression: weights, and the influence of each case on the last; None if none."""
    weights = np.zeros(columns.shape[1])
    for _ in range(100):
        expected = expit(offset + columns @ weights)
        curvature = columns.T @ (columns * (expected * (1 - expected))[:, None])
        if not np.linalg.cond(curvature) < 1e14:
            return None
        inverse = np.linalg.inv(curvature)
        step = inverse @ (columns.T @ (positive - expected))
        weights = weights + np.clip(step, -1.0, 1.0)  # a full step may overshoot where logits are far apart
        if np.abs(weights).max() > STEEPEST:
            return None
        if np.abs(step).max() < 1e-10:
            return weights, (columns @ inverse[-1]) * (positive - expected)
    return None
