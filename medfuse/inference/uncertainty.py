"""How sure an answer is: an interval for each class's probability, and a set of classes that holds the true one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medfuse.errors import BundleError, LabelError
from medfuse.evaluation import (
    ConformalRule,
    VennAbersRule,
    conformal_sets,
    fit_conformal,
    fit_venn_abers,
    venn_abers_interval,
)
from medfuse.types import UNCERTAIN, Array, Prediction, Target

__all__ = ["COVERAGE", "INTERVAL_KIND", "Uncertainty", "fit_uncertainty", "is_uncertain", "with_uncertainty"]

COVERAGE = 0.9
"""Share of new cases whose set is promised to hold the true class."""
INTERVAL_KIND = "Venn-Abers"
DECIMALS = 6
"""Probabilities are rounded so far before they meet a rule: a case must not fall on the other side of one of its steps
for the sake of a rounding error, which depends on the cases beside it."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """The rules of one target and one condition, fitted on validation cases.

    Parameters
    ----------
    intervals : tuple of VennAbersRule
        One a class, of a binary target that of the positive class alone; empty where the validation cases lack a class.
    sets : ConformalRule

    Raises
    ------
    BundleError
        If there are rules of some classes only.
    """

    intervals: tuple[VennAbersRule, ...]
    sets: ConformalRule

    def __post_init__(self) -> None:
        n_classes = len(self.sets.cutoffs)
        if len(self.intervals) not in (0, 1 if n_classes == 2 else n_classes):
            raise BundleError("intervals", f"found rules of {len(self.intervals)} classes", expected=f"{n_classes}")

    def intervals_of(self, probabilities: Array) -> list[tuple[Interval, ...]]:
        """Return the interval of each class of each case.

        Parameters
        ----------
        probabilities : ndarray, shape (n, classes)
            Calibrated.

        Returns
        -------
        list of tuple of (low, high)
            Each holds the probability itself, to which a Venn-Abers interval is widened; an empty list if there is no
            rule.
        """
        rounded = probabilities.round(DECIMALS)
        first = probabilities.shape[1] - len(self.intervals)
        columns = [
            _around(rounded[:, first + k], *venn_abers_interval(rounded[:, first + k], rule))
            for k, rule in enumerate(self.intervals)
        ]
        if len(columns) == 1:
            columns.insert(0, 1 - columns[0][:, ::-1])
        return [tuple((float(low), float(high)) for low, high in row) for row in zip(*columns, strict=True)]

    def sets_of(self, probabilities: Array, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the prediction set of each case; see `medfuse.evaluation.conformal_sets`.

        Parameters
        ----------
        probabilities : ndarray, shape (n, classes)
            Calibrated.
        classes : sequence of str
        """
        held = conformal_sets(probabilities.round(DECIMALS), self.sets)
        return [tuple(name for name, is_in in zip(classes, row, strict=True) if is_in) for row in held]


def _around(probability: Array, low: Array, high: Array) -> Array:
    """Widen intervals to the probabilities that are given as the answer, shape (n, 2)."""
    return np.stack([np.minimum(low, probability), np.maximum(high, probability)], axis=1)


def fit_uncertainty(
    target: Target, labels: Sequence[int], probabilities: Array, patients: Sequence[str]
) -> Uncertainty:
    """Fit the rules on validation cases.

    Parameters
    ----------
    target : Target
    labels : sequence of int
        Class index a case; at least one.
    probabilities : ndarray, shape (n, classes)
        Calibrated.
    patients : sequence of str
        Of each case; each counts once for the sets.

    Returns
    -------
    Uncertainty
        Sets of a binary target promise the coverage to the cases of either class, others over all cases.
    """
    rounded = probabilities.round(DECIMALS)
    index = np.asarray(labels)
    is_binary = len(target.classes) == 2
    sets = fit_conformal(index, rounded, coverage=COVERAGE, by_class=is_binary, clusters=patients)
    columns = [1] if is_binary else range(len(target.classes))
    try:
        intervals = tuple(fit_venn_abers(index == k, rounded[:, k]) for k in columns)
    except LabelError:  # a class is absent
        intervals = ()
    return Uncertainty(intervals, sets)


def is_uncertain(target: Target, intervals: Sequence[Interval], *, threshold: float, answer: int) -> bool:
    """Return whether an answer's interval leaves open which class is called.

    Parameters
    ----------
    target : Target
    intervals : sequence of (low, high)
        One a class.
    threshold : float
        From which on the positive class of a binary target is called.
    answer : int
        Index of the most probable class, which is called where there are several.

    Examples
    --------
    >>> binary = Target("malignancy", "binary", ("no", "yes"))
    >>> is_uncertain(binary, [(0.4, 0.7), (0.3, 0.6)], threshold=0.5, answer=0)
    True
    >>> kind = Target("kind", "multiclass", ("a", "b", "c"))
    >>> is_uncertain(kind, [(0.1, 0.2), (0.5, 0.8), (0.1, 0.3)], threshold=0.5, answer=1)
    False
    """
    if target.kind == "binary":
        low, high = intervals[1]
        return low < threshold <= high
    return any(high >= intervals[answer][0] for k, (_, high) in enumerate(intervals) if k != answer)


def with_uncertainty(
    predictions: Sequence[Prediction], target: Target, rules: Mapping[str, Uncertainty]
) -> list[Prediction]:
    """Return predictions with their intervals and sets, flagged where an interval leaves the answer open.

    Parameters
    ----------
    predictions : sequence of Prediction
        Of one target.
    target : Target
    rules : mapping of str to Uncertainty
        By condition; a condition without rules gets neither interval nor set.
    """
    intervals: list[dict[str, tuple[Interval, ...]]] = [{} for _ in predictions]
    sets: list[dict[str, tuple[str, ...]]] = [{} for _ in predictions]
    for condition, rule in rules.items():
        having = [row for row, one in enumerate(predictions) if condition in one.probabilities]
        if not having:
            continue
        table = np.array([predictions[row].probabilities[condition] for row in having])
        for row, found in zip(having, rule.sets_of(table, target.classes), strict=True):
            sets[row][condition] = found
        if rule.intervals:
            for row, each in zip(having, rule.intervals_of(table), strict=True):
                intervals[row][condition] = each
    level = min((rule.sets.coverage for rule in rules.values()), default=0.0)
    return [
        _completed(one, target, intervals=found, sets=held, level=level)
        for one, found, held in zip(predictions, intervals, sets, strict=True)
    ]


def _completed(
    prediction: Prediction,
    target: Target,
    *,
    intervals: Mapping[str, tuple[Interval, ...]],
    sets: Mapping[str, tuple[str, ...]],
    level: float,
) -> Prediction:
    answer = prediction.probabilities[prediction.condition]
    own = intervals.get(prediction.condition)
    is_open = own is not None and is_uncertain(
        target, own, threshold=prediction.threshold, answer=int(np.argmax(answer))
    )
    return replace(
        prediction,
        intervals=intervals,
        interval_kind=INTERVAL_KIND if intervals else "",
        sets=sets,
        set_level=level if sets else 0.0,
        flags=(*prediction.flags, UNCERTAIN) if is_open else prediction.flags,
    )
