"""From predictions to the numbers of an evaluation, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from medfuse.errors import ManifestError
from medfuse.evaluation.answers import SINGLE, Answers, answers_of, main_condition
from medfuse.evaluation.calibration_figures import calibration_intercept, calibration_slope, ece
from medfuse.evaluation.calls import call_figures
from medfuse.evaluation.curves import curves_of
from medfuse.evaluation.delong import auroc, delong_test
from medfuse.evaluation.evaluation import METRICS, Evaluation
from medfuse.evaluation.metrics import auprc, brier, log_loss
from medfuse.evaluation.missing_modality import MissingPoint, missing_curve
from medfuse.evaluation.model_comparison import holm
from medfuse.evaluation.operating_points import operating_points
from medfuse.evaluation.paired import PairedCases, detectable_difference, paired_tests
from medfuse.evaluation.plan import EvaluationPlan
from medfuse.evaluation.predictions import CaseTable, case_table, check_predictions
from medfuse.evaluation.subgroups import SubgroupCases, SubgroupFactor, subgroup_factors
from medfuse.evaluation.validation import check_promises
from medfuse.types import Comparison, Estimate

__all__ = ["evaluate", "evaluate_class", "split_rows", "cases_of_test"]


def evaluate(
    predictions: pd.DataFrame,
    *,
    target: str | None = None,
    positive: str | None = None,
    baselines: Mapping[str, pd.Series] | None = None,
    columns: pd.DataFrame | None = None,
    plan: EvaluationPlan | None = None,
) -> Evaluation:
    """Return every figure of a binary target, for each condition on the same cases.

    Cases of the split ``"test"`` are evaluated; where no row names a split, all are. Rows of the split
    ``"validation"`` serve what must be settled before: thresholds, sets of classes and intervals of probabilities, for
    every condition (and fold).

    Parameters
    ----------
    predictions : DataFrame
        Long format of the contract, at least case_id, probability and label; see `check_predictions`.
    target : str, optional
        Needed where there are several.
    positive : str, optional
        Name of the positive class where rows of both classes are given.
    baselines : mapping of str to Series, optional
        Probability of the positive class, indexed by case_id. Conditions named ``baseline_<name>`` are baselines
        too, and ``"prevalence"`` is always added.
    columns : DataFrame, optional
        Columns that make subgroups, such as site or age, indexed by case_id; see `subgroup_factors`.
    plan : EvaluationPlan, optional

    Returns
    -------
    Evaluation

    Raises
    ------
    ManifestError
        If a column or row is wrong.
    LabelError
        If the cases lack a class.
    DataError
        If a patient is both in a fold's validation rows and its test rows.
    UsageError
        If a threshold, baseline or condition has a name that cannot be used.

    Examples
    --------
    >>> table = pd.DataFrame({"case_id": list("abcdef"), "probability": [0.1, 0.6, 0.3, 0.4, 0.8, 0.9],
    ...                       "label": [0, 0, 0, 1, 1, 1]})
    >>> result = evaluate(table)
    >>> result.n, result.n_positive, round(result.metrics["model"]["auroc"].value, 3)
    (6, 3, 0.889)
    """
    checked = check_predictions(predictions)
    cases = case_table(split_rows(checked, "test"), target=target, positive=positive)
    validation = split_rows(checked, "validation")
    return evaluate_class(cases, validation, baselines=baselines, columns=columns, plan=plan or EvaluationPlan())


def evaluate_class(
    cases: CaseTable,
    validation: pd.DataFrame,
    *,
    plan: EvaluationPlan,
    baselines: Mapping[str, pd.Series] | None = None,
    columns: pd.DataFrame | None = None,
) -> Evaluation:
    """Return every figure of one class against all others.

    Parameters
    ----------
    cases : CaseTable
        The test cases.
    validation : DataFrame
        Validation rows of any target and class, as `check_predictions` returns them; may be empty.
    plan : EvaluationPlan
    baselines, columns
        As of `evaluate`.

    Returns
    -------
    Evaluation

    Raises
    ------
    LabelError, DataError, UsageError
        As `evaluate`.
    """
    answers = answers_of(cases, validation, plan, baselines=baselines or {})
    cases, rows, conditions, others, cuts, codes, clusters = answers
    figures = {name: _figures(answers, name, level=plan.level) for name in (*conditions, *others)}
    points = {
        name: operating_points(cases, p, cuts[name], level=plan.level, clusters=clusters)
        for name, p in conditions.items()
    }
    comparisons, better = _comparisons(answers, figures, plan)
    tested = {name: c for name, c in comparisons.items() if name != "lift"}
    corrected = holm([c.p_value for c in tested.values()])
    pairs = {name: _pair(answers, name.removeprefix(f"{plan.reference} - "), plan) for name in tested}
    promises = {
        name: check_promises(
            cases, p, rows[rows["condition"] == name], coverage=plan.coverage, level=plan.level, clusters=clusters
        )
        for name, p in conditions.items()
        if (rows["condition"] == name).any()
    }
    kept = {name: found for name, found in promises.items() if found is not None}
    return Evaluation(
        target=cases.target,
        positive=cases.positive,
        n=cases.labels.size,
        n_positive=int(cases.labels.sum()),
        n_patients=int(codes.max()) + 1,
        level=plan.level,
        metrics={name: figures[name] for name in conditions},
        baselines={name: figures[name] for name in others},
        comparisons=comparisons,
        better_single=better,
        thresholds={name: found[0].words for name, found in points.items()},
        curves={name: curves_of(answers, name, level=plan.level) for name in (*conditions, *others)},
        notes=(*cases.notes, *_fold_notes(cases)),
        operating_points=points,
        paired={name: paired_tests(pair, plan) for name, pair in pairs.items()},
        p_holm=dict(zip(tested, corrected, strict=True)),
        detectable={name: _detectable(pair, plan) for name, pair in pairs.items()},
        missing=_missing(answers, plan),
        sets={name: found[0] for name, found in kept.items()},
        intervals={name: found[1] for name, found in kept.items()},
        subgroups=_subgroups(answers, columns, level=plan.level),
        left_out=cases.left_out,
        n_folds=len(pd.unique(cases.folds)),
        is_second=cases.is_second,
    )


def cases_of_test(table: pd.DataFrame, *, target: str | None = None, positive: str | None = None) -> CaseTable:
    """Return the test cases of one target.

    Parameters
    ----------
    table : DataFrame
        Predictions in the long format of the contract.
    target, positive : str, optional
        As of `evaluate`.

    Returns
    -------
    CaseTable

    Raises
    ------
    ManifestError, LabelError
        As of `check_predictions` and `case_table`.
    """
    return case_table(split_rows(check_predictions(table), "test"), target=target, positive=positive)


def split_rows(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of a split; of a table that names none, all are test rows.

    Parameters
    ----------
    table : DataFrame
        As `check_predictions` returns it.
    name : {"test", "validation"}

    Returns
    -------
    DataFrame

    Raises
    ------
    ManifestError
        If splits are named and none is the test split.
    """
    splits = set(table["split"].unique())
    if splits == {""}:
        return table if name == "test" else table.iloc[:0]
    if name == "test" and name not in splits:
        raise ManifestError(
            "predictions split", f"found {len(splits)} splits, none 'test'", expected="rows of split 'test'"
        )
    return table[table["split"] == name]


def _figures(answers: Answers, name: str, *, level: float) -> dict[str, Estimate]:
    labels, clusters = answers.cases.labels, answers.clusters
    p = answers.answer(name)
    found = call_figures(labels, answers.calls(name), level=level, clusters=clusters)
    for figure in (auroc, auprc, brier, log_loss, calibration_intercept, calibration_slope, ece):
        one = figure(labels, p, level=level, clusters=clusters)
        found[one.name] = one
    return {metric: found[metric] for metric in METRICS}


def _comparisons(
    answers: Answers, figures: Mapping[str, Mapping[str, Estimate]], plan: EvaluationPlan
) -> tuple[dict[str, Comparison], str]:
    """Compare the reference with each other condition and baseline; the lift is over the better single modality."""
    if plan.reference not in answers.conditions:
        return {}, ""
    rivals = [n for n in (*answers.conditions, *answers.others) if n not in (plan.reference, "prevalence")]
    found = {}
    for name in rivals:
        pair = _pair(answers, name, plan)
        found[f"{plan.reference} - {name}"] = delong_test(
            pair.positive, pair.first, pair.second, level=plan.level, clusters=pair.codes
        )
    single = [name for name in SINGLE if name in answers.conditions]
    if plan.reference != "fused" or not single:
        return found, ""
    better = max(single, key=lambda name: figures[name]["auroc"].value)
    return {"lift": found[f"fused - {better}"], **found}, better


def _pair(answers: Answers, rival: str, plan: EvaluationPlan) -> PairedCases:
    return PairedCases(
        answers.cases.labels,
        answers.conditions[plan.reference],
        answers.answer(rival),
        answers.calls(plan.reference),
        answers.calls(rival),
        answers.clusters,
    )


def _detectable(pair: PairedCases, plan: EvaluationPlan) -> float:
    return detectable_difference(
        pair.positive, pair.first, pair.second, level=plan.level, power=plan.power, clusters=pair.codes
    )


def _missing(answers: Answers, plan: EvaluationPlan) -> dict[str, tuple[MissingPoint, ...]]:
    """Follow the fused answers as more and more cases lack a modality, against the same model without it."""
    modalities = [name for name in SINGLE if name in answers.conditions]
    found = {}
    for gone in modalities:
        rest = "+".join(name for name in modalities if name != gone)
        if (
            "fused" in answers.conditions
            and rest in answers.conditions
            and answers.codes.size <= plan.largest_resampled
        ):
            fused, without = answers.conditions["fused"], answers.conditions[rest]
            curve = missing_curve(answers.cases.labels, fused, without, alone=without, clusters=answers.clusters)
            found[gone] = tuple(curve)
    return found


def _subgroups(answers: Answers, columns: pd.DataFrame | None, *, level: float) -> tuple[SubgroupFactor, ...]:
    if columns is None:
        return ()
    name = main_condition(list(answers.conditions))
    cases = SubgroupCases(answers.cases.labels, answers.conditions[name], answers.calls(name), answers.codes)
    if columns.index.has_duplicates:
        raise ManifestError("subgroup columns", "found a case twice", expected="one row a case_id")
    own = columns.rename(index=str).reindex(answers.cases.probabilities.index)
    return subgroup_factors(cases, own, condition=name, level=level)


def _fold_notes(cases: CaseTable) -> tuple[str, ...]:
    """Say what a reader must know of the folds."""
    n_folds = len(pd.unique(cases.folds))
    if n_folds < 2:
        return ()
    return (
        f"Predictions of {n_folds} folds are pooled. The intervals do not hold the change from one training "
        "run to the next.",
    )
