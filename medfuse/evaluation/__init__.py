"""Arrays and labels to numbers with intervals; names are loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.evaluation.baselines import cross_fitted_logistic, prevalence_baseline
    from medfuse.evaluation.calibration import (
        CalibrationBin,
        calibrated_loss,
        calibration_curve,
        choose_threshold,
        fit_calibration,
    )
    from medfuse.evaluation.delong import auroc, delong_test
    from medfuse.evaluation.evaluation import Curves, Evaluation, evaluate
    from medfuse.evaluation.leakage import explained_variance
    from medfuse.evaluation.metrics import accuracy, auprc, brier, f1, sensitivity, specificity
    from medfuse.evaluation.model_comparison import ComparedModel, compare_areas, holm
    from medfuse.evaluation.predictions import case_table, read_predictions

_HOME = {
    "accuracy": "metrics",
    "auprc": "metrics",
    "auroc": "delong",
    "brier": "metrics",
    "CalibrationBin": "calibration",
    "calibrated_loss": "calibration",
    "case_table": "predictions",
    "compare_areas": "model_comparison",
    "ComparedModel": "model_comparison",
    "calibration_curve": "calibration",
    "choose_threshold": "calibration",
    "cross_fitted_logistic": "baselines",
    "Curves": "evaluation",
    "delong_test": "delong",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "explained_variance": "leakage",
    "f1": "metrics",
    "fit_calibration": "calibration",
    "holm": "model_comparison",
    "prevalence_baseline": "baselines",
    "read_predictions": "predictions",
    "sensitivity": "metrics",
    "specificity": "metrics",
}

__all__ = [
    "CalibrationBin",
    "ComparedModel",
    "Curves",
    "Evaluation",
    "accuracy",
    "auprc",
    "auroc",
    "brier",
    "calibrated_loss",
    "case_table",
    "calibration_curve",
    "choose_threshold",
    "compare_areas",
    "cross_fitted_logistic",
    "delong_test",
    "evaluate",
    "explained_variance",
    "f1",
    "fit_calibration",
    "holm",
    "prevalence_baseline",
    "read_predictions",
    "sensitivity",
    "specificity",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"medfuse.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
