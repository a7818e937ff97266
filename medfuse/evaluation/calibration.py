"""Probabilities that mean what they say: temperature, isotonic steps, reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from medfuse.errors import DataError, LabelError, UsageError
from medfuse.evaluation.calibration_figures import bins_of
from medfuse.evaluation.inputs import binary_labels, cluster_codes, finite_scores
from medfuse.evaluation.proportions import share
from medfuse.types import Array, Estimate

__all__ = [
    "LARGEST_BIAS",
    "TEMPERATURE_RANGE",
    "CalibrationBin",
    "calibrated_loss",
    "calibration_curve",
    "fit_calibration",
]

TEMPERATURE_RANGE = (0.05, 20.0)
"""Bounds of a fitted temperature; validation cases that are all called right would drive it to 0."""
LARGEST_BIAS = 5.0
"""Bound of a fitted bias, in logits; it is a probability of 0.007 or 0.993 for a logit of 0."""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """One point of a reliability curve.

    Parameters
    ----------
    predicted : float
        Mean probability of the bin's cases.
    observed : Estimate
        Share of them that are positive, with Wilson's interval.
    """

    predicted: float
    observed: Estimate


def fit_calibration(labels: ArrayLike, logits: ArrayLike) -> tuple[float, tuple[float, ...]]:
    """Return what logits are divided by, and what is then added, so that their probabilities fit the labels.

    Fit it on validation cases only. Of a binary model it changes no ranking and so no AUROC; the bias brings
    the models of several folds to one scale.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1 for binary logits, else the class index.
    logits : array_like, shape (n,) or (n, N)
        Binary logits, or one a class.

    Returns
    -------
    temperature : float
        Within ``TEMPERATURE_RANGE``; above 1 where the model was too sure.
    biases : tuple of float
        One for binary logits, else one a class, which sum to 0; each within ``LARGEST_BIAS`` of 0.

    Raises
    ------
    LabelError
        If labels do not fit the logits.
    DataError
        If a logit is not finite.

    Notes
    -----
    Source: Alexandari, Kundaje and Shrikumar 2020, section 3.2 (bias-corrected temperature scaling, by the minimum of
    the negative log likelihood); of binary logits it is Platt 1999, whose targets (section 2.2) are used for any number
    of classes: of n cases of a class none counts as surer than (n + 1) / (n + 2), so that a few cases that are all
    called right give no certainty.

    Examples
    --------
    >>> temperature, biases = fit_calibration([0, 1, 1, 0, 1, 0], [-2.0, 2.0, -2.0, 2.0, 2.0, -2.0])
    >>> round(temperature, 2), round(abs(biases[0]), 4)
    (4.93, 0.0)
    """
    temperature, biases, _ = _calibrated(labels, logits)
    return temperature, biases


def calibrated_loss(labels: ArrayLike, logits: ArrayLike) -> float:
    """Return the mean cross-entropy that is left when the logits are calibrated on these very labels.

    It tells how well a model separates the classes whatever its confidence, which calibration mends later.

    Parameters
    ----------
    labels, logits
        As for `fit_calibration`.

    Returns
    -------
    float

    Raises
    ------
    LabelError, DataError
        See `fit_calibration`.

    Notes
    -----
    Source: Berta, Holzmuller, Jordan and Bach 2025, Rethinking Early Stopping: Refine, Then Calibrate, section 4.

    Examples
    --------
    >>> labels = [0, 1, 1, 0, 1, 0]
    >>> sure = calibrated_loss(labels, [-9.0, 9.0, -9.0, 9.0, 9.0, -9.0])
    >>> bool(abs(sure - calibrated_loss(labels, [-2.0, 2.0, -2.0, 2.0, 2.0, -2.0])) < 1e-3)
    True
    """
    return _calibrated(labels, logits)[2]


def _calibrated(labels: ArrayLike, logits: ArrayLike) -> tuple[float, tuple[float, ...], float]:
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim not in (1, 2) or values.size == 0 or not np.all(np.isfinite(values)):
        found = f"found an array of shape {values.shape}, or values that are not finite"
        raise DataError("logits", found, expected="finite numbers of shape (n,) or (n, N)")
    columns = values if values.ndim == 2 else np.stack([np.zeros(len(values)), values], axis=1)
    index = _class_index(labels, values)
    n_classes = columns.shape[1]
    sure = (np.bincount(index, minlength=n_classes) + 1.0) / (np.bincount(index, minlength=n_classes) + 2.0)
    rest = (1 - sure) / max(n_classes - 1, 1)
    target = rest[index, None] + (sure - rest)[index, None] * np.eye(n_classes)[index]

    def loss(parameters: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, Array]:
        inverse = np.exp(-parameters[0])
        logs = log_softmax(columns * inverse + parameters[1:], axis=1)
        slope = (np.exp(logs) - target) / len(index)
        by_temperature = -inverse * (slope * columns).sum()
        return -float((target * logs).sum(axis=1).mean()), np.array([by_temperature, *slope.sum(axis=0)])

    low, high = np.log(TEMPERATURE_RANGE)
    bounds = [(float(low), float(high)), *[(-LARGEST_BIAS, LARGEST_BIAS)] * n_classes]
    best = minimize(loss, np.zeros(1 + n_classes), jac=True, bounds=bounds, method="L-BFGS-B", tol=1e-12)
    temperature = float(np.clip(np.exp(best.x[0]), *TEMPERATURE_RANGE))
    biases = best.x[1:] - best.x[1:].mean()
    one = (float(best.x[2] - best.x[1]),)
    return temperature, one if values.ndim == 1 else tuple(map(float, biases)), float(best.fun)


def _class_index(labels: ArrayLike, logits: Array) -> NDArray[np.int64]:
    if logits.ndim == 1:
        index: NDArray[np.int64] = binary_labels(labels).astype(np.int64)
        if index.shape != logits.shape:
            raise LabelError("labels", f"found {index.size}", expected=f"{logits.size}, one a case")
        return index
    index = np.asarray(labels)
    if index.shape != logits.shape[:1] or index.dtype.kind not in "iu" or index.min() < 0:
        raise LabelError("labels", f"found shape {index.shape}, type {index.dtype}", expected="class indices")
    if index.max() >= logits.shape[1]:
        raise LabelError("labels", f"found class index {index.max()}", expected=f"below {logits.shape[1]}")
    return index


def calibration_curve(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    n_bins: int = 10,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> tuple[CalibrationBin, ...]:
    """Return the reliability curve: predicted against observed share of positives.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    probabilities : array_like, shape (n,)
        In [0, 1].
    n_bins : int
        Bins of nearly equal numbers of cases; equal probabilities share a bin, so there may be fewer.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    tuple of CalibrationBin
        By rising probability.

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].

    Examples
    --------
    >>> bins = calibration_curve([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9], n_bins=2)
    >>> [(round(b.predicted, 2), round(b.observed.value, 2), b.observed.n) for b in bins]
    [(0.2, 0.33, 3), (0.8, 0.67, 3)]
    """
    if n_bins < 1:
        raise UsageError("n_bins", f"found {n_bins}", expected="1 or more")
    positive = binary_labels(labels)
    values = finite_scores(probabilities, positive.size, where="probabilities", unit_interval=True)
    which = bins_of(values, n_bins)
    codes = None if clusters is None else cluster_codes(clusters, values.size)
    bins = []
    for index in range(int(which.max()) + 1):
        inside = which == index
        observed = share("observed", positive, inside, positive, codes=codes, level=level)
        bins.append(CalibrationBin(float(values[inside].mean()), observed))
    return tuple(bins)
