"""Arrays and labels to numbers with intervals; names are loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.evaluation.abstention import AbstentionCurve, abstention_curve
    from medfuse.evaluation.adjustment import adjust
    from medfuse.evaluation.answers import main_condition
    from medfuse.evaluation.baselines import cross_fitted_logistic, prevalence_baseline
    from medfuse.evaluation.calibration import CalibrationBin, calibrated_loss, calibration_curve, fit_calibration
    from medfuse.evaluation.calibration_figures import calibration_intercept, calibration_slope, ece
    from medfuse.evaluation.calls import (
        Confusion,
        accuracy,
        balanced_accuracy,
        confusion_of,
        f1,
        mcc,
        npv,
        ppv,
        sensitivity,
        specificity,
    )
    from medfuse.evaluation.class_figures import quadratic_kappa
    from medfuse.evaluation.common_space import into_common_space
    from medfuse.evaluation.conformal import ConformalRule, conformal_sets, fit_conformal
    from medfuse.evaluation.decision import DecisionCurve, decision_curve
    from medfuse.evaluation.delong import auroc, delong_test
    from medfuse.evaluation.evaluating import evaluate
    from medfuse.evaluation.evaluation import Curves, Evaluation, OperatingPoint, TargetEvaluation, plain
    from medfuse.evaluation.isotonic import IsotonicRule, apply_isotonic, fit_isotonic
    from medfuse.evaluation.leakage import explained_variance
    from medfuse.evaluation.learning import LearningCurve, learning_curve
    from medfuse.evaluation.linear_maps import fit_cca, fit_least_squares, fit_procrustes, fit_ridge
    from medfuse.evaluation.metrics import auprc, brier, log_loss
    from medfuse.evaluation.missing_modality import MissingPoint, missing_curve
    from medfuse.evaluation.model_comparison import ComparedModel, compare_areas, holm
    from medfuse.evaluation.paired import PairedCases, detectable_difference, mcnemar_test, paired_tests
    from medfuse.evaluation.plan import EvaluationPlan, OperatingRule
    from medfuse.evaluation.predictions import case_table, check_predictions, read_free_columns, read_predictions
    from medfuse.evaluation.promises import IntervalFigures, SetFigures, interval_figures, set_figures
    from medfuse.evaluation.readers import ReaderAgreement, krippendorff_alpha, reader_agreement
    from medfuse.evaluation.readings import agreement_of, read_readings
    from medfuse.evaluation.resampling import bootstrap_auroc, bootstrap_auroc_test, permutation_test
    from medfuse.evaluation.retrieval import (
        compare_recall,
        find_ranks,
        join_ranks,
        retrieval_figures,
        similarity,
        zero_shot_probabilities,
    )
    from medfuse.evaluation.subgroups import Subgroup, SubgroupFactor
    from medfuse.evaluation.targets import evaluate_targets, kind_of
    from medfuse.evaluation.thresholds import choose_threshold
    from medfuse.evaluation.venn_abers_intervals import VennAbersRule, fit_venn_abers, venn_abers_interval

_HOME = {
    "abstention_curve": "abstention",
    "AbstentionCurve": "abstention",
    "accuracy": "calls",
    "adjust": "adjustment",
    "agreement_of": "readings",
    "apply_isotonic": "isotonic",
    "auprc": "metrics",
    "auroc": "delong",
    "balanced_accuracy": "calls",
    "bootstrap_auroc": "resampling",
    "bootstrap_auroc_test": "resampling",
    "brier": "metrics",
    "calibrated_loss": "calibration",
    "calibration_curve": "calibration",
    "calibration_intercept": "calibration_figures",
    "calibration_slope": "calibration_figures",
    "CalibrationBin": "calibration",
    "case_table": "predictions",
    "check_predictions": "predictions",
    "choose_threshold": "thresholds",
    "compare_areas": "model_comparison",
    "compare_recall": "retrieval",
    "ComparedModel": "model_comparison",
    "conformal_sets": "conformal",
    "ConformalRule": "conformal",
    "Confusion": "calls",
    "confusion_of": "calls",
    "cross_fitted_logistic": "baselines",
    "Curves": "evaluation",
    "decision_curve": "decision",
    "DecisionCurve": "decision",
    "delong_test": "delong",
    "detectable_difference": "paired",
    "ece": "calibration_figures",
    "evaluate": "evaluating",
    "evaluate_targets": "targets",
    "Evaluation": "evaluation",
    "EvaluationPlan": "plan",
    "explained_variance": "leakage",
    "f1": "calls",
    "find_ranks": "retrieval",
    "fit_calibration": "calibration",
    "fit_cca": "linear_maps",
    "fit_conformal": "conformal",
    "fit_isotonic": "isotonic",
    "fit_least_squares": "linear_maps",
    "fit_procrustes": "linear_maps",
    "fit_ridge": "linear_maps",
    "fit_venn_abers": "venn_abers_intervals",
    "holm": "model_comparison",
    "interval_figures": "promises",
    "IntervalFigures": "promises",
    "into_common_space": "common_space",
    "IsotonicRule": "isotonic",
    "join_ranks": "retrieval",
    "kind_of": "targets",
    "krippendorff_alpha": "readers",
    "learning_curve": "learning",
    "LearningCurve": "learning",
    "log_loss": "metrics",
    "main_condition": "answers",
    "mcc": "calls",
    "mcnemar_test": "paired",
    "missing_curve": "missing_modality",
    "MissingPoint": "missing_modality",
    "npv": "calls",
    "OperatingPoint": "evaluation",
    "OperatingRule": "plan",
    "paired_tests": "paired",
    "PairedCases": "paired",
    "permutation_test": "resampling",
    "plain": "evaluation",
    "ppv": "calls",
    "prevalence_baseline": "baselines",
    "quadratic_kappa": "class_figures",
    "read_free_columns": "predictions",
    "read_predictions": "predictions",
    "read_readings": "readings",
    "reader_agreement": "readers",
    "ReaderAgreement": "readers",
    "retrieval_figures": "retrieval",
    "sensitivity": "calls",
    "set_figures": "promises",
    "SetFigures": "promises",
    "similarity": "retrieval",
    "specificity": "calls",
    "Subgroup": "subgroups",
    "SubgroupFactor": "subgroups",
    "TargetEvaluation": "evaluation",
    "venn_abers_interval": "venn_abers_intervals",
    "VennAbersRule": "venn_abers_intervals",
    "zero_shot_probabilities": "retrieval",
}

__all__ = [
    "abstention_curve",
    "AbstentionCurve",
    "accuracy",
    "adjust",
    "agreement_of",
    "apply_isotonic",
    "auprc",
    "auroc",
    "balanced_accuracy",
    "bootstrap_auroc",
    "bootstrap_auroc_test",
    "brier",
    "calibrated_loss",
    "calibration_curve",
    "calibration_intercept",
    "calibration_slope",
    "CalibrationBin",
    "case_table",
    "check_predictions",
    "choose_threshold",
    "compare_areas",
    "compare_recall",
    "ComparedModel",
    "conformal_sets",
    "ConformalRule",
    "Confusion",
    "confusion_of",
    "cross_fitted_logistic",
    "Curves",
    "decision_curve",
    "DecisionCurve",
    "delong_test",
    "detectable_difference",
    "ece",
    "evaluate",
    "evaluate_targets",
    "Evaluation",
    "EvaluationPlan",
    "explained_variance",
    "f1",
    "find_ranks",
    "fit_calibration",
    "fit_cca",
    "fit_conformal",
    "fit_isotonic",
    "fit_least_squares",
    "fit_procrustes",
    "fit_ridge",
    "fit_venn_abers",
    "holm",
    "interval_figures",
    "IntervalFigures",
    "into_common_space",
    "IsotonicRule",
    "join_ranks",
    "kind_of",
    "krippendorff_alpha",
    "learning_curve",
    "LearningCurve",
    "log_loss",
    "main_condition",
    "mcc",
    "mcnemar_test",
    "missing_curve",
    "MissingPoint",
    "npv",
    "OperatingPoint",
    "OperatingRule",
    "paired_tests",
    "PairedCases",
    "permutation_test",
    "plain",
    "ppv",
    "prevalence_baseline",
    "quadratic_kappa",
    "read_free_columns",
    "read_predictions",
    "read_readings",
    "reader_agreement",
    "ReaderAgreement",
    "retrieval_figures",
    "sensitivity",
    "set_figures",
    "SetFigures",
    "similarity",
    "specificity",
    "Subgroup",
    "SubgroupFactor",
    "TargetEvaluation",
    "venn_abers_interval",
    "VennAbersRule",
    "zero_shot_probabilities",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"medfuse.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
