"""From predictions to the numbers of an evaluation, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.errors import LabelError, ManifestError, UsageError
from medfuse.evaluation import calls as c
from medfuse.evaluation import metrics as m
from medfuse.evaluation.baselines import prevalence_baseline
from medfuse.evaluation.calibration import CalibrationBin, calibration_curve
from medfuse.evaluation.delong import auroc, delong_test
from medfuse.evaluation.inputs import check_level
from medfuse.evaluation.operating_points import thresholds_of
from medfuse.evaluation.predictions import CaseTable, case_table, check_predictions
from medfuse.types import Array, Comparison, Estimate

__all__ = ["METRICS", "SINGLE", "Curves", "Evaluation", "evaluate"]

METRICS = ("auroc", "auprc", "f1", "accuracy", "sensitivity", "specificity", "brier")
SINGLE = ("image", "text", "table")
_BASELINE = "baseline_"
_RESERVED = frozenset(
    {
        "lift",
        "n",
        "n_positive",
        "n_patients",
        "target",
        "level",
        "comparisons",
        "better_single",
        "thresholds",
        "notes",
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What the plots of one condition are drawn from.

    Parameters
    ----------
    false_positive_rate, true_positive_rate : ndarray, shape (points,)
        The ROC curve from (0, 0) to (1, 1).
    calibration : tuple of CalibrationBin
    """

    false_positive_rate: Array
    true_positive_rate: Array
    calibration: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The numbers of one target on one set of cases.

    Parameters
    ----------
    target : str
    positive : str
        Name of the positive class, empty if unknown.
    n, n_positive, n_patients : int
        Cases, positive cases and patients that every figure rests on.
    level : float
        Confidence level of all intervals.
    metrics : mapping of str to (mapping of str to Estimate)
        By condition (image, text, fused, ...), then by metric.
    baselines : mapping of str to (mapping of str to Estimate)
        The same for the baselines (diameter, prevalence, ...).
    comparisons : mapping of str to Comparison
        Paired differences in AUROC: ``"lift"`` is fused minus the better single modality,
        ``"fused - x"`` fused minus x.
    better_single : str
        The modality that ``lift`` is taken against, empty if there is none.
    thresholds : mapping of str to str
        By condition, the threshold and how it was chosen, in words.
    curves : mapping of str to Curves
    notes : tuple of str
        What a reader must know: cases left out, how choices were made.
    """

    target: str
    positive: str
    n: int
    n_positive: int
    n_patients: int
    level: float
    metrics: Mapping[str, Mapping[str, Estimate]]
    baselines: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    better_single: str = ""
    thresholds: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Curves] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the figures as plain dicts, in the shape of the contract's results of record.

        Returns
        -------
        dict
            By condition and baseline: metric to {"value", "low", "high", "n", "n_positive", "method"};
            ``"lift"`` and ``"comparisons"``: {"value", "low", "high", "p_value", "n", "method"}; counts,
            thresholds, notes.
        """
        result: dict[str, object] = {
            name: {metric: _estimate_json(e) for metric, e in figures.items()}
            for name, figures in {**self.metrics, **self.baselines}.items()
        }
        if "lift" in self.comparisons:
            result["lift"] = _comparison_json(self.comparisons["lift"])
        result["comparisons"] = {k: _comparison_json(c) for k, c in self.comparisons.items() if k != "lift"}
        return result | {
            "better_single": self.better_single,
            "target": self.target,
            "n": self.n,
            "n_positive": self.n_positive,
            "n_patients": self.n_patients,
            "level": self.level,
            "thresholds": dict(self.thresholds),
            "notes": list(self.notes),
        }


def evaluate(
    predictions: pd.DataFrame,
    *,
    target: str | None = None,
    positive: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    baselines: Mapping[str, pd.Series] | None = None,
    level: float = 0.95,
) -> Evaluation:
    """Return every figure of a binary target, for each condition on the same cases.

    Cases of the split ``"test"`` are evaluated; where no row names a split, all are. Rows of the split
    ``"validation"`` serve one purpose: a threshold a condition (and fold) by Youden's index.

    Parameters
    ----------
    predictions : DataFrame
        Long format of the contract, at least case_id, probability and label; see `check_predictions`.
    target : str, optional
        Needed where there are several.
    positive : str, optional
        Name of the positive class where rows of both classes are given.
    thresholds : mapping of str to float, optional
        By condition, chosen elsewhere on validation cases. Without it and without validation rows: 0.5.
    baselines : mapping of str to Series, optional
        Probability of the positive class, indexed by case_id. Conditions named ``baseline_<name>`` are baselines
        too, and ``"prevalence"`` is always added.
    level : float
        Confidence level in (0, 1).

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
    check_level(level)
    checked = check_predictions(predictions)
    cases = case_table(_split(checked, "test"), target=target, positive=positive)
    columns = [str(name) for name in cases.probabilities.columns]
    rivals = {name.removeprefix(_BASELINE): cases.probabilities[name] for name in columns if name.startswith(_BASELINE)}
    rivals |= baselines or {}
    conditions = sorted(set(columns) - {_BASELINE + name for name in rivals}, key=lambda name: (_place(name), name))
    _check_names(conditions, thresholds or {}, rivals)
    cases, others = _with_baselines(cases, rivals)
    cuts, words = thresholds_of(cases, conditions, _split(checked, "validation"), given=thresholds)
    probabilities = {name: cases.probabilities[name].to_numpy() for name in conditions}
    half = np.full(cases.labels.size, 0.5)
    figures = {name: _figures(cases, p, cuts[name], level=level) for name, p in probabilities.items()}
    notes = (*cases.notes, *_split_notes(cases))
    comparisons, better = _comparisons(cases, probabilities, others, figures, level=level)
    return Evaluation(
        target=cases.target,
        positive=cases.positive,
        n=cases.labels.size,
        n_positive=int(cases.labels.sum()),
        n_patients=int(np.unique(cases.patients).size),
        level=level,
        metrics=figures,
        baselines={name: _figures(cases, p, half, level=level) for name, p in others.items()},
        comparisons=comparisons,
        better_single=better,
        thresholds=words,
        curves={name: _curves(cases.labels, p, level=level) for name, p in {**probabilities, **others}.items()},
        notes=notes,
    )


def _split(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of a split; of a table that names none, all are test rows."""
    splits = set(table["split"])
    if splits == {""}:
        return table if name == "test" else table.iloc[:0]
    if name == "test" and name not in splits:
        raise ManifestError(
            "predictions split", f"found {len(splits)} splits, none 'test'", expected="rows of split 'test'"
        )
    return table[table["split"] == name]


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


def _with_baselines(cases: CaseTable, baselines: Mapping[str, pd.Series]) -> tuple[CaseTable, dict[str, Array]]:
    """Keep the cases that every baseline knows, and return the baselines on them."""
    table = cases.probabilities
    found = {name: series.rename(index=str).reindex(table.index) for name, series in baselines.items()}
    keep = np.ones(len(table), dtype=bool)
    for series in found.values():
        keep &= series.notna().to_numpy()
    if dropped := int((~keep).sum()):
        note = f"{dropped} case{'s' if dropped > 1 else ''} left out: unknown to a baseline."
        if not keep.any():
            raise LabelError("baselines", "found no case that every baseline knows", expected="the same case_id")
        cases = CaseTable(
            cases.target,
            cases.positive,
            cases.labels[keep],
            cases.patients[keep],
            cases.folds[keep],
            table[keep],
            (*cases.notes, note),
        )
    others = {name: series.to_numpy(dtype=np.float64)[keep] for name, series in found.items()}
    return cases, others | {"prevalence": prevalence_baseline(cases.labels)}


def _place(condition: str) -> int:
    """Order in which a reader expects conditions: single modalities, fused, then controls."""
    order = (*SINGLE, "fused")
    return order.index(condition) if condition in order else len(order)


def _clusters(cases: CaseTable) -> NDArray[np.str_] | None:
    return cases.patients if np.unique(cases.patients).size < cases.patients.size else None


def _figures(cases: CaseTable, probabilities: Array, cuts: Array, *, level: float) -> dict[str, Estimate]:
    labels, clusters, calls = cases.labels, _clusters(cases), probabilities >= cuts
    return {
        "auroc": auroc(labels, probabilities, level=level, clusters=clusters),
        "auprc": m.auprc(labels, probabilities, level=level, clusters=clusters),
        "f1": c.f1(labels, calls, level=level, clusters=clusters),
        "accuracy": c.accuracy(labels, calls, level=level, clusters=clusters),
        "sensitivity": c.sensitivity(labels, calls, level=level, clusters=clusters),
        "specificity": c.specificity(labels, calls, level=level, clusters=clusters),
        "brier": m.brier(labels, probabilities, level=level, clusters=clusters),
    }


def _comparisons(
    cases: CaseTable,
    probabilities: Mapping[str, Array],
    baselines: Mapping[str, Array],
    figures: Mapping[str, Mapping[str, Estimate]],
    *,
    level: float,
) -> tuple[dict[str, Comparison], str]:
    """Fused minus each other condition and baseline; the lift is the one over the better single modality."""
    if "fused" not in probabilities:
        return {}, ""
    single = [name for name in SINGLE if name in probabilities]
    rivals = {name: probabilities[name] for name in probabilities if name != "fused"}
    rivals |= {name: values for name, values in baselines.items() if name != "prevalence"}
    clusters = _clusters(cases)
    found = {
        f"fused - {name}": delong_test(cases.labels, probabilities["fused"], values, level=level, clusters=clusters)
        for name, values in rivals.items()
    }
    if not single:
        return found, ""
    better = max(single, key=lambda name: figures[name]["auroc"].value)
    return {"lift": found[f"fused - {better}"], **found}, better


def _split_notes(cases: CaseTable) -> tuple[str, ...]:
    """Say what a reader must know of the folds."""
    n_folds = np.unique(cases.folds).size
    if n_folds < 2:
        return ()
    return (
        f"Predictions of {n_folds} folds are pooled. The intervals do not hold the change from one training "
        "run to the next.",
    )


def _curves(labels: NDArray[np.bool_], probabilities: Array, *, level: float) -> Curves:
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(labels, probabilities)
    return Curves(false_positive, true_positive, calibration_curve(labels, probabilities, level=level))


def _estimate_json(e: Estimate) -> dict[str, object]:
    return {
        "value": e.value,
        "low": e.low,
        "high": e.high,
        "n": e.n,
        "n_positive": e.n_positive,
        "method": e.method,
    }


def _comparison_json(c: Comparison) -> dict[str, object]:
    return {
        "value": c.difference,
        "low": c.low,
        "high": c.high,
        "p_value": c.p_value,
        "n": c.n,
        "method": c.method,
    }
