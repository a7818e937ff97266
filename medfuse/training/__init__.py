"""Manifest + config -> run folder: lightning fits, MLflow tracks, validation alone decides."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.training.callbacks import ShowEpochs
    from medfuse.training.fitting import Fit, fit
    from medfuse.training.folds import cross_fit
    from medfuse.training.runs import Run, config_digest, find_run, read_cases, run_versions, train

_HOME = {
    "Fit": "fitting",
    "Run": "runs",
    "ShowEpochs": "callbacks",
    "config_digest": "runs",
    "cross_fit": "folds",
    "find_run": "runs",
    "fit": "fitting",
    "read_cases": "runs",
    "run_versions": "runs",
    "train": "runs",
}

__all__ = [
    "Fit",
    "Run",
    "ShowEpochs",
    "config_digest",
    "cross_fit",
    "find_run",
    "fit",
    "read_cases",
    "run_versions",
    "train",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.training.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
