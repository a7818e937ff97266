"""Saved model bundles and the Predictor that scoring, explaining and evaluation share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.inference.bundle import Bundle, build_for, build_member_for, load_bundle, save_bundle
    from medfuse.inference.calibration import Calibration
    from medfuse.inference.embedding import Embedded, describe_without_learning, embed_samples, embed_texts
    from medfuse.inference.evidence import Evidence
    from medfuse.inference.novelty import NoveltyLimit, fit_novelty
    from medfuse.inference.predictor import Predictor, predict_logits
    from medfuse.inference.training_cases import Neighbour, TrainingCases
    from medfuse.inference.uncertainty import Uncertainty, fit_uncertainty

_HOME = {
    "Bundle": "bundle",
    "Calibration": "calibration",
    "Embedded": "embedding",
    "Evidence": "evidence",
    "Neighbour": "training_cases",
    "NoveltyLimit": "novelty",
    "Predictor": "predictor",
    "TrainingCases": "training_cases",
    "Uncertainty": "uncertainty",
    "build_for": "bundle",
    "build_member_for": "bundle",
    "describe_without_learning": "embedding",
    "embed_samples": "embedding",
    "embed_texts": "embedding",
    "fit_novelty": "novelty",
    "fit_uncertainty": "uncertainty",
    "load_bundle": "bundle",
    "predict_logits": "predictor",
    "save_bundle": "bundle",
}

__all__ = [
    "Bundle",
    "Calibration",
    "Embedded",
    "Evidence",
    "Neighbour",
    "NoveltyLimit",
    "Predictor",
    "TrainingCases",
    "Uncertainty",
    "build_for",
    "build_member_for",
    "describe_without_learning",
    "embed_samples",
    "embed_texts",
    "fit_novelty",
    "fit_uncertainty",
    "load_bundle",
    "predict_logits",
    "save_bundle",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.inference.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
