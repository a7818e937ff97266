"""Probabilities bent onto what validation cases showed, by steps that only rise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medfuse.errors import DataError
from medfuse.evaluation.inputs import finite_scores, two_class_labels
from medfuse.types import Array

__all__ = ["IsotonicRule", "apply_isotonic", "fit_isotonic"]


@dataclass(frozen=True, slots=True)
class IsotonicRule:
    """A rising curve from scores to probabilities, straight between its points and level beyond them.

    Parameters
    ----------
    scores : tuple of float
        Rising.
    probabilities : tuple of float
        One a score, in [0, 1], never falling.

    Raises
    ------
    DataError
        If they are no such curve.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = np.diff(self.scores).min(initial=1.0) > 0 and np.diff(self.probabilities).min(initial=0.0) >= 0
        in_range = all(0 <= p <= 1 for p in self.probabilities)
        if not (rising and in_range and 0 < len(self.scores) == len(self.probabilities)):
            raise DataError("isotonic rule", "found values that do not rise", expected="rising points in [0, 1]")


def fit_isotonic(labels: ArrayLike, scores: ArrayLike) -> IsotonicRule:
    """Return the rising curve that fits the labels best.

    Fit it on validation cases only, and on many: with fewer than some hundred cases temperature and bias, of which
    there are two, are the safer choice (`fit_calibration`).

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    scores : array_like, shape (n,)
        Higher means more likely positive.

    Returns
    -------
    IsotonicRule

    Raises
    ------
    LabelError
        If a class is absent.
    DataError
        If a score is not finite.

    Notes
    -----
    Source: Zadrozny and Elkan 2002, Transforming classifier scores into accurate multiclass probability estimates,
    section 3, by scikit-learn's IsotonicRegression.

    Examples
    --------
    >>> rule = fit_isotonic([0, 1, 0, 1, 1], [0.1, 0.3, 0.4, 0.6, 0.9])
    >>> apply_isotonic([0.0, 0.35, 0.5, 0.9], rule).round(2).tolist()
    [0.0, 0.5, 0.75, 1.0]
    """
    from sklearn.isotonic import IsotonicRegression

    positive = two_class_labels(labels)
    values = finite_scores(scores, positive.size)
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(values, positive.astype(np.float64))
    return IsotonicRule(tuple(model.X_thresholds_.tolist()), tuple(np.clip(model.y_thresholds_, 0, 1).tolist()))


def apply_isotonic(scores: ArrayLike, rule: IsotonicRule) -> Array:
    """Return the probability of each score.

    Parameters
    ----------
    scores : array_like, shape (n,)
        On the scale that the rule was fitted on.
    rule : IsotonicRule

    Returns
    -------
    ndarray, shape (n,)
        In [0, 1].

    Raises
    ------
    DataError
        If a score is not finite.

    Examples
    --------
    >>> apply_isotonic([0.0, 0.5, 2.0], IsotonicRule((0.0, 1.0), (0.2, 0.6))).tolist()
    [0.2, 0.4, 0.6]
    """
    values = np.asarray(scores, dtype=np.float64)
    values = finite_scores(values, values.size)
    return np.interp(values, rule.scores, rule.probabilities)
