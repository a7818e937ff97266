"""Public data sets turned into manifests and files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.cohorts.archive import export_archive
    from medfuse.cohorts.lidc import LidcOptions, build_cohort
    from medfuse.cohorts.lidc_annotations import (
        Contour,
        Nodule,
        ReaderAnnotation,
        Scan,
        cohort_digest,
        load_nodules,
    )
    from medfuse.cohorts.lidc_text import write_lesion_report, write_study_report
    from medfuse.cohorts.medmnist3d import build_medmnist3d

_MODULES = {
    "Contour": "lidc_annotations",
    "LidcOptions": "lidc",
    "Nodule": "lidc_annotations",
    "ReaderAnnotation": "lidc_annotations",
    "Scan": "lidc_annotations",
    "build_cohort": "lidc",
    "build_medmnist3d": "medmnist3d",
    "cohort_digest": "lidc_annotations",
    "export_archive": "archive",
    "load_nodules": "lidc_annotations",
    "write_lesion_report": "lidc_text",
    "write_study_report": "lidc_text",
}

__all__ = [
    "Contour",
    "LidcOptions",
    "Nodule",
    "ReaderAnnotation",
    "Scan",
    "build_cohort",
    "build_medmnist3d",
    "cohort_digest",
    "export_archive",
    "load_nodules",
    "write_lesion_report",
    "write_study_report",
]


def __getattr__(name: str) -> object:
    """Import a public name from its file when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
