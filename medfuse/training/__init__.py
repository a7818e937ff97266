"""Manifest + config -> run folder: lightning fits, MLflow tracks, validation alone decides."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.training.callbacks import ShowEpochs, StopInTime
    from medfuse.training.comparing import compare, kept_predictions
    from medfuse.training.external import ScoredManifest, score_manifest
    from medfuse.training.fitting import Fit, fit
    from medfuse.training.folds import cross_fit, train_folds
    from medfuse.training.grids import Grid, read_grid
    from medfuse.training.learning_rate import find_learning_rate
    from medfuse.training.mlflow_models import local_bundle
    from medfuse.training.parts import split_cases
    from medfuse.training.runs import Run, config_digest, find_run, read_cases, run_versions, train
    from medfuse.training.search import check_space, default_space, read_space
    from medfuse.training.shown_cases import find_cases
    from medfuse.training.tracking import sync
    from medfuse.training.tuning import TuneOptions, tune

_HOME = {
    "Fit": "fitting",
    "Grid": "grids",
    "Run": "runs",
    "ScoredManifest": "external",
    "ShowEpochs": "callbacks",
    "StopInTime": "callbacks",
    "TuneOptions": "tuning",
    "check_space": "search",
    "compare": "comparing",
    "config_digest": "runs",
    "cross_fit": "folds",
    "default_space": "search",
    "find_cases": "shown_cases",
    "find_learning_rate": "learning_rate",
    "find_run": "runs",
    "fit": "fitting",
    "kept_predictions": "comparing",
    "local_bundle": "mlflow_models",
    "read_cases": "runs",
    "read_grid": "grids",
    "read_space": "search",
    "run_versions": "runs",
    "score_manifest": "external",
    "split_cases": "parts",
    "sync": "tracking",
    "train": "runs",
    "train_folds": "folds",
    "tune": "tuning",
}

__all__ = [
    "Fit",
    "Grid",
    "Run",
    "ScoredManifest",
    "ShowEpochs",
    "StopInTime",
    "TuneOptions",
    "check_space",
    "compare",
    "config_digest",
    "cross_fit",
    "default_space",
    "find_cases",
    "find_learning_rate",
    "find_run",
    "fit",
    "kept_predictions",
    "local_bundle",
    "read_cases",
    "read_grid",
    "read_space",
    "run_versions",
    "score_manifest",
    "split_cases",
    "sync",
    "train",
    "train_folds",
    "tune",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.training.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
