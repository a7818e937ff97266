"""Figures with their intervals, and differences of two."""

from __future__ import annotations

from dataclasses import dataclass

from medfuse.errors import DataError

__all__ = ["Comparison", "Estimate"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Parameters
    ----------
    name : str
    value, low, high : float
        The estimate and its interval at the stated level.
    n, n_positive : int
        Cases it rests on, and how many of them are positive.
    method : str
        How the interval was made, for example ``"logit-DeLong 95%"``.

    Raises
    ------
    DataError
        If the interval is upside down.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    n_positive: int
    method: str

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise DataError(f"estimate {self.name!r}", "found low above high", expected="low <= high")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired difference of two figures on the same cases.

    Parameters
    ----------
    name : str
    difference, low, high : float
        First minus second, with its interval.
    p_value : float
        Two-sided.
    n : int
    method : str
    """

    name: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    method: str
