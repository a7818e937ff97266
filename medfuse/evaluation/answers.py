"""What every figure of one set of cases rests on: the cases, each condition's answers, and where they are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.errors import LabelError, UsageError
from medfuse.evaluation.baselines import prevalence_baseline
from medfuse.evaluation.evaluation import Evaluation
from medfuse.evaluation.labels import is_positive
from medfuse.evaluation.operating_points import cuts_of
from medfuse.evaluation.plan import EvaluationPlan, OperatingRule
from medfuse.evaluation.predictions import CaseTable
from medfuse.types import Array

__all__ = ["SINGLE", "Answers", "answers_of", "main_condition"]

SINGLE = ("image", "text", "table")
_BASELINE = "baseline_"
_RESERVED = frozenset({"lift", *(name for name in Evaluation.__slots__ if name not in ("metrics", "baselines"))})
Codes = NDArray[np.intp]


class Answers(NamedTuple):
    """What every figure of one set of cases rests on.

    Parameters
    ----------
    cases : CaseTable
    validation : DataFrame
        Labelled validation rows of the cases' class, with a column ``positive``.
    conditions, others : dict of str to ndarray of shape (n,)
        Probabilities by condition, and by baseline.
    cuts : dict of str to dict of OperatingRule to ndarray of shape (n,)
        Thresholds by condition; the first is the locked one.
    codes : ndarray of int, shape (n,)
        The patient of each case, 0, 1, ...
    clusters : ndarray of int, shape (n,), or None
        The same where patients repeat.
    """

    cases: CaseTable
    validation: pd.DataFrame
    conditions: dict[str, Array]
    others: dict[str, Array]
    cuts: dict[str, dict[OperatingRule, Array]]
    codes: Codes
    clusters: Codes | None

    def answer(self, name: str) -> Array:
        """Return the probabilities of a condition or baseline."""
        return self.conditions[name] if name in self.conditions else self.others[name]

    def cut(self, name: str) -> Array | float:
        """Return the locked threshold of each case; of a baseline a half."""
        return next(iter(self.cuts[name].values())) if name in self.cuts else 0.5

    def calls(self, name: str) -> NDArray[np.bool_]:
        """Return what is called positive at the locked threshold."""
        return np.asarray(self.answer(name) >= self.cut(name))


def answers_of(
    cases: CaseTable, validation: pd.DataFrame, plan: EvaluationPlan, *, baselines: Mapping[str, pd.Series]
) -> Answers:
    """Return the answers on the cases that every baseline knows, with their thresholds.

    Parameters
    ----------
    cases : CaseTable
        The test cases.
    validation : DataFrame
        Validation rows of any target and class; may be empty.
    plan : EvaluationPlan
    baselines : mapping of str to Series
        Probability of the positive class, indexed by case_id.

    Returns
    -------
    Answers

    Raises
    ------
    UsageError
        If a threshold, baseline or condition has a name that cannot be used.
    LabelError
        If no case is left, or the validation rows of a fold lack a class.
    DataError
        If a patient is both in a fold's validation rows and its test rows.
    """
    cases, conditions, others = _with_baselines(cases, baselines, given=plan.thresholds)
    rows = _validation_rows(cases, validation)
    codes = pd.factorize(cases.patients)[0].astype(np.intp)
    clusters = codes if int(codes.max()) + 1 < codes.size else None
    cuts = {name: cuts_of(cases, name, rows, plan) for name in conditions}
    return Answers(cases, rows, conditions, others, cuts, codes, clusters)


def main_condition(conditions: Sequence[str]) -> str:
    """Return the condition that an evaluation is about: fused if there, else the first.

    Examples
    --------
    >>> main_condition(["image", "text", "fused"]), main_condition(["model"])
    ('fused', 'model')
    """
    return "fused" if "fused" in conditions else conditions[0]


def _with_baselines(
    cases: CaseTable, given_baselines: Mapping[str, pd.Series], *, given: Mapping[str, float]
) -> tuple[CaseTable, dict[str, Array], dict[str, Array]]:
    """Keep the cases that every baseline knows; return answers by condition and by baseline."""
    table = cases.probabilities
    names = [str(name) for name in table.columns]
    rivals = {name.removeprefix(_BASELINE): table[name] for name in names if name.startswith(_BASELINE)}
    conditions = sorted((n for n in names if not n.startswith(_BASELINE)), key=lambda name: (_place(name), name))
    rivals |= given_baselines
    _check_names(conditions, given, rivals)
    found = {name: series.rename(index=str).reindex(table.index) for name, series in rivals.items()}
    known = np.ones(len(table), dtype=bool)
    for series in found.values():
        known &= series.notna().to_numpy()
    if not known.any():
        raise LabelError("baselines", "found no case that every baseline knows", expected="the same case_id")
    if not known.all():
        cases = cases.keep(known, why="unknown_to_baseline")
    answers = {name: cases.probabilities[name].to_numpy(dtype=np.float64) for name in conditions}
    others = {name: series.to_numpy(dtype=np.float64)[known] for name, series in found.items()}
    return cases, answers, others | {"prevalence": prevalence_baseline(cases.labels)}


def _check_names(conditions: list[str], thresholds: Mapping[str, float], baselines: Mapping[str, pd.Series]) -> None:
    for name in (*conditions, *baselines):
        if name in _RESERVED:
            raise UsageError(
                "condition or baseline", f"found the name {name!r}", expected="one not used by metrics.json"
            )
    if clash := set(conditions) & set(baselines):
        raise UsageError("baselines", f"found {sorted(clash)} among the conditions too", expected="another name")
    if unknown := set(thresholds) - set(conditions):
        raise UsageError("thresholds", f"found {sorted(unknown)}", expected=f"among the conditions {conditions}")


def _validation_rows(cases: CaseTable, validation: pd.DataFrame) -> pd.DataFrame:
    """Labelled validation rows of the cases' class, with a column that says which are positive."""
    rows = validation[validation["target"] == cases.target]
    rows = rows.assign(positive=is_positive(rows, cases.positive)) if len(rows) else rows.assign(positive=False)
    return rows[(rows["class"] == cases.positive) & rows["label"].notna()]


def _place(condition: str) -> int:
    """Order in which a reader expects conditions: single modalities, fused, then controls."""
    order = (*SINGLE, "fused")
    return order.index(condition) if condition in order else len(order)
