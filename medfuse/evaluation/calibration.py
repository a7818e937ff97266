"""Probabilities that mean what they say: temperature, threshold, reliability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, logsumexp

from medfuse.errors import DataError, LabelError, UsageError
from medfuse.evaluation.inputs import binary_labels, finite_scores, two_class_labels
from medfuse.evaluation.metrics import wilson_interval
from medfuse.types import Estimate

__all__ = ["TEMPERATURE_RANGE", "CalibrationBin", "calibration_curve", "choose_threshold", "fit_temperature"]

TEMPERATURE_RANGE = (0.05, 20.0)
"""Bounds of a fitted temperature; validation cases that are all called right would drive it to 0."""


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


def fit_temperature(labels: ArrayLike, logits: ArrayLike) -> float:
    """Return the temperature that logits are divided by so that their probabilities fit the labels.

    Fit it on validation cases only; it changes no ranking and so no AUROC.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1 for binary logits, else the class index.
    logits : array_like, shape (n,) or (n, N)
        Binary logits, or one a class.

    Returns
    -------
    float
        Within ``TEMPERATURE_RANGE``; above 1 where the model was too sure.

    Raises
    ------
    LabelError
        If labels do not fit the logits.
    DataError
        If a logit is not finite.

    Notes
    -----
    Source: Guo, Pleiss, Sun and Weinberger 2017, section 4.2 (minimum of the negative log likelihood).

    Examples
    --------
    >>> round(fit_temperature([0, 1, 1, 0], [-4.0, 4.0, -4.0, 4.0]), 1)
    20.0
    >>> round(fit_temperature([0, 1, 1, 0], [-4.0, 4.0, 4.0, -4.0]), 2)
    0.05
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim not in (1, 2) or values.size == 0 or not np.all(np.isfinite(values)):
        found = f"found an array of shape {values.shape}, or values that are not finite"
        raise DataError("logits", found, expected="finite numbers of shape (n,) or (n, N)")
    if values.ndim == 1:
        positive = binary_labels(labels)
        if positive.shape != values.shape:
            raise LabelError("labels", f"found {positive.size}", expected=f"{values.size}, one a case")
        signed = np.where(positive, values, -values)

        def loss(log_temperature: float) -> float:
            return -float(log_expit(signed / np.exp(log_temperature)).mean())
    else:
        index = np.asarray(labels)
        if index.shape != values.shape[:1] or index.dtype.kind not in "iu" or index.min() < 0:
            raise LabelError("labels", f"found shape {index.shape}, type {index.dtype}", expected="class indices")
        if index.max() >= values.shape[1]:
            raise LabelError("labels", f"found class index {index.max()}", expected=f"below {values.shape[1]}")

        def loss(log_temperature: float) -> float:
            scaled = values / np.exp(log_temperature)
            return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(index)), index]).mean())

    bounds = (float(np.log(TEMPERATURE_RANGE[0])), float(np.log(TEMPERATURE_RANGE[1])))
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.clip(np.exp(best.x), *TEMPERATURE_RANGE))


def choose_threshold(
    labels: ArrayLike, probabilities: ArrayLike, *, criterion: Literal["youden", "f1"] = "youden"
) -> float:
    """Return the threshold that is best on these cases; choose it on validation cases only.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    probabilities : array_like, shape (n,)
        In [0, 1].
    criterion : {"youden", "f1"}
        What is made largest: sensitivity + specificity - 1, or F1.

    Returns
    -------
    float
        In [0, 1]; a case is called positive at or above it. Cuts lie midway between neighbouring
        probabilities, so that a case barely moved keeps its call; of equal cuts the one nearest 0.5 is taken.

    Raises
    ------
    LabelError
        If a class is absent.

    Examples
    --------
    >>> choose_threshold([0, 0, 1, 1], [0.125, 0.25, 0.75, 0.875])
    0.5
    """
    if criterion not in ("youden", "f1"):
        raise UsageError("criterion", f"found {criterion!r}", expected="'youden' or 'f1'")
    positive = two_class_labels(labels)
    values = finite_scores(probabilities, positive.size, where="probabilities", unit_interval=True)
    distinct, which = np.unique(values, return_inverse=True)
    hits = np.bincount(which, weights=positive)[::-1].cumsum()[::-1]  # positives at or above each value
    calls = np.bincount(which)[::-1].cumsum()[::-1]
    n_positive = positive.sum()
    if criterion == "youden":
        gain = hits / n_positive - (calls - hits) / (positive.size - n_positive)
    else:
        gain = 2 * hits / (calls + n_positive)
    cuts = np.concatenate([[distinct[0]], (distinct[1:] + distinct[:-1]) / 2])
    best = cuts[np.isclose(gain, gain.max(), rtol=0, atol=1e-12)]
    return float(best[np.argmin(np.abs(best - 0.5))])


def calibration_curve(
    labels: ArrayLike, probabilities: ArrayLike, *, n_bins: int = 10, level: float = 0.95
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
    last = np.arange(1, n_bins) * values.size // n_bins - 1  # rank of the last case of each bin
    edges = np.unique(np.sort(values)[last[last >= 0]])
    which = np.searchsorted(edges, values, side="left")
    bins = []
    for index in np.unique(which):
        inside = which == index
        n, n_positive = int(inside.sum()), int(positive[inside].sum())
        share = n_positive / n
        low, high = wilson_interval(share, n, level=level)
        observed = Estimate("observed", share, low, high, n, n_positive, f"Wilson {100 * level:g}%")
        bins.append(CalibrationBin(float(values[inside].mean()), observed))
    return tuple(bins)
