"""Area under the ROC curve with DeLong's interval, and the paired test of two areas.

One path serves all: with several cases a patient the covariance sums placement values by patient (Obuchowski
1997), which with one case a patient is DeLong's own.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm

from medfuse.errors import UsageError
from medfuse.evaluation.influence import Influence
from medfuse.evaluation.inputs import check_level, cluster_codes, finite_scores, two_class_labels
from medfuse.types import Array, Comparison, Estimate

__all__ = [
    "auroc",
    "auroc_influence",
    "clustered_areas",
    "delong_test",
    "newcombe_interval",
    "placements",
    "square_and_add",
]


def auroc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    level: float = 0.95,
    method: Literal["logit-delong", "delong"] = "logit-delong",
    clusters: ArrayLike | None = None,
) -> Estimate:
    """Return the area under the ROC curve with its interval.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    scores : array_like, shape (n,)
        Higher means more likely positive; any finite scale.
    level : float
        Confidence level in (0, 1).
    method : {"logit-delong", "delong"}
        DeLong's variance on the logit scale, or plain. Where it gives no variance (an area of exactly 0 or 1,
        constant scores, a single case or patient of a class), "logit-delong" falls back to Newcombe's score
        interval and says so in ``Estimate.method``. Plain "delong" keeps the zero width of the other
        libraries, and falls back only where the variance is undefined.
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Raises
    ------
    LabelError
        If labels are not 0 and 1 with at least one of each.
    DataError
        If a score is not finite.

    Notes
    -----
    Source: DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997, eq. 2-4 (clusters); Newcombe 2006,
    method 5. O(n log n) as in Sun and Xu 2014.

    Examples
    --------
    >>> area = auroc([0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.7, 0.9])
    >>> round(area.value, 3), round(area.low, 3), round(area.high, 3), area.method
    (0.889, 0.261, 0.995, 'logit-DeLong 95%')
    """
    check_level(level)
    if method not in ("logit-delong", "delong"):
        raise UsageError("method", f"found {method!r}", expected="'logit-delong' or 'delong'")
    positive = two_class_labels(labels)
    n, n_positive = positive.size, int(positive.sum())
    areas, covariance = clustered_areas(positive, finite_scores(scores, n)[None], _codes(clusters, n))
    area, variance = float(areas[0]), float(covariance[0, 0])
    by_patient = "" if clusters is None else ", clustered by patient"
    z = float(norm.ppf((1 + level) / 2))
    if np.isnan(variance) or (method == "logit-delong" and (variance <= 0 or area in (0.0, 1.0))):
        n_negative = n - n_positive
        low, high = newcombe_interval(area, n_positive=n_positive, n_negative=n_negative, level=level)
        return Estimate("auroc", area, low, high, n, n_positive, f"Newcombe score {100 * level:g}%")
    if method == "delong":
        half = z * float(np.sqrt(variance))
        low, high, name = max(area - half, 0.0), min(area + half, 1.0), "DeLong"
    else:
        half = z * float(np.sqrt(variance)) / (area * (1 - area))
        low, high, name = float(expit(logit(area) - half)), float(expit(logit(area) + half)), "logit-DeLong"
    return Estimate("auroc", area, low, high, n, n_positive, f"{name} {100 * level:g}%{by_patient}")


def delong_test(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Comparison:
    """Compare two areas under the ROC curve on the same cases.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    scores_a, scores_b : array_like, shape (n,)
        Two scores of the same cases.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Comparison
        Area of a minus area of b. Equal scores give 0, (0, 0) and p = 1. Where different areas leave the
        paired variance zero or undefined, the interval squares and adds the distances of both Newcombe
        intervals (wider, since it ignores the pairing), and ``method`` says so.

    Raises
    ------
    LabelError
        If labels are not 0 and 1 with at least one of each.
    DataError
        If a score is not finite.

    Notes
    -----
    Source: DeLong, DeLong and Clarke-Pearson 1988, eq. 5; Obuchowski 1997 (clusters); Newcombe 1998,
    method 10 (square and add).

    Examples
    --------
    >>> test = delong_test([0, 0, 1, 1, 0, 1], [1, 2, 3, 4, 2, 2], [1, 3, 2, 4, 4, 2])
    >>> round(test.difference, 3), test.low < 0 < test.high
    (0.389, True)
    """
    check_level(level)
    positive = two_class_labels(labels)
    n, n_positive = positive.size, int(positive.sum())
    a = finite_scores(scores_a, n, where="scores_a")
    b = finite_scores(scores_b, n, where="scores_b")
    areas, covariance = clustered_areas(positive, np.stack([a, b]), _codes(clusters, n))
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    z = float(norm.ppf((1 + level) / 2))
    name = f"paired DeLong {100 * level:g}%" + ("" if clusters is None else ", clustered by patient")
    if np.array_equal(a, b) or (abs(difference) < 1e-12 and variance < 1e-15):
        return Comparison("auroc", 0.0, 0.0, 0.0, 1.0, n, name)
    if np.isnan(variance) or variance < 1e-15:
        return square_and_add(areas, n_positive=n_positive, n=n, level=level)
    error = float(np.sqrt(variance))
    p_value = 2 * float(norm.sf(abs(difference) / error))
    low, high = max(difference - z * error, -1.0), min(difference + z * error, 1.0)
    return Comparison("auroc", difference, low, high, p_value, n, name)


def newcombe_interval(area: float, *, n_positive: int, n_negative: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval of an area from its value and the two counts alone.

    Parameters
    ----------
    area : float
        Area under the ROC curve, in [0, 1].
    n_positive, n_negative : int
        At least 1.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    tuple of float
        Low and high. Never of zero width, also at 0 and 1.

    Notes
    -----
    Source: Newcombe 2006, Statistics in Medicine 25:559, method 5: inverts Hanley and McNeil's variance taken
    at the hypothesised area, with both counts replaced by their mean.

    Examples
    --------
    >>> low, high = newcombe_interval(1.0, n_positive=20, n_negative=20)
    >>> round(low, 3), high
    (0.899, 1.0)
    """
    z = float(norm.ppf((1 + level) / 2))
    mean_less_one = (n_positive + n_negative) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + mean_less_one * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (area - theta) ** 2 - z * z * theta * (1 - theta) * spread / (n_positive * n_negative)

    low = float(brentq(excess, 0.0, area)) if area > 0 else 0.0
    high = float(brentq(excess, area, 1.0)) if area < 1 else 1.0
    # At 0 and 1 one end of the bracket is itself a root, so the other root is sought from the far side.
    if area == 1.0:
        low = float(brentq(excess, 0.0, 1 - 1e-9)) if excess(1 - 1e-9) < 0 else 1.0
    if area == 0.0:
        high = float(brentq(excess, 1e-9, 1.0)) if excess(1e-9) < 0 else 0.0
    return low, high


def clustered_areas(positive: NDArray[np.bool_], scores: Array, codes: NDArray[np.intp] | None) -> tuple[Array, Array]:
    """Return the areas of several scores of the same cases, and their covariance.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    scores : ndarray, shape (K, n)
    codes : ndarray of int, shape (n,), optional
        The cluster (patient) of each case, 0, 1, ...; without it each case is its own.

    Returns
    -------
    areas : ndarray, shape (K,)
    covariance : ndarray, shape (K, K)
        NaN where a class has one cluster only.
    """
    placed = np.stack([placements(positive, row) for row in scores])
    of_positive, of_negative = placed[:, positive], placed[:, ~positive]
    areas = of_positive.mean(axis=1)
    d10 = (of_positive - areas[:, None]) / of_positive.shape[1]
    d01 = (of_negative - areas[:, None]) / of_negative.shape[1]
    if codes is None:
        n10, n01, n_clusters = d10.shape[1], d01.shape[1], positive.size
    else:
        c10, c01, n_clusters = codes[positive], codes[~positive], int(codes.max()) + 1
        d10, d01 = _sum_by(d10, c10, n_clusters), _sum_by(d01, c01, n_clusters)
        n10, n01 = (int(np.count_nonzero(np.bincount(c, minlength=n_clusters))) for c in (c10, c01))
    if min(n10, n01) < 2:
        return areas, np.full((len(areas), len(areas)), np.nan)
    covariance = n10 / (n10 - 1) * d10 @ d10.T + n01 / (n01 - 1) * d01 @ d01.T
    if n10 + n01 > n_clusters:  # some patients have cases of both classes
        mixed = d10 @ d01.T
        covariance = covariance + n_clusters / (n_clusters - 1) * (mixed + mixed.T)
    return areas, covariance


def auroc_influence(positive: NDArray[np.bool_], scores: Array) -> Influence:
    """Return the area under the ROC curve with the influence of each case.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
        Both classes present.
    scores : ndarray, shape (n,)

    Returns
    -------
    Influence

    Examples
    --------
    >>> figure = auroc_influence(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
    >>> round(figure.value, 3), bool(abs(figure.by_case.sum()) < 1e-12)
    (0.75, True)
    """
    placed = placements(positive, scores)
    n_positive = int(positive.sum())
    area = float(placed[positive].mean())
    by_case = (placed - area) / np.where(positive, n_positive, positive.size - n_positive)
    return Influence("auroc", area, by_case, "logit")


def placements(positive: NDArray[np.bool_], scores: Array) -> Array:
    """Return the share of the other class that each case outranks if positive, or is outranked by; ties count half.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
        Both classes present.
    scores : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,)
        The mean over either class is the area under the ROC curve.

    Examples
    --------
    >>> placements(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.8, 0.1])).tolist()
    [1.0, 0.75, 0.75, 1.0]
    """
    n = positive.size
    order = np.argsort(scores)
    rising, hit = scores[order], positive[order]
    below = np.zeros(n + 1, dtype=np.int64)  # positives before each place
    np.cumsum(hit, out=below[1:])
    n_positive = int(below[-1])
    is_first = np.ones(n, dtype=bool)
    np.not_equal(rising[1:], rising[:-1], out=is_first[1:])
    if is_first.all():
        under = below[:-1].astype(np.float64)
        share = np.where(hit, (np.arange(n) - under) / (n - n_positive), 1 - under / n_positive)
    else:
        first = np.flatnonzero(is_first)
        last = np.append(first[1:], n)
        ties = np.repeat(np.arange(first.size), last - first)
        under = (below[first] + below[last]) / 2
        of_positive, of_negative = ((first + last) / 2 - under) / (n - n_positive), 1 - under / n_positive
        share = np.where(hit, of_positive[ties], of_negative[ties])
    placed = np.empty(n)
    placed[order] = share
    return placed


def _codes(clusters: ArrayLike | None, n: int) -> NDArray[np.intp] | None:
    return None if clusters is None else cluster_codes(clusters, n)


def _sum_by(values: Array, codes: NDArray[np.intp], n_clusters: int) -> Array:
    """Sum (K, n) by cluster into (K, n_clusters)."""
    return np.stack([np.bincount(codes, weights=row, minlength=n_clusters) for row in values])


def square_and_add(areas: Array, *, n_positive: int, n: int, level: float) -> Comparison:
    """Return the difference of two areas where no paired variance exists, from their two separate intervals.

    Parameters
    ----------
    areas : ndarray, shape (2,)
    n_positive, n : int
        Positive cases, and all cases.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Comparison
        Wider than a paired one, since it ignores the pairing.

    Notes
    -----
    Source: Newcombe 1998, method 10, of the intervals of Newcombe 2006.

    Examples
    --------
    >>> found = square_and_add(np.array([1.0, 0.5]), n_positive=3, n=6, level=0.95)
    >>> found.difference, found.low < 0 < found.high
    (0.5, True)
    """
    a, b = float(areas[0]), float(areas[1])
    low_a, high_a = newcombe_interval(a, n_positive=n_positive, n_negative=n - n_positive, level=level)
    low_b, high_b = newcombe_interval(b, n_positive=n_positive, n_negative=n - n_positive, level=level)
    down, up = float(np.hypot(a - low_a, high_b - b)), float(np.hypot(high_a - a, b - low_b))
    difference = a - b
    z = float(norm.ppf((1 + level) / 2))
    towards_zero = down if difference >= 0 else up
    p_value = 2 * float(norm.sf(abs(difference) * z / towards_zero)) if towards_zero > 0 else 1.0
    name = f"Newcombe square-and-add {100 * level:g}%"
    return Comparison("auroc", difference, difference - down, difference + up, p_value, n, name)
