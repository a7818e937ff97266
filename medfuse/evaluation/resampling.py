"""The area under the ROC curve over thousands of resamples: scores are sorted once, a resample is a set of weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.errors import UsageError
from medfuse.evaluation.bootstrap import N_RESAMPLES, SEED
from medfuse.evaluation.inputs import check_level, cluster_codes, finite_scores, two_class_labels
from medfuse.types import Array, Comparison, Estimate

__all__ = ["bootstrap_auroc", "bootstrap_auroc_test", "permutation_test"]

Codes = NDArray[np.intp]
Flags = NDArray[np.bool_]


class _SortedScores:
    """The cases of each class in rising order, and where each positive case falls among the negative ones."""

    def __init__(self, positive: Flags, scores: Array, codes: Codes) -> None:
        up, down = np.flatnonzero(positive), np.flatnonzero(~positive)
        up, down = up[np.argsort(scores[up])], down[np.argsort(scores[down])]
        self.left = np.searchsorted(scores[down], scores[up], side="left")
        self.right = np.searchsorted(scores[down], scores[up], side="right")
        self.has_ties = bool((self.left != self.right).any())
        self.positive, self.negative = codes[up], codes[down]
        self.below = np.zeros(down.size + 1, dtype=np.int64)

    def area(self, counts: NDArray[np.int64]) -> float:
        """Area with each case counted as often as its cluster; NaN where a class is absent."""
        np.cumsum(counts[self.negative], out=self.below[1:])
        weights = counts[self.positive]
        outranked = self.below[self.left].astype(np.float64)
        if self.has_ties:
            outranked += self.below[self.right]
            outranked /= 2
        pairs = float(weights.sum()) * float(self.below[-1])
        return float(outranked @ weights) / pairs if pairs else float("nan")


def bootstrap_auroc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = SEED,
) -> Estimate:
    """Return the area under the ROC curve with the percentile interval of resampled patients.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    scores : array_like, shape (n,)
        Higher means more likely positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.
    n_resamples : int
    seed : int
        The same seed gives the same interval.

    Returns
    -------
    Estimate

    Raises
    ------
    LabelError
        If a class is absent.
    DataError
        If a score is not finite.

    Notes
    -----
    Source: Efron and Tibshirani 1993, chapter 13; whole patients are drawn (Field and Welsh 2007). A resample that
    lacks a class is left out.

    Examples
    --------
    >>> found = bootstrap_auroc([0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.6, 0.4, 0.7, 0.9])
    >>> round(found.value, 3), found.low < found.value < found.high
    (0.889, True)
    """
    positive = two_class_labels(labels)
    values = finite_scores(scores, positive.size)
    codes = cluster_codes(clusters, positive.size)
    figure = _SortedScores(positive, values, codes)
    value = figure.area(np.ones(int(codes.max()) + 1, dtype=np.int64))
    drawn = np.array([figure.area(counts) for counts in _resamples(codes, n_resamples, seed)])
    low, high = _percentiles(drawn, check_level(level))
    unit = "cases" if clusters is None else "patients"
    method = f"bootstrap of {unit} {100 * level:g}%, {n_resamples} resamples"
    return Estimate("auroc", value, min(low, value), max(high, value), positive.size, int(positive.sum()), method)


def bootstrap_auroc_test(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Comparison:
    """Compare two areas under the ROC curve on the same resamples of patients.

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
    n_resamples : int

    Returns
    -------
    Comparison
        Area of a minus area of b; p is twice the share of resamples on the other side of 0, the sample counted in.

    Raises
    ------
    LabelError, DataError
        As `bootstrap_auroc`.

    Notes
    -----
    Source: Efron and Tibshirani 1993, chapters 13 and 15.

    Examples
    --------
    >>> labels, a = [0, 0, 1, 1, 0, 1], [1, 2, 3, 4, 2, 2]
    >>> found = bootstrap_auroc_test(labels, a, [1, 3, 2, 4, 4, 2])
    >>> round(found.difference, 3), found.low < 0.389 < found.high
    (0.389, True)
    """
    positive = two_class_labels(labels)
    n = positive.size
    codes = cluster_codes(clusters, n)
    figures = [
        _SortedScores(positive, finite_scores(scores, n, where=where), codes)
        for where, scores in (("scores_a", scores_a), ("scores_b", scores_b))
    ]
    once = np.ones(int(codes.max()) + 1, dtype=np.int64)
    difference = figures[0].area(once) - figures[1].area(once)
    drawn = np.array([figures[0].area(c) - figures[1].area(c) for c in _resamples(codes, n_resamples, SEED)])
    drawn = drawn[np.isfinite(drawn)]
    low, high = _percentiles(drawn, check_level(level))
    beyond = min(int((drawn >= -1e-12).sum()), int((drawn <= 1e-12).sum()))
    p_value = min(1.0, 2 * (1 + beyond) / (1 + drawn.size))
    unit = "cases" if clusters is None else "patients"
    method = f"paired bootstrap of {unit} {100 * level:g}%, {n_resamples} resamples"
    return Comparison("auroc", difference, min(low, difference), max(high, difference), p_value, n, method)


def permutation_test(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    n_permutations: int = N_RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Ask how often a difference of areas this large arises if it does not matter which model gave which answer.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    scores_a, scores_b : array_like, shape (n,)
        Two scores of the same cases; their ranks are exchanged, so that their scales may differ.
    clusters : array_like, shape (n,), optional
        The patient of each case: a patient's answers are exchanged together.
    n_permutations, seed : int

    Returns
    -------
    Comparison
        Area of a minus area of b with its p value; a permutation gives no interval, so both ends are NaN.

    Raises
    ------
    LabelError, DataError
        As `bootstrap_auroc`.
    UsageError
        If no permutation is asked for.

    Notes
    -----
    Source: Venkatraman and Begg 1996 (exchange of ranks); Bandos, Rockette and Gur 2005 (difference of areas).

    Examples
    --------
    >>> a = [1, 2, 3, 4, 5, 6, 7, 8]
    >>> found = permutation_test([0, 0, 0, 0, 1, 1, 1, 1], a, [3, 8, 1, 6, 2, 5, 4, 7])
    >>> found.difference, found.p_value < 0.2
    (0.5, True)
    """
    if n_permutations < 1:
        raise UsageError("n_permutations", f"found {n_permutations}", expected="1 or more")
    positive = two_class_labels(labels)
    n = positive.size
    ranks = [_mid_ranks(finite_scores(s, n, where=w)) for w, s in (("scores_a", scores_a), ("scores_b", scores_b))]
    codes = cluster_codes(clusters, n)
    n_clusters = int(codes.max()) + 1
    # Both models' ranks in one sorted row: each of the two mixtures takes the half that its weights choose.
    both = _SortedScores(np.tile(positive, 2), np.concatenate(ranks), np.concatenate([codes, codes + n_clusters]))
    rng = np.random.default_rng(seed)

    def difference(swap: NDArray[np.int64]) -> float:
        return both.area(np.concatenate([1 - swap, swap])) - both.area(np.concatenate([swap, 1 - swap]))

    observed = difference(np.zeros(n_clusters, dtype=np.int64))
    reached = sum(
        abs(difference(rng.integers(0, 2, n_clusters))) >= abs(observed) - 1e-12 for _ in range(n_permutations)
    )
    p_value = (1 + reached) / (1 + n_permutations)
    unit = "cases" if clusters is None else "patients"
    nan = float("nan")
    return Comparison("auroc", observed, nan, nan, p_value, n, f"permutation of {unit}, {n_permutations} drawn")


def _resamples(codes: Codes, n_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each cluster is drawn, resample by resample."""
    if n_resamples < 1:
        raise UsageError("n_resamples", f"found {n_resamples}", expected="1 or more")
    rng, n_clusters = np.random.default_rng(seed), int(codes.max()) + 1
    for _ in range(n_resamples):
        yield np.bincount(rng.integers(0, n_clusters, n_clusters), minlength=n_clusters)


def _percentiles(drawn: Array, level: float) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _mid_ranks(values: Array) -> Array:
    order = np.sort(values)
    return (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")).astype(np.float64)
