"""Where a case is called positive: thresholds that no test case has touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medfuse.evaluation.predictions import CaseTable, label_values
from medfuse.evaluation.thresholds import choose_threshold
from medfuse.splits import check_no_patient_leaks
from medfuse.types import Array

__all__ = ["thresholds_of"]


def thresholds_of(
    cases: CaseTable,
    conditions: Sequence[str],
    validation: pd.DataFrame,
    *,
    given: Mapping[str, float] | None = None,
) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the threshold of each test case by condition, and how it was chosen in words.

    Parameters
    ----------
    cases : CaseTable
        The test cases.
    conditions : sequence of str
    validation : DataFrame
        Validation rows, as `check_predictions` returns them; their ``fold`` names the model that predicted
        them, as that of the test rows does. May be empty.
    given : mapping of str to float, optional
        By condition; wins over the validation rows.

    Returns
    -------
    dict of str to ndarray of shape (n,), dict of str to str

    Raises
    ------
    DataError
        If a patient is both in a fold's validation rows and its test rows.
    LabelError
        If the validation rows of a fold lack a class.
    """
    own = (validation["target"] == cases.target) & (validation["class"] == cases.positive)
    validation = validation[own & validation["label"].notna()]
    cuts: dict[str, Array] = {}
    words: dict[str, str] = {}
    for name in conditions:
        rows = validation[validation["condition"] == name]
        if given is not None and name in given:
            cuts[name] = np.full(cases.labels.size, float(given[name]))
            words[name] = f"{given[name]:.3f}, given"
        elif rows.empty:
            cuts[name] = np.full(cases.labels.size, 0.5)
            words[name] = "0.5, fixed in advance"
        else:
            cuts[name], words[name] = _by_fold(rows, cases)
    return cuts, words


def _by_fold(rows: pd.DataFrame, cases: CaseTable) -> tuple[Array, str]:
    """Youden's threshold on the validation rows of each case's own fold; of all where folds do not match."""
    by_fold = set(cases.folds) <= set(rows["fold"])
    cut = np.empty(cases.labels.size)
    for fold in np.unique(cases.folds):
        own = rows[rows["fold"] == fold] if by_fold else rows
        check_no_patient_leaks({"validation": own["patient_key"], "test": cases.patients[cases.folds == fold]})
        labels = label_values(own["label"].tolist(), cases.positive)
        cut[cases.folds == fold] = choose_threshold(labels, own["probability"].to_numpy())
    low, high = float(cut.min()), float(cut.max())
    shown = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}, one a fold"
    return cut, f"{shown}; largest Youden index on the validation cases"
