"""Tensors -> tensors: encoders, aligners, fusions, heads and the classifier that joins them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.models.build import (
        build_model,
        check_components,
        component_options,
        list_components,
        pretrained_tokenizer,
        self_contained,
    )
    from medfuse.models.classifier import StudyClassifier
    from medfuse.models.ensemble import Ensemble
    from medfuse.models.losses import TargetLoss, study_loss

_HOME = {
    "Ensemble": "ensemble",
    "StudyClassifier": "classifier",
    "TargetLoss": "losses",
    "build_model": "build",
    "check_components": "build",
    "component_options": "build",
    "list_components": "build",
    "pretrained_tokenizer": "build",
    "self_contained": "build",
    "study_loss": "losses",
}

__all__ = [
    "Ensemble",
    "StudyClassifier",
    "TargetLoss",
    "build_model",
    "check_components",
    "component_options",
    "list_components",
    "pretrained_tokenizer",
    "self_contained",
    "study_loss",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.models.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
