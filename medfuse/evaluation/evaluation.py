"""The numbers of an evaluation, as nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass

import numpy as np
from numpy.typing import NDArray

from medfuse.evaluation.abstention import AbstentionCurve
from medfuse.evaluation.calibration import CalibrationBin
from medfuse.evaluation.calls import Confusion
from medfuse.evaluation.decision import DecisionCurve
from medfuse.evaluation.missing_modality import MissingPoint
from medfuse.evaluation.plan import OperatingRule
from medfuse.evaluation.promises import IntervalFigures, SetFigures
from medfuse.evaluation.subgroups import SubgroupFactor
from medfuse.types import Array, Comparison, Estimate

__all__ = ["METRICS", "Curves", "Evaluation", "OperatingPoint", "TargetEvaluation", "plain"]

METRICS = (
    "auroc",
    "auprc",
    "f1",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "mcc",
    "brier",
    "log_loss",
    "calibration_intercept",
    "calibration_slope",
    "ece",
)
Paired = Mapping[str, Mapping[str, Comparison]]


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What the plots of one condition are drawn from; at most 2,000 points each.

    Parameters
    ----------
    false_positive_rate, true_positive_rate : ndarray, shape (points,)
        The ROC curve from (0, 0) to (1, 1).
    calibration : tuple of CalibrationBin
    recall, precision : ndarray, shape (points,)
        At every distinct probability, from the highest.
    decision : DecisionCurve
    abstention : AbstentionCurve
        Of the calls at the locked threshold.
    """

    false_positive_rate: Array
    true_positive_rate: Array
    calibration: tuple[CalibrationBin, ...]
    recall: Array
    precision: Array
    decision: DecisionCurve
    abstention: AbstentionCurve


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold, how it was chosen, and what it gives on the test cases.

    Parameters
    ----------
    rule : OperatingRule
    thresholds : tuple of float
        One, or one a fold.
    words : str
        Both in words.
    figures : mapping of str to Estimate
        Every figure of calls.
    confusion : Confusion
    """

    rule: OperatingRule
    thresholds: tuple[float, ...]
    words: str
    figures: Mapping[str, Estimate]
    confusion: Confusion


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The numbers of one target, or of one class against all others, on one set of cases.

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
        By condition (image, text, fused, ...), then by metric: those of ``METRICS``, calls being made at the locked
        threshold. A figure that the cases leave undefined is NaN.
    baselines : mapping of str to (mapping of str to Estimate)
        The same for the baselines (diameter, prevalence, ...).
    comparisons : mapping of str to Comparison
        Paired differences in AUROC: ``"lift"`` is fused minus the better single modality,
        ``"fused - x"`` fused minus x.
    better_single : str
        The modality that ``lift`` is taken against, empty if there is none.
    thresholds : mapping of str to str
        By condition, the locked threshold and how it was chosen, in words.
    curves : mapping of str to Curves
    notes : tuple of str
        What a reader must know: cases left out, how choices were made.
    operating_points : mapping of str to tuple of OperatingPoint
        By condition; the first is the locked one.
    paired : mapping of str to (mapping of str to Comparison)
        By ``"fused - x"``, then by test; see `paired_tests`.
    p_holm : mapping of str to float
        By ``"fused - x"``: p values of the DeLong tests, corrected for their number.
    detectable : mapping of str to float
        By ``"fused - x"``: the smallest true difference in AUROC that these cases would have shown.
    missing : mapping of str to tuple of MissingPoint
        By modality: fused as more and more cases lack it, against the same model without it.
    sets : mapping of str to SetFigures
        By condition: sets of classes fitted on validation cases.
    intervals : mapping of str to IntervalFigures
        By condition: intervals of single probabilities fitted on validation cases.
    subgroups : tuple of SubgroupFactor
    left_out : mapping of str to int
        Cases left out: ``no_label``, ``not_under_every_condition``, ``unknown_to_baseline``.
    n_folds : int
    is_second : bool
        Whether the positive class is merely the second one given.
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
    operating_points: Mapping[str, tuple[OperatingPoint, ...]] = field(default_factory=dict)
    paired: Paired = field(default_factory=dict)
    p_holm: Mapping[str, float] = field(default_factory=dict)
    detectable: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, tuple[MissingPoint, ...]] = field(default_factory=dict)
    sets: Mapping[str, SetFigures] = field(default_factory=dict)
    intervals: Mapping[str, IntervalFigures] = field(default_factory=dict)
    subgroups: tuple[SubgroupFactor, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    n_folds: int = 1
    is_second: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the figures as plain dicts, in the shape of the contract's results of record.

        Returns
        -------
        dict
            By condition and baseline: metric to {"value", "low", "high", "n", "n_positive", "method"};
            ``"lift"`` and ``"comparisons"``: {"value", "low", "high", "p_value", "n", "method"}; all else but the
            curves by the names of the fields. A number that is undefined is None.
        """
        result: dict[str, object] = {**_plain_dict(self.metrics), **_plain_dict(self.baselines)}
        if "lift" in self.comparisons:
            result["lift"] = plain(self.comparisons["lift"])
        result["comparisons"] = plain({k: c for k, c in self.comparisons.items() if k != "lift"})
        shown = {"metrics", "baselines", "comparisons", "curves"}
        return result | {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name not in shown}


@dataclass(frozen=True, slots=True, eq=False)
class TargetEvaluation:
    """The numbers of one target of any kind.

    Parameters
    ----------
    target : str
    kind : {"binary", "multiclass", "ordinal", "multilabel"}
    classes : tuple of str
    level : float
    n, n_patients : int
        Cases and patients that any figure rests on.
    by_class : mapping of str to Evaluation
        Of a binary target its positive class alone, else each class against all others; a class that cannot be
        evaluated is in ``refused``.
    overall : mapping of str to (mapping of str to Estimate)
        By condition, then by figure over all classes; empty of a binary target.
    comparisons : mapping of str to Comparison
        Paired differences in AUROC, of several classes in their mean; ``"lift"`` and ``"fused - x"``.
    better_single : str
    confusion : mapping of str to ndarray of int, shape (classes, classes)
        By condition: true classes in rows, called ones in columns; empty of binary and multilabel targets.
    sets : mapping of str to SetFigures
        By condition; of multiclass and ordinal targets.
    refused : mapping of str to str
        Why a class, or the target itself by an empty name, is not evaluated.
    notes : tuple of str
    """

    target: str
    kind: str
    classes: tuple[str, ...]
    level: float
    n: int
    n_patients: int
    by_class: Mapping[str, Evaluation] = field(default_factory=dict)
    overall: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    better_single: str = ""
    confusion: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    sets: Mapping[str, SetFigures] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the figures as plain dicts, by the names of the fields; an undefined number is None."""
        result = {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name != "by_class"}
        return result | {"by_class": {name: one.to_json() for name, one in self.by_class.items()}}


def plain(value: object) -> object:
    """Turn nouns into what JSON can hold: dicts, lists, texts and finite numbers.

    Parameters
    ----------
    value : object
        A dataclass, mapping, sequence, array, number or text.

    Returns
    -------
    object
        Numbers that are not finite become None. An estimate loses its name, and a comparison's difference is its
        ``value``, as in the contract's results of record.

    Examples
    --------
    >>> plain({"a": (1.0, float("nan")), "b": np.array([2])})
    {'a': [1.0, None], 'b': [2]}
    """
    if isinstance(value, Comparison):
        kept = ("low", "high", "p_value", "n", "method")
        return {"value": plain(value.difference), **{name: plain(getattr(value, name)) for name in kept}}
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value)]
        if isinstance(value, Estimate):
            names.remove("name")
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return _plain_dict(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _plain_dict(value: Mapping[str, object]) -> dict[str, object]:
    return {str(key): plain(each) for key, each in value.items()}
