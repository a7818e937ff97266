"""Finding a case's report by its image and back, and classes by their description: by distance alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medfuse.errors import DataError
from medfuse.evaluation.bootstrap import bootstrap_interval
from medfuse.types import Array, Comparison, Estimate

__all__ = [
    "DEPTHS",
    "Ranks",
    "compare_recall",
    "find_ranks",
    "join_ranks",
    "retrieval_figures",
    "similarity",
    "zero_shot_probabilities",
]

DEPTHS = (1, 5, 10)
TIE = 1e-5
"""Similarities this close count as equal: two like reports differ by rounding alone."""

Metric = Literal["cosine", "euclidean"]


def similarity(queries: ArrayLike, gallery: ArrayLike, *, metric: Metric) -> Array:
    """Return how like each query is each vector of the gallery.

    Parameters
    ----------
    queries : array-like, shape (n, E)
    gallery : array-like, shape (m, E)
    metric : {"cosine", "euclidean"}
        The cosine of the angle, or the distance with a minus sign.

    Returns
    -------
    ndarray, shape (n, m)

    Examples
    --------
    >>> similarity([[3.0, 0.0]], [[1.0, 0.0], [3.0, 4.0]], metric="cosine").round(6).tolist()
    [[1.0, 0.6]]
    >>> similarity([[3.0, 0.0]], [[1.0, 0.0], [3.0, 4.0]], metric="euclidean").tolist()
    [[-2.0, -4.0]]
    """
    from scipy.spatial.distance import cdist

    a, b = np.asarray(queries, dtype=np.float64), np.asarray(gallery, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError("retrieval", f"found shapes {a.shape} and {b.shape}", expected="(n, E) and (m, E)")
    return _unit(a) @ _unit(b).T if metric == "cosine" else -cdist(a, b)


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """Where each query's own partner came.

    Parameters
    ----------
    better : ndarray, shape (n,)
        How many of the gallery came before it.
    tied : ndarray, shape (n,)
        How many others were as like: their order is anyone's.
    n_gallery : ndarray, shape (n,)
        How many there were to choose from.
    """

    better: Array
    tied: Array
    n_gallery: Array

    @property
    def expected(self) -> Array:
        """The rank, from 1, ties being in random order: shape (n,)."""
        return np.asarray(1 + self.better + self.tied / 2)

    def hits(self, depth: int) -> Array:
        """Return the chance that the partner is among the first ``depth``, ties being in random order: shape (n,)."""
        return np.clip((depth - self.better) / (self.tied + 1), 0.0, 1.0)


def find_ranks(likeness: ArrayLike) -> Ranks:
    """Rank each query's partner.

    Parameters
    ----------
    likeness : array-like, shape (n, n)
        Of each query to each of the gallery; partners are on the diagonal. See `similarity`.

    Raises
    ------
    DataError
        If it is not square, or not finite.

    Examples
    --------
    >>> found = find_ranks([[0.9, 0.1, 0.1], [0.5, 0.5, 0.1], [0.3, 0.2, 0.1]])
    >>> found.expected.tolist(), found.hits(1).tolist()
    ([1.0, 1.5, 3.0], [1.0, 0.5, 0.0])
    """
    values = np.asarray(likeness, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
        raise DataError("retrieval", f"found a shape of {values.shape}", expected="(n, n), a partner for each query")
    if not np.isfinite(values).all():
        raise DataError("retrieval", "found similarities that are not finite", expected="finite ones")
    own = np.diag(values)[:, None]
    better = (values > own + TIE).sum(axis=1, dtype=np.float64)
    tied = (np.abs(values - own) <= TIE).sum(axis=1, dtype=np.float64) - 1
    return Ranks(better, tied, np.full(len(values), float(len(values))))


def join_ranks(parts: Sequence[Ranks]) -> Ranks:
    """Return the queries of several galleries, such as folds, as one."""
    return Ranks(*(np.concatenate([getattr(part, name) for part in parts]) for name in Ranks.__slots__))


def retrieval_figures(ranks: Ranks, patients: Sequence[str]) -> dict[str, Estimate | float]:
    """Return recall and median rank with 95 % intervals, and what chance gives.

    Parameters
    ----------
    ranks : Ranks
    patients : sequence of str
        Of each query: whole patients are resampled, the gallery staying as it is.

    Returns
    -------
    dict of str to Estimate or float
        ``recall_at_1`` and so on: share of queries whose partner is among the first; ``median_rank``;
        ``chance_recall_at_1`` and so on, and ``chance_median_rank``: of a gallery in random order.

    Notes
    -----
    Source: Karpathy & Fei-Fei 2015, Deep Visual-Semantic Alignments, section 4.1 (recall at K and median rank).

    Examples
    --------
    >>> figures = retrieval_figures(find_ranks(np.eye(20)), [str(n) for n in range(20)])
    >>> figures["recall_at_1"].value, figures["median_rank"].value, figures["chance_recall_at_5"]
    (1.0, 1.0, 0.25)
    """
    codes = _codes(ranks, patients)
    figures: dict[str, Estimate | float] = {}
    for depth in DEPTHS:
        hits = ranks.hits(depth)
        low, high = bootstrap_interval(_weighted_mean(hits), codes)
        figures[f"recall_at_{depth}"] = _estimate(f"recall_at_{depth}", float(hits.mean()), low, high, len(codes))
        figures[f"chance_recall_at_{depth}"] = float(np.minimum(depth / ranks.n_gallery, 1).mean())
    order = np.argsort(ranks.expected, kind="stable")
    ordered = ranks.expected[order]

    def median(weights: Array) -> Array:
        return _weighted_medians(ordered, weights[:, order])

    low, high = bootstrap_interval(median, codes)
    figures["median_rank"] = _estimate("median_rank", float(np.median(ranks.expected)), low, high, len(codes))
    figures["chance_median_rank"] = float(np.median((ranks.n_gallery + 1) / 2))
    return figures


def compare_recall(first: Ranks, second: Ranks, patients: Sequence[str], *, depth: int) -> Comparison:
    """Return how much more often the first ranking has the partner among the first ``depth``, paired by query.

    Parameters
    ----------
    first, second : Ranks
        Of the same queries, in the same order.
    patients : sequence of str
    depth : int

    Raises
    ------
    DataError
        If they are not of the same queries.

    Examples
    --------
    >>> best, worst = find_ranks(np.eye(3)), find_ranks(-np.eye(3))
    >>> compare_recall(best, worst, ["a", "b", "c"], depth=1).difference
    1.0
    """
    codes = _codes(first, patients)
    if len(second.better) != len(first.better):
        raise DataError("retrieval", "found rankings of other queries", expected="the same queries in both")
    gain = first.hits(depth) - second.hits(depth)
    drawn: list[Array] = []

    def mean(weights: Array) -> Array:
        drawn.append(_weighted_mean(gain)(weights))
        return drawn[-1]

    low, high = bootstrap_interval(mean, codes)
    means = np.concatenate(drawn)
    # Resamples on the other side of zero, and the sample itself, twice for both sides.
    p_value = min(1.0, 2 * (1 + min((means >= 0).sum(), (means <= 0).sum())) / (1 + len(means)))
    return Comparison(f"recall_at_{depth}", float(gain.mean()), low, high, p_value, len(gain), METHOD)


def zero_shot_probabilities(
    embeddings: ArrayLike, prompts: Mapping[str, ArrayLike], *, scale: float
) -> dict[str, Array]:
    """Return the probability of each class, by how like its description an embedding is.

    Parameters
    ----------
    embeddings : array-like, shape (n, E)
        Of images.
    prompts : mapping of str to array-like of shape (p, E)
        By class: embeddings of one or several descriptions, whose mean direction stands for the class.
    scale : float
        Inverse temperature, above 0, as the alignment learned it.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        By class; they sum to 1.

    Raises
    ------
    DataError
        If there are fewer than two classes.

    Notes
    -----
    Source: Radford et al. 2021, Learning Transferable Visual Models, sections 3.1.2 and 3.1.4 (several prompts a
    class, averaged as embeddings of unit length).

    Examples
    --------
    >>> given = {"solid": [[1.0, 0.0]], "ground glass": [[0.0, 1.0]]}
    >>> zero_shot_probabilities([[2.0, 0.0]], given, scale=1.0)["solid"].round(4).tolist()
    [0.7311]
    """
    from scipy.special import softmax

    if len(prompts) < 2:
        raise DataError("zero-shot", f"found {len(prompts)} classes", expected="two or more")
    classes = np.stack([_unit(np.asarray(each, dtype=np.float64)).mean(axis=0) for each in prompts.values()])
    likeness = similarity(embeddings, classes, metric="cosine")
    return dict(zip(prompts, softmax(scale * likeness, axis=1).T, strict=True))


METHOD = "bootstrap by patient 95%"


def _estimate(name: str, value: float, low: float, high: float, n: int) -> Estimate:
    return Estimate(name, value, low, high, n, 0, METHOD)


def _codes(ranks: Ranks, patients: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    if len(patients) != len(ranks.better):
        raise DataError("retrieval", f"found {len(patients)} patients", expected=f"{len(ranks.better)}, one a query")
    return np.unique(np.asarray(patients), return_inverse=True)[1].reshape(-1)


def _weighted_mean(values: Array) -> Callable[[Array], Array]:
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1))


def _weighted_medians(ordered: Array, weights: Array) -> Array:
    """Return the median of each resample of values in rising order, as `numpy.median` takes it."""
    filled = weights.cumsum(axis=1)
    total = filled[:, -1:]
    low = (filled >= np.floor((total + 1) / 2)).argmax(axis=1)
    high = (filled >= np.floor((total + 2) / 2)).argmax(axis=1)
    return np.asarray((ordered[low] + ordered[high]) / 2)


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))
