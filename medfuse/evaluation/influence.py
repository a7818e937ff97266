"""How far each case moves a figure, from which follow its interval, a paired difference, and a mean of figures.

The influence of a case is the change of a figure as its weight changes, so that summed by patient it gives the
variance over patients in one pass: what a bootstrap of patients finds by thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from medfuse.errors import DataError
from medfuse.types import Array, Comparison, Estimate

__all__ = ["Influence", "Scale", "clustered_error", "compare", "estimate", "interval", "mean_of", "undefined"]

Scale = Literal["logit", "log", "fisher", "plain"]
"""Where a figure spreads evenly: shares in [0, 1], losses above 0, correlations in [-1, 1], or any number."""
RANGES: dict[Scale, tuple[float, float]] = {
    "logit": (0.0, 1.0),
    "log": (0.0, float("inf")),
    "fisher": (-1.0, 1.0),
    "plain": (float("-inf"), float("inf")),
}


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """A figure, and how far each case moves it.

    Parameters
    ----------
    name : str
    value : float
    by_case : ndarray, shape (n,)
        Change of the figure a unit of the case's weight; sums to 0.
    scale : {"logit", "log", "fisher", "plain"}
        On which its interval is even.
    """

    name: str
    value: float
    by_case: Array
    scale: Scale = "plain"


def clustered_error(by_case: Array, codes: NDArray[np.intp]) -> float:
    """Return the standard error of a figure over patients.

    Parameters
    ----------
    by_case : ndarray, shape (n,)
        Influence of each case.
    codes : ndarray of int, shape (n,)
        The cluster (patient) of each case, 0, 1, ...

    Returns
    -------
    float
        NaN of one patient only.

    Notes
    -----
    Source: Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6 (infinitesimal
    jackknife); sums by cluster as in Obuchowski 1997.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> error = clustered_error((x - x.mean()) / 4, np.arange(4))
    >>> bool(np.isclose(error, x.std(ddof=1) / 2))
    True
    """
    sums = np.bincount(codes, weights=by_case)
    return float(np.sqrt(sums.size / (sums.size - 1) * (sums @ sums))) if sums.size > 1 else float("nan")


def interval(value: float, error: float, *, scale: Scale, level: float) -> tuple[float, float]:
    """Return the interval that is even about a value on a scale.

    Parameters
    ----------
    value, error : float
        The figure and its standard error, both on the figure's own scale.
    scale : {"logit", "log", "fisher", "plain"}
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    tuple of float
        Low and high; of zero width where the error is 0 or the value lies at an end of the scale, and the whole
        range where the error is undefined.

    Examples
    --------
    >>> [round(end, 3) for end in interval(0.9, 0.05, scale="logit", level=0.95)]
    [0.752, 0.964]
    """
    if np.isnan(value) or np.isnan(error):
        return RANGES[scale]
    if error == 0 or value in RANGES[scale]:
        return value, value
    half = float(norm.ppf((1 + level) / 2)) * error
    if scale == "logit":
        half /= value * (1 - value)
        return float(expit(logit(value) - half)), float(expit(logit(value) + half))
    if scale == "log":
        return value * float(np.exp(-half / value)), value * float(np.exp(half / value))
    if scale == "fisher":
        half /= 1 - value**2
        return float(np.tanh(np.arctanh(value) - half)), float(np.tanh(np.arctanh(value) + half))
    return value - half, value + half


def estimate(
    figure: Influence,
    codes: NDArray[np.intp],
    *,
    n_positive: int,
    level: float,
    how: str = "influence",
) -> Estimate:
    """Return a figure with its interval over patients.

    Parameters
    ----------
    figure : Influence
    codes : ndarray of int, shape (n,)
        The cluster (patient) of each case, 0, 1, ...
    n_positive : int
    level : float
        Confidence level in (0, 1).
    how : str
        What the method is called in ``Estimate.method``.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> x = np.array([0.1, 0.4, 0.2, 0.3])
    >>> mean = Influence("brier", float(x.mean()), (x - x.mean()) / 4, "log")
    >>> found = estimate(mean, np.arange(4), n_positive=2, level=0.95)
    >>> round(found.low, 3), round(found.value, 3), found.method
    (0.151, 0.25, 'log influence 95%')
    """
    n = figure.by_case.size
    error = clustered_error(figure.by_case, codes)
    low, high = interval(figure.value, error, scale=figure.scale, level=level)
    scale = "" if figure.scale == "plain" else f"{figure.scale} "
    by_patient = ", clustered by patient" if int(codes.max()) + 1 < n else ""
    method = f"{scale}{how} {100 * level:g}%{by_patient}"
    return Estimate(figure.name, figure.value, low, high, n, n_positive, method)


def compare(first: Influence, second: Influence, codes: NDArray[np.intp], *, level: float) -> Comparison:
    """Return the paired difference of one figure of two models on the same cases.

    Parameters
    ----------
    first, second : Influence
        Of the same cases in the same order.
    codes : ndarray of int, shape (n,)
        The cluster (patient) of each case, 0, 1, ...
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Comparison
        First minus second. Equal figures without a variance give p = 1, others without one p = NaN.

    Raises
    ------
    DataError
        If the figures are not of the same cases.

    Examples
    --------
    >>> a, b = np.array([0.1, 0.4, 0.2, 0.3]), np.array([0.2, 0.4, 0.5, 0.4])
    >>> first, second = (Influence("brier", float(x.mean()), (x - x.mean()) / 4) for x in (a, b))
    >>> found = compare(first, second, np.arange(4), level=0.95)
    >>> round(found.difference, 3), round(found.p_value, 3)
    (-0.125, 0.047)
    """
    if first.by_case.shape != second.by_case.shape:
        raise DataError(first.name, "found figures of other cases", expected="two models on the same cases")
    difference = first.value - second.value
    error = clustered_error(first.by_case - second.by_case, codes)
    low, high = interval(difference, error, scale="plain", level=level)
    if error > 1e-15:
        p_value = 2 * float(norm.sf(abs(difference) / error))
    else:
        p_value = 1.0 if abs(difference) < 1e-12 else float("nan")
    by_patient = ", clustered by patient" if int(codes.max()) + 1 < codes.size else ""
    method = f"paired influence {100 * level:g}%{by_patient}"
    return Comparison(first.name, difference, low, high, p_value, codes.size, method)


def mean_of(figures: Sequence[Influence], *, name: str) -> Influence:
    """Return the mean of several figures of the same cases, such as one a class.

    Parameters
    ----------
    figures : sequence of Influence
        On one scale.
    name : str

    Returns
    -------
    Influence

    Examples
    --------
    >>> parts = [Influence("f", v, np.array([0.1, -0.1]), "logit") for v in (0.6, 0.8)]
    >>> round(mean_of(parts, name="macro_f").value, 2)
    0.7
    """
    value = float(np.mean([figure.value for figure in figures]))
    by_case = np.mean([figure.by_case for figure in figures], axis=0)
    return Influence(name, value, np.asarray(by_case), figures[0].scale)


def undefined(name: str, why: str, *, n: int, n_positive: int, scale: Scale = "logit") -> Estimate:
    """Return a figure that these cases leave undefined: NaN, anywhere in its range.

    Examples
    --------
    >>> found = undefined("ppv", "no case is called positive", n=3, n_positive=1)
    >>> found.value, found.low, found.high, found.method
    (nan, 0.0, 1.0, 'undefined: no case is called positive')
    """
    low, high = RANGES[scale]
    return Estimate(name, float("nan"), low, high, n, n_positive, f"undefined: {why}")
