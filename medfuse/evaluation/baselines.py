"""What a model has to beat: the best constant, and a logistic regression on a few known features."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from medfuse.errors import DataError, LabelError
from medfuse.evaluation.inputs import binary_labels
from medfuse.types import Array

__all__ = ["cross_fitted_logistic", "prevalence_baseline"]


def prevalence_baseline(labels: ArrayLike) -> Array:
    """Return the best constant probability: the share of positive cases, for each case.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.

    Returns
    -------
    ndarray of float64, shape (n,)

    Examples
    --------
    >>> prevalence_baseline([0, 1, 0, 0]).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    positive = binary_labels(labels)
    return np.full(positive.size, float(positive.mean()))


def cross_fitted_logistic(features: ArrayLike, labels: ArrayLike, folds: ArrayLike) -> Array:
    """Return out-of-fold probabilities of a logistic regression on standardised features.

    Scaling and weights are fitted on the other folds only, so give folds that split by patient.

    Parameters
    ----------
    features : array_like, shape (n, F) or (n,)
        Finite numbers; categories as one-hot columns.
    labels : array_like, shape (n,)
        0 or 1.
    folds : array_like, shape (n,)
        The fold of each case; at least two folds.

    Returns
    -------
    ndarray of float64, shape (n,)
        In [0, 1].

    Raises
    ------
    DataError
        If features are not finite or shapes differ.
    LabelError
        If there is one fold only, or the cases outside a fold lack a class.

    Notes
    -----
    Source: scikit-learn's LogisticRegression with its default L2 penalty, C = 1.

    Examples
    --------
    >>> p = cross_fitted_logistic([1, 2, 8, 9, 2, 7], [0, 0, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1])
    >>> (p > 0.5).tolist()
    [False, False, True, True, False, True]
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    positive = binary_labels(labels)
    table, fold_of_case = np.asarray(features, dtype=np.float64), np.asarray(folds)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != positive.size or not np.all(np.isfinite(table)):
        found = f"found an array of shape {table.shape}, or values that are not finite"
        raise DataError("features", found, expected=f"finite numbers, {positive.size} rows")
    if fold_of_case.shape != positive.shape:
        raise DataError("folds", f"found shape {fold_of_case.shape}", expected=f"({positive.size},), one a case")
    probabilities = np.empty(positive.size)
    for fold in np.unique(fold_of_case):
        held = fold_of_case == fold
        if np.unique(positive[~held]).size < 2:
            raise LabelError("folds", "found one class only outside a fold", expected="both, and two or more folds")
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        probabilities[held] = model.fit(table[~held], positive[~held]).predict_proba(table[held])[:, 1]
    return probabilities
