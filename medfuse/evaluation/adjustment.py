"""What a score still tells once a number that everyone knows, such as a lesion's size, is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from medfuse.evaluation.baselines import cross_fitted_logistic

__all__ = ["adjust"]

_SMALLEST = 1e-6
"""Nearer to 0 or 1 a probability's logit would outweigh all others."""


def adjust(labels: ArrayLike, probability: ArrayLike, known: ArrayLike, folds: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities that join a model's answer and a known number, each case's by a fit on the other folds.

    Two models adjusted for the same number differ by what each adds to it.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    probability : array_like, shape (n,)
        The model's, in [0, 1].
    known : array_like, shape (n,)
        The number, such as the log of a diameter.
    folds : array_like, shape (n,)
        No patient in two.

    Returns
    -------
    ndarray, shape (n,)
        In (0, 1).

    Raises
    ------
    DataError, LabelError
        See `cross_fitted_logistic`.

    Notes
    -----
    Source: Pepe et al. 2013, Testing for improvement in prediction model performance, Statistics in Medicine 32
    (logistic regression on the old predictor and the new one).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> size = rng.normal(size=200)
    >>> labels = (size > 0).astype(int)
    >>> from medfuse.evaluation import auroc
    >>> auroc(labels, adjust(labels, np.full(200, 0.5), size, np.arange(200) % 2)).value
    1.0
    """
    p = np.clip(np.asarray(probability, dtype=np.float64), _SMALLEST, 1 - _SMALLEST)
    return cross_fitted_logistic(np.column_stack([logit(p), np.asarray(known, dtype=np.float64)]), labels, folds)
