"""What validation rows promise of test rows: matched by fold, so that each model answers for its own cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.errors import LabelError
from medfuse.evaluation.conformal import conformal_sets, fit_conformal
from medfuse.evaluation.predictions import CaseTable
from medfuse.evaluation.promises import IntervalFigures, SetFigures, interval_figures, set_figures
from medfuse.evaluation.venn_abers_intervals import fit_venn_abers, venn_abers_interval
from medfuse.splits import check_no_patient_leaks
from medfuse.types import Array

__all__ = ["check_promises", "rows_by_fold"]


def rows_by_fold(cases: CaseTable, validation: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, NDArray[np.bool_]]]:
    """Return the validation rows of each fold's model, and which test cases that model answered.

    Parameters
    ----------
    cases : CaseTable
        The test cases.
    validation : DataFrame
        Validation rows of one condition. All serve every fold where the folds of both do not match.

    Returns
    -------
    dict of str to (DataFrame, ndarray of bool of shape (n,))

    Raises
    ------
    DataError
        If a patient is both in a fold's validation rows and its test rows.
    """
    folds = sorted(pd.unique(cases.folds).tolist())
    by_fold = set(folds) <= set(validation["fold"])
    found = {}
    for fold in folds:
        own, inside = validation[validation["fold"] == fold] if by_fold else validation, cases.folds == fold
        check_no_patient_leaks({"validation": own["patient_key"], "test": cases.patients[inside]})
        found[str(fold)] = (own, inside)
    return found


def check_promises(
    cases: CaseTable,
    probabilities: Array,
    validation: pd.DataFrame,
    *,
    coverage: float,
    level: float,
    clusters: NDArray[np.intp] | None = None,
) -> tuple[SetFigures, IntervalFigures] | None:
    """Fit sets and intervals of a binary target on validation cases, and say how they did on the test cases.

    Parameters
    ----------
    cases : CaseTable
    probabilities : ndarray, shape (n,)
        Of the positive class, on the test cases.
    validation : DataFrame
        Validation rows of one condition, with a column ``positive``.
    coverage : float
        Promised within each class.
    level : float
    clusters : ndarray of int, shape (n,), optional
        The patient of each test case, where patients repeat.

    Returns
    -------
    tuple of SetFigures and IntervalFigures, or None
        None where a fold's validation rows lack a class.

    Raises
    ------
    DataError
        If a patient is both in a fold's validation rows and its test rows.
    """
    n = cases.labels.size
    sets, ends, sizes = np.zeros((n, 2), dtype=bool), np.zeros((2, n)), []
    for own, inside in rows_by_fold(cases, validation).values():
        labels, p = own["positive"].to_numpy(dtype=bool), own["probability"].to_numpy(dtype=np.float64)
        patients = own["patient_key"].to_numpy(dtype=str)
        try:
            intervals = fit_venn_abers(labels, p)
        except LabelError:
            return None
        rule = fit_conformal(labels, np.stack([1 - p, p], axis=1), coverage=coverage, by_class=True, clusters=patients)
        new = probabilities[inside]
        sets[inside] = conformal_sets(np.stack([1 - new, new], axis=1), rule)
        ends[:, inside] = venn_abers_interval(new, intervals)
        sizes.append(len(own))
    names = ("not " + cases.positive if cases.positive else "negative", cases.positive or "positive")
    held = set_figures(
        cases.labels, sets, classes=names, promised=(coverage, True, min(sizes)), level=level, clusters=clusters
    )
    known = interval_figures(cases.labels, *ends, n_calibration=min(sizes), level=level, clusters=clusters)
    return held, known
