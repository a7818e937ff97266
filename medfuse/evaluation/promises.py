"""Whether sets of classes and intervals kept on new cases what they promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.errors import DataError
from medfuse.evaluation.inputs import binary_labels, check_level, class_indices, cluster_codes, finite_scores
from medfuse.evaluation.proportions import share
from medfuse.types import Estimate

__all__ = ["IntervalFigures", "SetFigures", "interval_figures", "set_figures"]


@dataclass(frozen=True, slots=True)
class SetFigures:
    """How sets of classes did on new cases.

    Parameters
    ----------
    promised : float
        Share of cases whose set was to hold the true class.
    by_class : bool
        Whether it was promised within each class.
    coverage : Estimate
        Share of cases whose set does.
    class_coverage : mapping of str to Estimate
        The same of each class's cases, NaN of a class without any.
    mean_size : float
        Classes in a set, on average.
    share_single, share_empty, share_all : float
        Share of cases whose set holds one class, none, every class.
    n_calibration : int
        Validation cases, or patients, behind the promise.
    """

    promised: float
    by_class: bool
    coverage: Estimate
    class_coverage: Mapping[str, Estimate]
    mean_size: float
    share_single: float
    share_empty: float
    share_all: float
    n_calibration: int


@dataclass(frozen=True, slots=True)
class IntervalFigures:
    """How the intervals of single probabilities did on new cases.

    Parameters
    ----------
    kind : str
        ``"Venn-Abers"``.
    mean_low, mean_high : float
        Mean ends: the share of positive cases should lie between them.
    median_width : float
    observed : Estimate
        Share of positive cases.
    n_calibration : int
        Validation cases that the intervals were fitted on.
    """

    kind: str
    mean_low: float
    mean_high: float
    median_width: float
    observed: Estimate
    n_calibration: int


def set_figures(
    labels: ArrayLike,
    sets: NDArray[np.bool_],
    *,
    classes: Sequence[str],
    promised: tuple[float, bool, int],
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> SetFigures:
    """Return how sets of classes did on new cases.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Class indices.
    sets : ndarray of bool, shape (n, classes)
        See `conformal_sets`.
    classes : sequence of str
    promised : tuple of float, bool and int
        Coverage, whether by class, and the number of validation cases behind it.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    SetFigures

    Raises
    ------
    DataError
        If there is not one set a case.

    Examples
    --------
    >>> sets = np.array([[True, False], [True, True], [True, False]])
    >>> found = set_figures([0, 1, 1], sets, classes=["no", "yes"], promised=(0.9, False, 50))
    >>> round(found.coverage.value, 3), found.class_coverage["yes"].value, round(found.share_single, 3)
    (0.667, 0.5, 0.667)
    """
    index = class_indices(labels, n_classes=len(classes))
    if sets.shape != (index.size, len(classes)):
        raise DataError("sets", f"found shape {sets.shape}", expected=f"({index.size}, {len(classes)})")
    codes = None if clusters is None else cluster_codes(clusters, index.size)
    check_level(level)
    held = sets[np.arange(index.size), index]
    among = {name: index == k for k, name in enumerate(classes)}
    coverage = share("coverage", held, np.ones_like(held), held, codes=codes, level=level)
    by_class = {name: share("coverage", held, a, held, codes=codes, level=level) for name, a in among.items()}
    sizes = sets.sum(axis=1)
    wanted, is_by_class, n_calibration = promised
    return SetFigures(
        promised=wanted,
        by_class=is_by_class,
        coverage=coverage,
        class_coverage=by_class,
        mean_size=float(sizes.mean()),
        share_single=float((sizes == 1).mean()),
        share_empty=float((sizes == 0).mean()),
        share_all=float((sizes == len(classes)).mean()),
        n_calibration=n_calibration,
    )


def interval_figures(
    labels: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    n_calibration: int,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> IntervalFigures:
    """Return how Venn-Abers intervals did on new cases.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    low, high : array_like, shape (n,)
        See `venn_abers_interval`.
    n_calibration : int
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    IntervalFigures

    Raises
    ------
    DataError
        If an end is not finite.

    Examples
    --------
    >>> found = interval_figures([0, 1], [0.25, 0.5], [0.5, 1.0], n_calibration=40)
    >>> found.mean_low, found.mean_high, found.observed.value
    (0.375, 0.75, 0.5)
    """
    positive = binary_labels(labels)
    codes = None if clusters is None else cluster_codes(clusters, positive.size)
    below, above = (finite_scores(end, positive.size, where="interval") for end in (low, high))
    observed = share("observed", positive, np.ones_like(positive), positive, codes=codes, level=check_level(level))
    width = float(np.median(above - below))
    return IntervalFigures("Venn-Abers", float(below.mean()), float(above.mean()), width, observed, n_calibration)
