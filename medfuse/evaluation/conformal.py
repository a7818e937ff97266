"""Sets of classes that hold the true one as often as promised, whatever the model (split conformal prediction)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.errors import DataError, LabelError
from medfuse.evaluation.inputs import check_level, class_indices, class_probabilities, cluster_codes
from medfuse.types import Array

__all__ = ["ConformalRule", "conformal_sets", "fit_conformal"]


@dataclass(frozen=True, slots=True)
class ConformalRule:
    """Which classes a set holds: those whose probability is at least 1 less the class's cutoff.

    Parameters
    ----------
    coverage : float
        Promised share of new cases whose set holds the true class, in (0, 1).
    cutoffs : tuple of float
        One a class, in [0, 1]; at 1 every set holds the class, as too few cases allow no tighter promise.
    n : tuple of int
        Calibration cases, or patients, behind each cutoff.
    by_class : bool
        True where the promise holds within each true class, and not only over all.

    Raises
    ------
    DataError
        If a value is out of range.
    """

    coverage: float
    cutoffs: tuple[float, ...]
    n: tuple[int, ...]
    by_class: bool = False

    def __post_init__(self) -> None:
        in_range = 0 < self.coverage < 1 and all(0 <= cutoff <= 1 for cutoff in self.cutoffs)
        if not in_range or len(self.cutoffs) < 2 or len(self.n) != len(self.cutoffs):
            raise DataError("conformal rule", "found a value out of range", expected="two or more cutoffs in [0, 1]")


def fit_conformal(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    coverage: float = 0.9,
    by_class: bool = False,
    clusters: ArrayLike | None = None,
) -> ConformalRule:
    """Return the rule for sets that hold the true class of at least a promised share of new cases.

    Fit it on validation cases that trained nothing. The promise asks that new cases come from where these came from;
    it is kept on average over validation sets, not for each case.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Class indices; 0 or 1 of a binary target.
    probabilities : array_like, shape (n, classes)
        Each row sums to 1.
    coverage : float
        In (0, 1).
    by_class : bool
        Promise it to the cases of each class; a rare class then has as large a share of its cases covered.
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat: each patient counts once, and the promise is made for a case
        of a new patient.

    Returns
    -------
    ConformalRule

    Raises
    ------
    LabelError
        If labels are not class indices.
    DataError
        If rows are no probabilities.

    Notes
    -----
    Source: Sadinle, Lei and Wasserman 2019, section 3 (sets of least ambiguity; by class, section 3.2); finite-sample
    quantile as in Angelopoulos and Bates 2023, section 1; patients as in Lee, Barber and Willett 2023,
    Distribution-free inference with hierarchical data, section 3.

    Examples
    --------
    >>> p = np.linspace(0.05, 0.95, 19)
    >>> rule = fit_conformal(p > 0.5, np.stack([1 - p, p], axis=1), coverage=0.9)
    >>> [round(cutoff, 2) for cutoff in rule.cutoffs], rule.n
    ([0.45, 0.45], (19, 19))
    """
    check_level(coverage)
    table = class_probabilities(probabilities)
    index = class_indices(labels, n_classes=table.shape[1])
    if index.size != len(table):
        raise LabelError("labels", f"found {index.size}", expected=f"{len(table)}, one a case")
    codes = cluster_codes(clusters, index.size)
    distance = 1 - table[np.arange(index.size), index]
    groups = [index == k for k in range(table.shape[1])] if by_class else [np.ones(index.size, dtype=bool)]
    found = [_cutoff(distance[group], codes[group], coverage) for group in groups]
    if not by_class:
        found *= table.shape[1]
    cutoffs, counts = zip(*found, strict=True)
    return ConformalRule(float(coverage), cutoffs, counts, by_class)


def conformal_sets(probabilities: ArrayLike, rule: ConformalRule) -> NDArray[np.bool_]:
    """Return which classes each case's set holds.

    Parameters
    ----------
    probabilities : array_like, shape (n, classes)
        Calibrated as those that the rule was fitted on.
    rule : ConformalRule

    Returns
    -------
    ndarray of bool, shape (n, classes)
        All of a row where the model cannot tell; none where the case is like no class of the validation cases.

    Raises
    ------
    DataError
        If rows are no probabilities, or of other classes.

    Examples
    --------
    >>> rule = ConformalRule(0.9, (0.6, 0.6), (19, 19))
    >>> conformal_sets([[0.9, 0.1], [0.5, 0.5]], rule).tolist()
    [[True, False], [True, True]]
    """
    table = class_probabilities(probabilities)
    if table.shape[1] != len(rule.cutoffs):
        raise DataError("conformal sets", f"found {table.shape[1]} classes", expected=f"{len(rule.cutoffs)}")
    return np.asarray(1 - table <= np.asarray(rule.cutoffs))


def _cutoff(distance: Array, codes: NDArray[np.intp], coverage: float) -> tuple[float, int]:
    """Smallest distance below which the promised share of the patients' weight lies, a new patient's counted last."""
    if distance.size == 0:
        return 1.0, 0
    _, patient, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    order = np.argsort(distance, kind="stable")
    below = np.cumsum(1.0 / sizes[patient][order])
    needed = coverage * (sizes.size + 1)
    place = int(np.searchsorted(below, needed - 1e-9 * needed))
    return (1.0 if place == distance.size else float(distance[order[place]])), int(sizes.size)
