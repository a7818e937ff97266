"""How far a fused model falls as a modality goes missing, against the model that never had it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.errors import UsageError
from medfuse.evaluation.model_comparison import compare_areas
from medfuse.types import Comparison, Estimate

__all__ = ["SHARES", "MissingPoint", "drop_at_random", "missing_curve"]

SHARES = tuple(round(0.1 * step, 1) for step in range(11))
ALONE = "alone"


@dataclass(frozen=True, slots=True)
class MissingPoint:
    """The model where a share of the cases lacks a modality.

    Parameters
    ----------
    share : float
        In [0, 1].
    area : Estimate
        Mean AUROC over random drops.
    against : Comparison
        That area minus the area of a model that never had the modality.
    """

    share: float
    area: Estimate
    against: Comparison


def drop_at_random(
    complete: ArrayLike, without: ArrayLike, *, share: float, draws: int = 20, seed: int = 0
) -> list[NDArray[np.float64]]:
    """Return a model's answers where a random share of the cases lacks a modality, one array a draw.

    Parameters
    ----------
    complete, without : array_like, shape (n,)
        Answers with the modality and without it, NaN in ``complete`` where it is missing anyway.
    share : float
        Of the n cases, in [0, 1].
    draws : int
    seed : int

    Returns
    -------
    list of ndarray, shape (n,)
        At a share of 0 or 1 no draw differs from another, and one is returned.

    Raises
    ------
    UsageError
        If the share lies outside [0, 1] or the lengths differ.

    Examples
    --------
    >>> (one,) = drop_at_random([0.9, 0.8], [0.5, 0.4], share=1.0)
    >>> one
    array([0.5, 0.4])
    >>> [int((one == 0.5).sum()) for one in drop_at_random([0.9] * 4, [0.5] * 4, share=0.25, draws=2)]
    [1, 1]
    """
    having, lacking = np.asarray(complete, dtype=np.float64), np.asarray(without, dtype=np.float64)
    if not 0 <= share <= 1 or having.shape != lacking.shape:
        found = f"found a share of {share:g} and {having.size} and {lacking.size} answers"
        raise UsageError("drop_at_random", found, expected="a share in [0, 1] and as many answers without as with")
    having = np.where(np.isnan(having), lacking, having)
    n_dropped = round(share * having.size)
    if n_dropped in (0, having.size):
        return [lacking.copy() if n_dropped else having]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        mixed = having.copy()
        rows = rng.choice(having.size, n_dropped, replace=False)
        mixed[rows] = lacking[rows]
        drawn.append(mixed)
    return drawn


def missing_curve(
    labels: ArrayLike,
    complete: ArrayLike,
    without: ArrayLike,
    *,
    alone: ArrayLike,
    clusters: ArrayLike | None = None,
    shares: Sequence[float] = SHARES,
) -> list[MissingPoint]:
    """Return the AUROC against the share of cases that lack a modality, the mean of 20 random drops a point.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    complete, without : array_like, shape (n,)
        The model's answers with the modality and without it.
    alone : array_like, shape (n,)
        Answers of a model that never had it.
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.
    shares : sequence of float

    Returns
    -------
    list of MissingPoint
        One a share. Intervals are those of patients; the drops' own scatter is averaged out.

    Examples
    --------
    >>> found = missing_curve([0, 0, 1, 1], [1, 2, 3, 4], [2, 1, 1, 2], alone=[1, 3, 2, 4], shares=[0, 1])
    >>> [point.area.value for point in found]
    [1.0, 0.5]
    """
    scores: dict[str, list[ArrayLike]] = {
        f"{share:g}": list(drop_at_random(complete, without, share=share)) for share in shares
    }
    found = compare_areas(labels, {**scores, ALONE: [alone]}, reference=ALONE, clusters=clusters)
    return [
        MissingPoint(share, one.area, one.against)
        for share, one in zip(shares, found, strict=False)
        if one.against is not None
    ]
