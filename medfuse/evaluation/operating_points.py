"""Where a case is called positive: thresholds that no test case has touched, and what they give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.errors import LabelError
from medfuse.evaluation.calls import call_figures, confusion_of
from medfuse.evaluation.evaluation import OperatingPoint
from medfuse.evaluation.plan import EvaluationPlan, OperatingRule
from medfuse.evaluation.predictions import CaseTable
from medfuse.evaluation.thresholds import choose_threshold
from medfuse.evaluation.validation import rows_by_fold
from medfuse.types import Array

__all__ = ["cuts_of", "operating_points"]

_WORDS = {
    "youden": "largest Youden index on the validation cases",
    "f1": "largest F1 on the validation cases",
    "sensitivity": "highest with a sensitivity of {aim:g} on the validation cases",
    "specificity": "lowest with a specificity of {aim:g} on the validation cases",
    "net_benefit": "largest net benefit at odds of {aim:g} on the validation cases",
    "given": "given",
    "fixed": "fixed in advance",
}


def cuts_of(
    cases: CaseTable, condition: str, validation: pd.DataFrame, plan: EvaluationPlan
) -> dict[OperatingRule, Array]:
    """Return the threshold of each test case, rule by rule; the first rule is the locked one.

    Parameters
    ----------
    cases : CaseTable
        The test cases.
    condition : str
    validation : DataFrame
        Validation rows of the target's class, with a column ``positive``; their ``fold`` names the model that
        predicted them, as that of the test rows does. May be empty.
    plan : EvaluationPlan
        A threshold that it gives is the locked one.

    Returns
    -------
    dict of OperatingRule to ndarray of shape (n,)

    Raises
    ------
    DataError
        If a patient is both in a fold's validation rows and its test rows.
    LabelError
        If the validation rows of a fold lack a class.
    """
    n, given = cases.labels.size, plan.thresholds
    found: dict[OperatingRule, Array] = {}
    if condition in given:
        found[OperatingRule("given", float(given[condition]))] = np.full(n, float(given[condition]))
    rows = validation[validation["condition"] == condition]
    if rows.empty:
        return found or {OperatingRule("fixed", 0.5): np.full(n, 0.5)}
    parts = rows_by_fold(cases, rows)
    for fold, (own, _) in parts.items():
        if own["positive"].nunique() < 2:
            where = f"validation cases of {condition!r}" + (f" in fold {fold}" if fold else "")
            raise LabelError(where, "found one class only", expected="both, to choose a threshold on")
    for rule in plan.rules:
        cut = np.empty(n)
        for own, inside in parts.values():
            labels, probabilities = own["positive"].to_numpy(dtype=bool), own["probability"].to_numpy()
            cut[inside] = choose_threshold(labels, probabilities, criterion=rule.criterion, aim=rule.aim)
        found[rule] = cut
    return found


def operating_points(
    cases: CaseTable,
    probabilities: Array,
    cuts: Mapping[OperatingRule, Array],
    *,
    level: float,
    clusters: NDArray[np.intp] | None = None,
) -> tuple[OperatingPoint, ...]:
    """Return what each threshold gives on the test cases.

    Parameters
    ----------
    cases : CaseTable
    probabilities : ndarray, shape (n,)
    cuts : mapping of OperatingRule to ndarray of shape (n,)
    level : float
    clusters : ndarray of int, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    tuple of OperatingPoint
    """
    first_of_fold = np.sort(np.unique(pd.factorize(cases.folds)[0], return_index=True)[1])
    found = []
    for rule, cut in cuts.items():
        calls = probabilities >= cut
        figures = call_figures(cases.labels, calls, level=level, clusters=clusters)
        folds = tuple(cut[first_of_fold].tolist())
        different = folds if len(set(folds)) > 1 else folds[:1]
        said = in_words(rule, different)
        found.append(OperatingPoint(rule, different, said, figures, confusion_of(cases.labels, calls)))
    return tuple(found)


def in_words(rule: OperatingRule, thresholds: tuple[float, ...]) -> str:
    """Say a threshold and how it was chosen.

    Examples
    --------
    >>> in_words(OperatingRule("sensitivity", 0.9), (0.25, 0.5))
    '0.250 to 0.500, one a fold; highest with a sensitivity of 0.9 on the validation cases'
    >>> in_words(OperatingRule("fixed", 0.5), (0.5,))
    '0.5, fixed in advance'
    """
    how = _WORDS[rule.criterion].format(aim=rule.aim if rule.aim is not None else 0.0)
    if rule.criterion == "fixed":
        return f"{thresholds[0]:g}, {how}"
    if rule.criterion == "given":
        return f"{thresholds[0]:.3f}, {how}"
    low, high = min(thresholds), max(thresholds)
    return f"{low:.3f}; {how}" if low == high else f"{low:.3f} to {high:.3f}, one a fold; {how}"
