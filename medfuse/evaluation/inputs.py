"""What every figure asks of its input, checked in one place."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.errors import DataError, LabelError, UsageError
from medfuse.types import Array

__all__ = [
    "binary_labels",
    "check_level",
    "class_indices",
    "class_probabilities",
    "cluster_codes",
    "finite_scores",
    "repeated_patients",
    "two_class_labels",
]

ROW_SUM = 1e-4
"""How far a row of probabilities may sum from 1: they may come from a file of few digits."""


def binary_labels(labels: ArrayLike) -> NDArray[np.bool_]:
    """Return binary labels as booleans.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 and 1, or booleans.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    LabelError
        If there is no label, or one that is neither 0 nor 1.

    Examples
    --------
    >>> binary_labels([0, 1, 1]).tolist()
    [False, True, True]
    """
    values = np.asarray(labels)
    if values.ndim != 1 or values.size == 0:
        raise LabelError("labels", f"found an array of shape {values.shape}", expected="one label a case, at least one")
    if values.dtype == bool:
        return values
    if values.dtype.kind not in "iuf":
        raise LabelError("labels", f"found values of type {values.dtype}", expected="0 and 1 only")
    if n_wrong := int(np.count_nonzero((values != 0) & (values != 1))):
        raise LabelError(
            "labels", f"found {n_wrong} of {values.size} that are neither 0 nor 1", expected="0 and 1 only"
        )
    return np.asarray(values == 1)


def two_class_labels(labels: ArrayLike) -> NDArray[np.bool_]:
    """Return binary labels in which both classes are present.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 and 1, or booleans.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    LabelError
        If a class is absent; the message states both counts.

    Examples
    --------
    >>> two_class_labels([1, 1])
    Traceback (most recent call last):
    ...
    medfuse.errors.LabelError: labels: found 2 positive and 0 negative cases; expected at least one of each
    """
    positive = binary_labels(labels)
    n_positive = int(positive.sum())
    if n_positive in (0, positive.size):
        raise LabelError(
            "labels",
            f"found {n_positive} positive and {positive.size - n_positive} negative cases",
            expected="at least one of each",
        )
    return positive


def finite_scores(scores: ArrayLike, n: int, *, where: str = "scores", unit_interval: bool = False) -> Array:
    """Return scores as float64, one a case.

    Parameters
    ----------
    scores : array_like, shape (n,)
    n : int
        Number of cases.
    where : str
        Name used in messages.
    unit_interval : bool
        True where the scores must be probabilities.

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    DataError
        If the length differs, or a score is not finite (or outside [0, 1]).

    Examples
    --------
    >>> finite_scores([0.2, float("nan")], 2)
    Traceback (most recent call last):
    ...
    medfuse.errors.DataError: scores: found 1 of 2 that are not finite; expected finite numbers
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (n,):
        raise DataError(where, f"found an array of shape {values.shape}", expected=f"shape ({n},), one a label")
    if n_wrong := n - int(np.isfinite(values).sum()):
        raise DataError(where, f"found {n_wrong} of {n} that are not finite", expected="finite numbers")
    if unit_interval and (n_wrong := int(np.count_nonzero((values < 0) | (values > 1)))):
        raise DataError(where, f"found {n_wrong} of {n} outside [0, 1]", expected="probabilities")
    return values


def class_indices(labels: ArrayLike, *, n_classes: int) -> NDArray[np.intp]:
    """Return labels of several classes as indices.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Whole numbers from 0, or booleans.
    n_classes : int

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    LabelError
        If there is no label, or one that is no index of a class.

    Examples
    --------
    >>> class_indices([0, 2], n_classes=2)
    Traceback (most recent call last):
    ...
    medfuse.errors.LabelError: labels: found 1 of 2 that are no class index; expected whole numbers from 0 to 1
    """
    values = np.asarray(labels)
    if values.ndim != 1 or values.size == 0:
        raise LabelError("labels", f"found an array of shape {values.shape}", expected="one label a case, at least one")
    expected = f"whole numbers from 0 to {n_classes - 1}"
    if values.dtype.kind not in "biuf":
        raise LabelError("labels", f"found values of type {values.dtype}", expected=expected)
    wrong = ~np.isin(values, np.arange(n_classes))
    if wrong.any():
        raise LabelError("labels", f"found {wrong.sum()} of {values.size} that are no class index", expected=expected)
    return values.astype(np.intp)


def class_probabilities(probabilities: ArrayLike) -> Array:
    """Return probabilities as float64, a row a case and a column a class.

    Parameters
    ----------
    probabilities : array_like, shape (n, classes)

    Returns
    -------
    ndarray of float64, shape (n, classes)

    Raises
    ------
    DataError
        If there are fewer than two columns, or rows do not sum to 1.

    Examples
    --------
    >>> class_probabilities([[0.25, 0.75], [0.5, 0.25]])
    Traceback (most recent call last):
    ...
    medfuse.errors.DataError: probabilities: found 1 of 2 rows that are no probabilities; expected rows that sum to 1
    """
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not len(table):
        found = f"found an array of shape {table.shape}"
        raise DataError("probabilities", found, expected="(n, classes), two or more classes")
    right = (table >= 0).all(axis=1) & (table <= 1).all(axis=1) & (np.abs(table.sum(axis=1) - 1) <= ROW_SUM)
    if n_wrong := int(np.count_nonzero(~right)):
        found = f"found {n_wrong} of {len(table)} rows that are no probabilities"
        raise DataError("probabilities", found, expected="rows that sum to 1")
    return table


def cluster_codes(clusters: ArrayLike | None, n: int) -> NDArray[np.intp]:
    """Return clusters (patients) numbered from 0; without clusters each case is its own.

    Parameters
    ----------
    clusters : array_like, shape (n,), optional
        The patient of each case.
    n : int
        Number of cases.

    Returns
    -------
    ndarray of int, shape (n,)

    Raises
    ------
    DataError
        If there is not one cluster a case.

    Examples
    --------
    >>> cluster_codes(["b", "a", "b"], 3).tolist()
    [1, 0, 1]
    """
    if clusters is None:
        return np.arange(n, dtype=np.intp)
    names = np.asarray(clusters)
    if names.shape != (n,):
        raise DataError("clusters", f"found an array of shape {names.shape}", expected=f"shape ({n},), one a label")
    return np.unique(names, return_inverse=True)[1].astype(np.intp, copy=False)


def repeated_patients(patients: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """Return the patient of each case where patients repeat, else None: no case is then clustered.

    Examples
    --------
    >>> repeated_patients(np.array(["b", "a"])) is None
    True
    """
    return patients if np.unique(patients).size < patients.size else None


def check_level(level: float) -> float:
    """Return a confidence level, checked.

    Parameters
    ----------
    level : float
        In (0, 1), for example 0.95.

    Returns
    -------
    float

    Raises
    ------
    UsageError
        If it lies outside (0, 1).

    Examples
    --------
    >>> check_level(95)
    Traceback (most recent call last):
    ...
    medfuse.errors.UsageError: level: found 95; expected a number in (0, 1), for example 0.95
    """
    if not 0 < level < 1:
        raise UsageError("level", f"found {level}", expected="a number in (0, 1), for example 0.95")
    return float(level)
