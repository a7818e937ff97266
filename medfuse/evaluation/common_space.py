"""Linear ways into a space that image and report share, fitted on training cases: what retrieval is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np

from medfuse.evaluation.linear_maps import fit_cca, fit_least_squares, fit_procrustes, fit_ridge
from medfuse.evaluation.retrieval import find_ranks, similarity
from medfuse.types import Array

__all__ = ["METHODS", "Pair", "into_common_space"]

Pair = tuple[Array, Array]
"""Image vectors, shape (n, p), and report vectors, shape (n, q), of the same cases."""
Method = Literal["least_squares", "ridge", "procrustes", "cca"]
METHODS: tuple[Method, ...] = ("least_squares", "ridge", "procrustes", "cca")
PENALTIES = (0.1, 1.0, 10.0, 100.0)
RIDGES = (0.03, 0.3, 3.0)
N_COMPONENTS = (4, 8, 16, 32)
DEPTH = 10
Fitted = Callable[[Pair], Pair]


def into_common_space(method: Method, train: Pair, validation: Pair, test: Pair) -> Pair:
    """Carry the test cases' images and reports into a common space.

    Every column is brought to mean 0, and for CCA to variance 1, by the training cases.

    Parameters
    ----------
    method : {"least_squares", "ridge", "procrustes", "cca"}
        The first three carry reports to images; Procrustes needs vectors of one size.
    train, validation, test : Pair
        The map is fitted on ``train``; its penalty, or its ridge and components, are those of the highest recall
        among the first ten on ``validation``.

    Returns
    -------
    Pair
        Of the test cases, in the common space.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = rng.normal(size=(60, 4))
    >>> reports = images @ rng.normal(size=(4, 6)) + 2
    >>> cases = [(images[part], reports[part]) for part in (slice(40), slice(40, 50), slice(50, 60))]
    >>> images, reports = into_common_space("cca", *cases)
    >>> find_ranks(similarity(images, reports, metric="cosine")).hits(1).tolist() == [1.0] * 10
    True
    """
    means = [part.mean(axis=0) for part in train]
    spreads = [np.where(part.std(axis=0) > 0, part.std(axis=0), 1.0) for part in train]

    def scaled(pair: Pair) -> Pair:
        centred = [
            (part - mean) / (spread if method == "cca" else 1.0)
            for part, mean, spread in zip(pair, means, spreads, strict=True)
        ]
        return centred[0], centred[1]

    fitted = _candidates(method, scaled(train))
    best = max(fitted, key=partial(_recall, scaled(validation))) if len(fitted) > 1 else fitted[0]
    return best(scaled(test))


def _candidates(method: Method, train: Pair) -> Sequence[Fitted]:
    images, reports = train
    if method == "cca":
        most = min(images.shape[1], reports.shape[1])
        sizes = sorted({min(size, most) for size in N_COMPONENTS})
        return [partial(_through_cca, train, n, ridge) for n in sizes for ridge in RIDGES]
    if method == "least_squares":
        maps = [fit_least_squares(reports, images)]
    elif method == "procrustes":
        maps = [fit_procrustes(reports, images)]
    else:
        maps = [fit_ridge(reports, images, penalty=penalty) for penalty in PENALTIES]
    return [partial(_through_map, matrix) for matrix in maps]


def _through_map(matrix: Array, pair: Pair) -> Pair:
    return pair[0], np.asarray(pair[1] @ matrix)


def _through_cca(train: Pair, n_components: int, ridge: float, pair: Pair) -> Pair:
    fitted = fit_cca(*train, n_components=n_components, ridge=ridge)
    return fitted.project_first(pair[0]), fitted.project_second(pair[1])


def _recall(pair: Pair, fitted: Fitted) -> float:
    """Return the recall of both directions."""
    images, reports = fitted(pair)
    likeness = similarity(images, reports, metric="cosine")
    return float(find_ranks(likeness).hits(DEPTH).mean() + find_ranks(likeness.T).hits(DEPTH).mean())
