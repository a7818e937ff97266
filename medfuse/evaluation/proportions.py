"""Shares of cases with Wilson's interval, which stays honest at 0 and 1, on the effective number of cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from medfuse.evaluation.influence import undefined
from medfuse.types import Array, Estimate

__all__ = ["effective_n", "share", "wilson_interval"]

Flags = NDArray[np.bool_]


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


def share(
    name: str, hit: Flags, among: Flags, positive: Flags, *, codes: NDArray[np.intp] | None, level: float
) -> Estimate:
    """Return the share of hits among the chosen cases, by Wilson on their effective number.

    Parameters
    ----------
    name : str
    hit, among, positive : ndarray of bool, shape (n,)
    codes : ndarray of int, shape (n,), optional
        The patient of each case, 0, 1, ..., where patients repeat.
    level : float

    Returns
    -------
    Estimate
        NaN where no case is chosen.

    Examples
    --------
    >>> hit, every = np.array([True, False]), np.array([True, True])
    >>> share("right", hit, every, hit, codes=None, level=0.95).value
    0.5
    """
    chosen = hit[among].astype(np.float64)
    n, n_positive = chosen.size, int(positive[among].sum())
    if n == 0:
        return undefined(name, "there is no such case", n=0, n_positive=0)
    value, effective, method = float(chosen.mean()), float(n), f"Wilson {100 * level:g}%"
    if codes is not None:
        effective = effective_n(chosen, codes[among])
        method += ", effective number by patient"
    low, high = wilson_interval(value, effective, level=level)
    return Estimate(name, value, low, high, n, n_positive, method)


def effective_n(hits: Array, codes: NDArray[np.intp]) -> float:
    """Return how many cases would give the between-patient variance if each were a patient of its own.

    Never above the number of cases. Where all or no cases are hits the variance says nothing, and each patient counts
    once.

    Parameters
    ----------
    hits : ndarray of float, shape (n,)
        0 or 1.
    codes : ndarray of int, shape (n,)

    Returns
    -------
    float

    Notes
    -----
    Source: Rao and Scott 1992, section 2.

    Examples
    --------
    >>> effective_n(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1]))
    1.0
    """
    n, n_clusters, mean = hits.size, int(np.count_nonzero(np.bincount(codes))), float(hits.mean())
    if n_clusters == n:
        return float(n)
    if mean in (0.0, 1.0) or n_clusters < 2:
        return float(n_clusters)
    residuals = np.bincount(codes, weights=hits - mean)
    variance = n_clusters / (n_clusters - 1) * float(residuals @ residuals) / n**2
    return min(float(n), mean * (1 - mean) / variance) if variance > 0 else float(n)
