"""Study + lesion -> Sample -> Batch: the one preparation that training, scoring and explaining share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.data.augmentation import Augmentation
    from medfuse.data.batch_augmentation import augment_batch
    from medfuse.data.batching import collate
    from medfuse.data.cases import Case, CaseSet, load_cases, to_samples
    from medfuse.data.cohort_record import write_cohort
    from medfuse.data.dataset import CaseDataset
    from medfuse.data.filling import Filled, fill_store
    from medfuse.data.prepared import PreparedImage, Preparer, open_store
    from medfuse.data.preprocessing import Preprocessing
    from medfuse.data.sampling import EpochBatches, EpochSampler, Turn
    from medfuse.data.store import BoxStore, StoredBox
    from medfuse.data.text_variation import TextVariants, text_variants

_HOME = {
    "Augmentation": "augmentation",
    "BoxStore": "store",
    "Case": "cases",
    "CaseSet": "cases",
    "CaseDataset": "dataset",
    "EpochBatches": "sampling",
    "EpochSampler": "sampling",
    "Filled": "filling",
    "PreparedImage": "prepared",
    "Preparer": "prepared",
    "Preprocessing": "preprocessing",
    "StoredBox": "store",
    "TextVariants": "text_variation",
    "Turn": "sampling",
    "augment_batch": "batch_augmentation",
    "collate": "batching",
    "fill_store": "filling",
    "load_cases": "cases",
    "open_store": "prepared",
    "text_variants": "text_variation",
    "to_samples": "cases",
    "write_cohort": "cohort_record",
}

__all__ = [
    "Augmentation",
    "BoxStore",
    "Case",
    "CaseDataset",
    "CaseSet",
    "EpochBatches",
    "EpochSampler",
    "Filled",
    "PreparedImage",
    "Preparer",
    "Preprocessing",
    "StoredBox",
    "TextVariants",
    "Turn",
    "augment_batch",
    "collate",
    "fill_store",
    "load_cases",
    "open_store",
    "text_variants",
    "to_samples",
    "write_cohort",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.data.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
