"""Figures of cases that are called positive or negative, each with an interval that stays honest at 0 and 1.

Shares have Wilson's interval; where patients repeat, the number of cases is reduced to its effective size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.evaluation.influence import Influence, clustered_error, interval, undefined
from medfuse.evaluation.inputs import binary_labels, check_level, cluster_codes, finite_scores
from medfuse.evaluation.proportions import share
from medfuse.types import Estimate

__all__ = [
    "CALL_FIGURES",
    "Confusion",
    "accuracy",
    "balanced_accuracy",
    "call_figures",
    "confusion_of",
    "f1",
    "mcc",
    "npv",
    "ppv",
    "sensitivity",
    "specificity",
]

CALL_FIGURES = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "mcc")
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Cases by what they are and what they are called.

    Parameters
    ----------
    true_positive, false_positive, false_negative, true_negative : int
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


def confusion_of(labels: ArrayLike, calls: ArrayLike) -> Confusion:
    """Count cases by what they are and what they are called.

    Examples
    --------
    >>> confusion_of([0, 1, 1, 0, 1], [0, 1, 0, 1, 1])
    Confusion(true_positive=2, false_positive=1, false_negative=1, true_negative=1)
    """
    positive = binary_labels(labels)
    called = _called(calls, positive.size)
    both, n_positive, n_called = int((positive & called).sum()), int(positive.sum()), int(called.sum())
    return Confusion(both, n_called - both, n_positive - both, positive.size - n_positive - n_called + both)


def call_figures(
    labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> dict[str, Estimate]:
    """Return every figure of ``CALL_FIGURES``.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    calls : array_like, shape (n,)
        1 where the case is called positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    dict of str to Estimate
        ``n`` counts the cases that a share is taken of. A figure that these cases leave undefined, such as the ppv
        where no case is called positive, is NaN, and its method says why.

    Notes
    -----
    Source: Wilson 1927 (shares); Rao and Scott 1992 (effective number by patient); Zou and Donner 2008 (balanced
    accuracy from both intervals); F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), of which Wilson's interval is taken;
    Matthews 1975 (mcc), by the influence of each case on Fisher's scale.

    Examples
    --------
    >>> found = call_figures([0, 1, 1, 0, 1], [0, 1, 0, 1, 1])
    >>> [round(found[name].value, 2) for name in ("accuracy", "sensitivity", "ppv", "f1", "mcc")]
    [0.6, 0.67, 0.67, 0.67, 0.17]
    """
    positive = binary_labels(labels)
    called = _called(calls, positive.size)
    codes = None if clusters is None else cluster_codes(clusters, positive.size)
    check_level(level)
    everyone = np.ones_like(positive)
    shares = {
        "accuracy": share("accuracy", positive == called, everyone, positive, codes=codes, level=level),
        "sensitivity": share("sensitivity", called, positive, positive, codes=codes, level=level),
        "specificity": share("specificity", ~called, ~positive, positive, codes=codes, level=level),
        "ppv": share("ppv", positive, called, positive, codes=codes, level=level),
        "npv": share("npv", ~positive, ~called, positive, codes=codes, level=level),
        "f1": _f1(positive, called, codes=codes, level=level),
    }
    shares["balanced_accuracy"] = _balanced(shares["sensitivity"], shares["specificity"], positive)
    shares["mcc"] = _mcc(positive, called, shares, codes=codes, level=level)
    return {name: shares[name] for name in CALL_FIGURES}


def accuracy(
    labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the share of cases called right; parameters as of `call_figures`.

    Examples
    --------
    >>> accuracy([0, 1, 1, 0], [1, 1, 1, 0]).value
    0.75
    """
    return call_figures(labels, calls, level=level, clusters=clusters)["accuracy"]


def balanced_accuracy(
    labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the mean of sensitivity and specificity; parameters as of `call_figures`.

    Examples
    --------
    >>> balanced_accuracy([0, 1, 1, 1], [1, 1, 1, 1]).value
    0.5
    """
    return call_figures(labels, calls, level=level, clusters=clusters)["balanced_accuracy"]


def sensitivity(
    labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the share of positive cases that are called positive; parameters as of `call_figures`.

    Examples
    --------
    >>> sensitivity([0, 1, 1, 0], [1, 1, 0, 0]).value
    0.5
    """
    return call_figures(labels, calls, level=level, clusters=clusters)["sensitivity"]


def specificity(
    labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the share of negative cases that are called negative; parameters as of `call_figures`.

    Examples
    --------
    >>> specificity([0, 1, 1, 0], [0, 1, 0, 0]).value
    1.0
    """
    return call_figures(labels, calls, level=level, clusters=clusters)["specificity"]


def ppv(labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None) -> Estimate:
    """Return the share of cases called positive that are; parameters as of `call_figures`.

    Examples
    --------
    >>> ppv([0, 1, 1, 0], [0, 0, 0, 0]).method
    'undefined: there is no such case'
    """
    return call_figures(labels, calls, level=level, clusters=clusters)["ppv"]


def npv(labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None) -> Estimate:
    """Return the share of cases called negative that are; parameters as of `call_figures`.

    Examples
    --------
    >>> round(npv([0, 1, 1, 0], [0, 1, 0, 0]).value, 3)
    0.667
    """
    return call_figures(labels, calls, level=level, clusters=clusters)["npv"]


def f1(labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None) -> Estimate:
    """Return the harmonic mean of ppv and sensitivity, 0 where nothing is found; parameters as of `call_figures`.

    Examples
    --------
    >>> round(f1([0, 1, 1, 0], [1, 1, 1, 0]).value, 3)
    0.8
    """
    return call_figures(labels, calls, level=level, clusters=clusters)["f1"]


def mcc(labels: ArrayLike, calls: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None) -> Estimate:
    """Return Matthews's correlation of labels and calls; parameters as of `call_figures`.

    Examples
    --------
    >>> mcc([0, 1, 1, 0], [0, 1, 1, 0]).value
    1.0
    """
    return call_figures(labels, calls, level=level, clusters=clusters)["mcc"]


def _called(calls: ArrayLike, n: int) -> Flags:
    values = np.asarray(calls)
    if values.dtype == bool and values.shape == (n,):
        return values
    return finite_scores(calls, n, where="calls", unit_interval=True) >= 0.5


def _f1(positive: Flags, called: Flags, *, codes: NDArray[np.intp] | None, level: float) -> Estimate:
    found = share("f1", positive & called, positive | called, positive, codes=codes, level=level)
    value, low, high = (2 * end / (1 + end) for end in (found.value, found.low, found.high))
    method = found.method.replace("Wilson", "Wilson on TP/(TP+FP+FN)")
    return Estimate("f1", value, low, high, positive.size, int(positive.sum()), method)


def _balanced(first: Estimate, second: Estimate, positive: Flags) -> Estimate:
    n, n_positive = positive.size, int(positive.sum())
    if n_positive in (0, n):
        return undefined("balanced_accuracy", "a class is absent", n=n, n_positive=n_positive)
    down = float(np.hypot(first.value - first.low, second.value - second.low)) / 2
    up = float(np.hypot(first.high - first.value, second.high - second.value)) / 2
    value = (first.value + second.value) / 2
    method = f"square-and-add of {first.method}"
    return Estimate("balanced_accuracy", value, max(value - down, 0.0), min(value + up, 1.0), n, n_positive, method)


def _mcc(
    positive: Flags, called: Flags, shares: dict[str, Estimate], *, codes: NDArray[np.intp] | None, level: float
) -> Estimate:
    n, n_positive = positive.size, int(positive.sum())
    figure = mcc_influence(positive, called)
    if figure is None:
        why = "a class is absent" if n_positive in (0, n) else "every case is called alike"
        return undefined("mcc", why, n=n, n_positive=n_positive, scale="fisher")
    error = clustered_error(figure.by_case, np.arange(n) if codes is None else codes)
    if error > 0 and abs(figure.value) < 1:
        low, high = interval(figure.value, error, scale="fisher", level=level)
        method = f"fisher influence {100 * level:g}%" + ("" if codes is None else ", clustered by patient")
    else:  # no variance to see: what the ends of sensitivity and specificity would give
        low, high = (_mcc_of(end, n_positive / n, shares) for end in ("low", "high"))
        method = f"of both ends of sensitivity and specificity, {shares['sensitivity'].method}"
    low, high = min(low, figure.value), max(high, figure.value)
    return Estimate("mcc", figure.value, low, high, n, n_positive, method)


def mcc_influence(positive: Flags, called: Flags) -> Influence | None:
    """Return Matthews's correlation with the influence of each case; None where it is undefined.

    Examples
    --------
    >>> figure = mcc_influence(np.array([True, True, False, False]), np.array([True, False, False, False]))
    >>> round(figure.value, 3), bool(abs(figure.by_case.sum()) < 1e-12)
    (0.577, True)
    """
    cells = np.where(positive, np.where(called, 0, 2), np.where(called, 1, 3))
    a, b, c, d = np.bincount(cells, minlength=4) / cells.size
    sides = np.array([a + b, a + c, d + b, d + c])
    if sides.min() == 0:
        return None
    root = float(np.sqrt(sides.prod()))
    value = (a * d - b * c) / root
    per_side = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]]) @ (1 / sides)
    slope = np.array([d, -c, -b, a]) / root - value / 2 * per_side
    by_cell = slope - slope @ np.array([a, b, c, d])
    return Influence("mcc", float(np.clip(value, -1, 1)), by_cell[cells] / cells.size, "fisher")


def _mcc_of(end: str, prevalence: float, shares: dict[str, Estimate]) -> float:
    """Matthews's correlation at one end of sensitivity and of specificity."""
    hit = prevalence * float(getattr(shares["sensitivity"], end))
    right = (1 - prevalence) * float(getattr(shares["specificity"], end))
    missed, false = prevalence - hit, 1 - prevalence - right
    sides = (hit + false) * (hit + missed) * (right + false) * (right + missed)
    return (hit * right - false * missed) / float(np.sqrt(sides)) if sides > 0 else 0.0
