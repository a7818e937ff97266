"""Targets of any kind: each class against the rest by the same nouns, and what all classes together show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.errors import LabelError, ManifestError
from medfuse.evaluation.answers import SINGLE
from medfuse.evaluation.class_figures import class_figures, confusion_matrix, macro_area
from medfuse.evaluation.conformal import conformal_sets, fit_conformal
from medfuse.evaluation.evaluating import evaluate_class, split_rows
from medfuse.evaluation.evaluation import Evaluation, TargetEvaluation
from medfuse.evaluation.influence import compare, estimate
from medfuse.evaluation.labels import is_positive
from medfuse.evaluation.plan import EvaluationPlan
from medfuse.evaluation.predictions import CaseTable, case_table, check_predictions
from medfuse.evaluation.promises import SetFigures, set_figures
from medfuse.evaluation.validation import rows_by_fold
from medfuse.types import Array, Comparison, Estimate, Target

__all__ = ["evaluate_targets", "kind_of"]

_CASE = ["fold", "split", "case_id"]
TOO_RARE = "The validation cases lack a class, so that no threshold was chosen on them."
SUM = 0.01
"""How far the probabilities of exclusive classes may sum from 1."""


class Joined(NamedTuple):
    """The cases of all classes in one order."""

    ids: pd.Index[str]
    patients: NDArray[np.str_]
    folds: NDArray[np.str_]
    codes: NDArray[np.intp]
    conditions: tuple[str, ...]


def evaluate_targets(
    predictions: pd.DataFrame,
    *,
    targets: Sequence[Target] = (),
    columns: pd.DataFrame | None = None,
    plan: EvaluationPlan | None = None,
) -> dict[str, TargetEvaluation]:
    """Return every figure of every target of a table.

    Parameters
    ----------
    predictions : DataFrame
        Long format of the contract, a row a case, condition, target and class; see `check_predictions`. A blank label
        is unknown: the case is left out of that class alone.
    targets : sequence of Target, optional
        What is known of the targets: their kinds, and the order of classes that rise. Of one that is not given,
        `kind_of` tells the kind.
    columns : DataFrame, optional
        Columns that make subgroups, such as site or age, indexed by case_id.
    plan : EvaluationPlan, optional
        Of several classes no test is made by resampling.

    Returns
    -------
    dict of str to TargetEvaluation
        By target, in the order of the table.

    Raises
    ------
    ManifestError
        If a column or row is wrong, or a class is missing of a case.
    DataError
        If a patient is both in a fold's validation rows and its test rows.
    UsageError
        If a condition has a name that cannot be used.

    Examples
    --------
    >>> rows = [(c, k, p, int(k == t)) for c, t, ps in [("a", "x", (0.6, 0.2, 0.2)), ("b", "y", (0.3, 0.6, 0.1)),
    ...         ("c", "z", (0.1, 0.1, 0.8)), ("d", "x", (0.4, 0.5, 0.1))] for k, p in zip("xyz", ps)]
    >>> table = pd.DataFrame(rows, columns=["case_id", "class", "probability", "label"])
    >>> found = evaluate_targets(table)[""]
    >>> found.kind, found.overall["model"]["accuracy"].value, found.confusion["model"].tolist()
    ('multiclass', 0.75, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    """
    checked = check_predictions(predictions)
    test, validation = (split_rows(checked, name) for name in ("test", "validation"))
    known = {target.name: target for target in targets}
    chosen = plan or EvaluationPlan()
    return {
        str(name): _evaluate(
            test[test["target"] == name],
            validation[validation["target"] == name],
            known.get(str(name)),
            columns=columns,
            plan=chosen,
        )
        for name in test["target"].unique()
    }


def kind_of(rows: pd.DataFrame) -> str:
    """Tell the kind of a target by its rows.

    Parameters
    ----------
    rows : DataFrame
        Of one target, as `check_predictions` returns them.

    Returns
    -------
    {"binary", "multiclass", "multilabel"}
        Binary of one class, or of two whose probabilities sum to 1; of more classes that do, multiclass; else
        multilabel.

    Examples
    --------
    >>> rows = [("a", "effusion", 0.9, 1), ("a", "nodule", 0.8, 0)]
    >>> kind_of(check_predictions(pd.DataFrame(rows, columns=["case_id", "class", "probability", "label"])))
    'multilabel'
    """
    n_classes = rows["class"].nunique()
    if n_classes == 1:
        return "binary"
    sums = rows.groupby(["case_id", "condition", "fold", "split"])["probability"].agg(["sum", "size"])
    exclusive = bool(((sums["sum"] - 1).abs() <= SUM).all()) and bool((sums["size"] == n_classes).all())
    return ("binary" if n_classes == 2 else "multiclass") if exclusive else "multilabel"


def _evaluate(
    test: pd.DataFrame,
    validation: pd.DataFrame,
    known: Target | None,
    *,
    columns: pd.DataFrame | None,
    plan: EvaluationPlan,
) -> TargetEvaluation:
    kind = known.kind if known else kind_of(test)
    named = [str(name) for name in test["class"].unique()]
    classes = tuple(named) if known is None or set(known.classes) != set(named) else known.classes
    evaluated: tuple[str | None, ...] = classes
    if kind == "binary":
        evaluated = classes[-1:] if known or len(classes) == 1 else (None,)  # None: the second given, said in a note
    class_plan = plan if kind == "binary" else replace(plan, largest_resampled=0)
    by_class: dict[str, Evaluation] = {}
    tables: dict[str, CaseTable] = {}
    refused: dict[str, str] = {}
    for name in evaluated:
        try:
            table = case_table(test, positive=name)
            by_class[table.positive] = _evaluate_class(table, validation, columns=columns, plan=class_plan)
            tables[table.positive] = table
        except LabelError as error:
            refused[name or classes[-1]] = str(error)
    target = str(test["target"].iloc[0])
    if kind == "binary" or not by_class:
        only = next(iter(by_class.values()), None)
        return TargetEvaluation(
            target,
            kind,
            classes,
            plan.level,
            only.n if only else 0,
            only.n_patients if only else 0,
            by_class,
            comparisons=only.comparisons if only else {},
            better_single=only.better_single if only else "",
            refused=refused,
            notes=only.notes if only else (),
        )
    joined = _join(tables, is_exclusive=kind != "multilabel")
    overall, comparisons, better = _macro(tables, by_class, joined, plan)
    found = TargetEvaluation(
        target,
        kind,
        classes,
        plan.level,
        joined.ids.size,
        int(joined.codes.max()) + 1,
        by_class,
        overall,
        comparisons,
        better,
        refused=refused,
        notes=tuple(dict.fromkeys(note for one in by_class.values() for note in one.notes)),
    )
    return found if kind == "multilabel" else _exclusive(found, tables, joined, validation, plan)


def _evaluate_class(
    table: CaseTable, validation: pd.DataFrame, *, columns: pd.DataFrame | None, plan: EvaluationPlan
) -> Evaluation:
    """Evaluate one class; one too rare for the validation cases of every fold is called from a fixed threshold on."""
    try:
        return evaluate_class(table, validation, columns=columns, plan=plan)
    except LabelError:
        if validation.empty:
            raise
        found = evaluate_class(table, validation.iloc[:0], columns=columns, plan=plan)
        return replace(found, notes=(*found.notes, TOO_RARE))


def _join(tables: Mapping[str, CaseTable], *, is_exclusive: bool) -> Joined:
    """Bring the cases of all classes into one order: those that all know where classes exclude each other, else any."""
    indices = [table.probabilities.index for table in tables.values()]
    ids = indices[0]
    for other in indices[1:]:
        ids = ids.intersection(other) if is_exclusive else ids.union(other)
    facts = pd.concat(
        [pd.DataFrame({"p": t.patients, "f": t.folds}, index=t.probabilities.index) for t in tables.values()]
    )
    own = facts[~facts.index.duplicated()].loc[ids]
    shared = [set(table.probabilities.columns) for table in tables.values()]
    names = [str(n) for n in next(iter(tables.values())).probabilities.columns if all(n in each for each in shared)]
    patients = own["p"].to_numpy(dtype=str)
    codes = pd.factorize(patients)[0].astype(np.intp)
    return Joined(ids, patients, own["f"].to_numpy(dtype=str), codes, tuple(names))


def _macro(
    tables: Mapping[str, CaseTable], by_class: Mapping[str, Evaluation], joined: Joined, plan: EvaluationPlan
) -> tuple[dict[str, dict[str, Estimate]], dict[str, Comparison], str]:
    """Mean areas by condition, and their paired differences from fused."""
    ids = joined.ids
    labels = {
        name: pd.Series(tables[name].labels, index=tables[name].probabilities.index).reindex(ids, fill_value=False)
        for name in by_class
    }

    def parts(condition: str) -> list[tuple[NDArray[np.bool_], Array]]:
        return [
            (labels[name].to_numpy(dtype=bool), tables[name].probabilities[condition].reindex(ids).to_numpy(np.float64))
            for name in by_class
        ]

    areas = {name: {one: macro_area(one, parts(name)) for one in ("auroc", "auprc")} for name in joined.conditions}
    overall = {
        name: {one.name: estimate(one, joined.codes, n_positive=0, level=plan.level) for one in found.values()}
        for name, found in areas.items()
    }
    if "fused" not in areas:
        return overall, {}, ""
    comparisons = {
        f"fused - {name}": compare(areas["fused"]["auroc"], found["auroc"], joined.codes, level=plan.level)
        for name, found in areas.items()
        if name != "fused"
    }
    single = [name for name in SINGLE if name in areas]
    if not single:
        return overall, comparisons, ""
    better = max(single, key=lambda name: areas[name]["auroc"].value)
    return overall, {"lift": comparisons[f"fused - {better}"], **comparisons}, better


def _exclusive(
    found: TargetEvaluation,
    tables: Mapping[str, CaseTable],
    joined: Joined,
    validation: pd.DataFrame,
    plan: EvaluationPlan,
) -> TargetEvaluation:
    """Add what only classes that exclude each other have: calls of one class, their confusion, and sets."""
    if set(tables) != set(found.classes):
        return found
    truth = np.stack([_aligned(tables[name], joined, tables[name].labels) for name in found.classes], axis=1)
    if not (truth.sum(axis=1) == 1).all():
        raise ManifestError("predictions label", "found cases of no class or of several", expected="one class a case")
    index = truth.argmax(axis=1).astype(np.intp)
    overall, confusion, sets = {}, {}, {}
    for name in joined.conditions:
        columns = [_aligned(tables[one], joined, tables[one].probabilities[name].to_numpy()) for one in found.classes]
        probabilities = np.stack(columns, axis=1)
        if not (np.abs(probabilities.sum(axis=1) - 1) <= SUM).all():
            raise ManifestError("predictions probability", "found cases whose classes do not sum to 1", expected="1")
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        overall[name] = class_figures(
            index, probabilities, joined.codes, is_ordinal=found.kind == "ordinal", level=plan.level
        )
        confusion[name] = confusion_matrix(index, probabilities.argmax(axis=1).astype(np.intp), len(found.classes))
        rows = validation[(validation["condition"] == name) & validation["label"].notna()]
        if len(rows) and (held := _sets(found.classes, index, probabilities, rows, joined, plan)):
            sets[name] = held
    return replace(found, overall=overall, confusion=confusion, sets=sets)


def _sets(
    classes: tuple[str, ...],
    index: NDArray[np.intp],
    probabilities: Array,
    rows: pd.DataFrame,
    joined: Joined,
    plan: EvaluationPlan,
) -> SetFigures | None:
    """Fit sets of classes on validation rows, and say how they did on the test cases; None if no row is complete."""
    cases = CaseTable("", "", index == 0, joined.patients, joined.folds, pd.DataFrame(index=joined.ids))
    rows = rows.assign(positive=is_positive(rows, classes[-1]))
    sets, sizes = np.zeros(probabilities.shape, dtype=bool), []
    for own, inside in rows_by_fold(cases, rows).values():
        wide = own.pivot(index=_CASE, columns="class", values="probability").reindex(columns=list(classes))
        truth = own[own["positive"]].drop_duplicates(_CASE).set_index(_CASE)["class"].reindex(wide.index)
        complete = wide.notna().all(axis=1) & truth.notna()
        if not complete.any():
            return None
        table = wide[complete].to_numpy(dtype=np.float64)
        patients = own.drop_duplicates(_CASE).set_index(_CASE)["patient_key"]
        rule = fit_conformal(
            pd.Categorical(truth[complete], categories=list(classes)).codes,
            table / table.sum(axis=1, keepdims=True),
            coverage=plan.coverage,
            clusters=patients.loc[wide.index[complete]].to_numpy(dtype=str),
        )
        sets[inside] = conformal_sets(probabilities[inside], rule)
        sizes.append(len(table))
    clusters = joined.codes if int(joined.codes.max()) + 1 < index.size else None
    promised = (plan.coverage, False, min(sizes))
    return set_figures(index, sets, classes=classes, promised=promised, level=plan.level, clusters=clusters)


def _aligned(table: CaseTable, joined: Joined, values: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.asarray(pd.Series(values, index=table.probabilities.index).loc[joined.ids].to_numpy())
