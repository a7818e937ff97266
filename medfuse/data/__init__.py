"""Study + lesion -> Sample -> Batch: the one preparation that training, scoring and explaining share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.data.augmentation import Augmentation
    from medfuse.data.batching import collate
    from medfuse.data.cases import Case, CaseSet, load_cases, to_samples
    from medfuse.data.dataset import CaseDataset
    from medfuse.data.preprocessing import Preprocessing

_HOME = {
    "Augmentation": "augmentation",
    "Case": "cases",
    "CaseSet": "cases",
    "CaseDataset": "dataset",
    "Preprocessing": "preprocessing",
    "collate": "batching",
    "load_cases": "cases",
    "to_samples": "cases",
}

__all__ = ["Augmentation", "Case", "CaseDataset", "CaseSet", "Preprocessing", "collate", "load_cases", "to_samples"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.data.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
