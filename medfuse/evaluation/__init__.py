"""Arrays and labels to numbers with intervals; names are loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.evaluation.adjustment import adjust
    from medfuse.evaluation.baselines import cross_fitted_logistic, prevalence_baseline
    from medfuse.evaluation.calibration import (
        CalibrationBin,
        calibrated_loss,
        calibration_curve,
        fit_calibration,
    )
    from medfuse.evaluation.calls import accuracy, f1, sensitivity, specificity
    from medfuse.evaluation.common_space import into_common_space
    from medfuse.evaluation.conformal import ConformalRule, conformal_sets, fit_conformal
    from medfuse.evaluation.delong import auroc, delong_test
    from medfuse.evaluation.evaluation import Curves, Evaluation, evaluate
    from medfuse.evaluation.leakage import explained_variance
    from medfuse.evaluation.linear_maps import fit_cca, fit_least_squares, fit_procrustes, fit_ridge
    from medfuse.evaluation.metrics import auprc, brier
    from medfuse.evaluation.missing_modality import MissingPoint, missing_curve
    from medfuse.evaluation.model_comparison import ComparedModel, compare_areas, holm
    from medfuse.evaluation.predictions import case_table, check_predictions, read_predictions
    from medfuse.evaluation.retrieval import (
        compare_recall,
        find_ranks,
        join_ranks,
        retrieval_figures,
        similarity,
        zero_shot_probabilities,
    )
    from medfuse.evaluation.thresholds import choose_threshold
    from medfuse.evaluation.venn_abers_intervals import VennAbersRule, fit_venn_abers, venn_abers_interval

_HOME = {
    "accuracy": "calls",
    "adjust": "adjustment",
    "auprc": "metrics",
    "auroc": "delong",
    "brier": "metrics",
    "CalibrationBin": "calibration",
    "calibrated_loss": "calibration",
    "case_table": "predictions",
    "check_predictions": "predictions",
    "compare_areas": "model_comparison",
    "ComparedModel": "model_comparison",
    "calibration_curve": "calibration",
    "choose_threshold": "thresholds",
    "compare_recall": "retrieval",
    "conformal_sets": "conformal",
    "ConformalRule": "conformal",
    "cross_fitted_logistic": "baselines",
    "Curves": "evaluation",
    "delong_test": "delong",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "explained_variance": "leakage",
    "f1": "calls",
    "find_ranks": "retrieval",
    "fit_calibration": "calibration",
    "fit_cca": "linear_maps",
    "fit_conformal": "conformal",
    "fit_least_squares": "linear_maps",
    "fit_procrustes": "linear_maps",
    "fit_ridge": "linear_maps",
    "fit_venn_abers": "venn_abers_intervals",
    "holm": "model_comparison",
    "into_common_space": "common_space",
    "join_ranks": "retrieval",
    "missing_curve": "missing_modality",
    "MissingPoint": "missing_modality",
    "prevalence_baseline": "baselines",
    "read_predictions": "predictions",
    "retrieval_figures": "retrieval",
    "sensitivity": "calls",
    "similarity": "retrieval",
    "specificity": "calls",
    "venn_abers_interval": "venn_abers_intervals",
    "VennAbersRule": "venn_abers_intervals",
    "zero_shot_probabilities": "retrieval",
}

__all__ = [
    "CalibrationBin",
    "ComparedModel",
    "ConformalRule",
    "Curves",
    "Evaluation",
    "MissingPoint",
    "VennAbersRule",
    "accuracy",
    "adjust",
    "auprc",
    "auroc",
    "brier",
    "calibrated_loss",
    "case_table",
    "check_predictions",
    "calibration_curve",
    "choose_threshold",
    "compare_areas",
    "compare_recall",
    "conformal_sets",
    "cross_fitted_logistic",
    "delong_test",
    "evaluate",
    "explained_variance",
    "f1",
    "find_ranks",
    "fit_calibration",
    "fit_cca",
    "fit_conformal",
    "fit_least_squares",
    "fit_procrustes",
    "fit_ridge",
    "fit_venn_abers",
    "holm",
    "into_common_space",
    "join_ranks",
    "missing_curve",
    "prevalence_baseline",
    "read_predictions",
    "retrieval_figures",
    "sensitivity",
    "similarity",
    "specificity",
    "venn_abers_interval",
    "zero_shot_probabilities",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"medfuse.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
