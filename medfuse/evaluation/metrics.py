"""Figures of scores and probabilities beside the AUROC, each with its interval by the influence of each case."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.evaluation.influence import Influence, estimate
from medfuse.evaluation.inputs import binary_labels, check_level, cluster_codes, finite_scores, two_class_labels
from medfuse.evaluation.proportions import wilson_interval
from medfuse.types import Array, Estimate

__all__ = ["auprc", "auprc_influence", "brier", "loss_influence", "log_loss", "score_steps"]

Flags = NDArray[np.bool_]


def auprc(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None) -> Estimate:
    """Return the average precision: the area under the precision-recall steps.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    scores : array_like, shape (n,)
        Higher means more likely positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate
        An area of 1 has Wilson's interval on the positive cases, or patients.

    Raises
    ------
    LabelError
        If a class is absent.
    DataError
        If a score is not finite.

    Notes
    -----
    Source: the interval is even on the logit scale, as Boyd, Eng and Page 2013 advise; it covers better than that of a
    bootstrap's percentiles where positive cases are few.

    Examples
    --------
    >>> found = auprc([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    >>> round(found.value, 3), round(found.low, 3)
    (1.0, 0.342)
    """
    positive = two_class_labels(labels)
    codes = cluster_codes(clusters, positive.size)
    figure = auprc_influence(positive, finite_scores(scores, positive.size))
    found = estimate(figure, codes, n_positive=int(positive.sum()), level=check_level(level))
    if figure.value < 1:
        return found
    n = np.unique(codes[positive]).size
    low, high = wilson_interval(1.0, n, level=level)
    unit = "positive cases" if clusters is None else "patients with positive cases"
    return Estimate("auprc", 1.0, low, high, found.n, found.n_positive, f"Wilson on {unit} {100 * level:g}%")


def auprc_influence(positive: Flags, scores: Array) -> Influence:
    """Return the average precision with the influence of each case.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
        Both classes present.
    scores : ndarray, shape (n,)

    Returns
    -------
    Influence
        A case moves its own precision, that of every positive case it outranks, and the number of positive cases.

    Examples
    --------
    >>> figure = auprc_influence(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
    >>> round(figure.value, 3), bool(abs(figure.by_case.sum()) < 1e-12)
    (0.833, True)
    """
    order = np.argsort(-scores, kind="stable")
    falling, hit = scores[order], positive[order].astype(np.float64)
    ends = np.append(np.flatnonzero(np.diff(falling)), falling.size - 1)
    step = np.searchsorted(ends, np.arange(falling.size))  # ties share one step
    found, called = np.cumsum(hit)[ends][step], (ends + 1.0)[step]
    n_positive = hit.sum()
    area = float((hit * found / called).sum() / n_positive)
    first = np.append(0, ends[:-1] + 1)[step]
    gained = np.cumsum((hit / called)[::-1])[::-1][first]  # over positive cases at or below
    diluted = np.cumsum((hit * found / called**2)[::-1])[::-1][first]
    by_case = np.empty(falling.size)
    by_case[order] = (hit * (found / called + gained - area) - diluted) / n_positive
    return Influence("auprc", min(area, 1.0), by_case, "logit")


def brier(
    labels: ArrayLike, probabilities: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the mean squared distance of the probability to the label; 0 is best.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    probabilities : array_like, shape (n,)
        In [0, 1].
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].

    Examples
    --------
    >>> round(brier([0, 1], [0.1, 0.8]).value, 3)
    0.025
    """
    return _loss("brier", labels, probabilities, level=level, clusters=clusters)


def log_loss(
    labels: ArrayLike, probabilities: ArrayLike, *, level: float = 0.95, clusters: ArrayLike | None = None
) -> Estimate:
    """Return the mean negative log of the probability of what came true, in nats; 0 is best.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    probabilities : array_like, shape (n,)
        In [0, 1]; one that rules out what came true counts as 2.2e-16.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].

    Examples
    --------
    >>> round(log_loss([0, 1], [0.5, 0.5]).value, 3)
    0.693
    """
    return _loss("log_loss", labels, probabilities, level=level, clusters=clusters)


def loss_influence(name: str, positive: Flags, probabilities: Array) -> Influence:
    """Return the Brier score or the log loss with the influence of each case.

    Parameters
    ----------
    name : {"brier", "log_loss"}
    positive : ndarray of bool, shape (n,)
    probabilities : ndarray, shape (n,)

    Returns
    -------
    Influence

    Examples
    --------
    >>> loss_influence("brier", np.array([True, False]), np.array([0.5, 0.5])).value
    0.25
    """
    if name == "brier":
        losses = (probabilities - positive) ** 2
    else:
        tiny = np.finfo(np.float64).eps
        losses = -np.log(np.clip(np.where(positive, probabilities, 1 - probabilities), tiny, None))
    mean = float(losses.mean())
    return Influence(name, mean, (losses - mean) / losses.size, "log")


def score_steps(positive: Flags, scores: Array) -> tuple[Array, Array]:
    """Return what is at or above every distinct score, from the highest: positive cases, and all cases.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    scores : ndarray, shape (n,)

    Returns
    -------
    hits, called : ndarray, shape (distinct,)

    Examples
    --------
    >>> hits, called = score_steps(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    >>> hits.tolist(), called.tolist()
    ([1.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    ends = np.append(np.flatnonzero(np.diff(falling)), falling.size - 1)
    return np.cumsum(positive[order])[ends].astype(np.float64), ends + 1.0


def _loss(
    name: str, labels: ArrayLike, probabilities: ArrayLike, *, level: float, clusters: ArrayLike | None
) -> Estimate:
    positive = binary_labels(labels)
    values = finite_scores(probabilities, positive.size, where="probabilities", unit_interval=True)
    codes = cluster_codes(clusters, positive.size)
    figure = loss_influence(name, positive, values)
    return estimate(figure, codes, n_positive=int(positive.sum()), level=check_level(level))
