"""What a score still tells once a number that everyone knows, such as a lesion's size, is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from medfuse.errors import UsageError

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
    UsageError
        If the lengths differ or there are fewer than 2 folds.

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
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    wanted, parts = np.asarray(labels), np.asarray(folds)
    p = np.clip(np.asarray(probability, dtype=np.float64), _SMALLEST, 1 - _SMALLEST)
    columns = np.column_stack([logit(p), np.asarray(known, dtype=np.float64)])
    if not len(wanted) == len(columns) == len(parts) or len(np.unique(parts)) < 2:
        found = f"found {len(wanted)} labels, {len(columns)} answers, {len(np.unique(parts))} folds"
        raise UsageError("adjust", found, expected="equal lengths and 2 or more folds")
    adjusted = np.empty(len(wanted))
    for fold in np.unique(parts):
        held = parts == fold
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(columns[~held], wanted[~held])
        adjusted[held] = model.predict_proba(columns[held])[:, 1]
    return adjusted
