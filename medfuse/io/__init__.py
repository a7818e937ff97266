"""Bytes <-> nouns: archives, DICOM, NIfTI, reports, manifests, lesion positions, pseudonyms."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.io.archive import ArchiveIndex, index_archive
    from medfuse.io.dicom_source import SourceSeries, read_source_series
    from medfuse.io.dicom_writer import SeriesIdentity, derived_uid, write_dicom_series
    from medfuse.io.inputs import find_studies
    from medfuse.io.manifest import Manifest, read_manifest
    from medfuse.io.nifti_writer import write_nifti
    from medfuse.io.positions import read_rois
    from medfuse.io.pseudonyms import Pseudonymizer, load_pseudonymizer
    from medfuse.io.report_files import read_report
    from medfuse.io.studies import LesionEntry, StudyEntry, read_study
    from medfuse.io.volumes import read_volume, read_volumes

_HOME = {
    "ArchiveIndex": "archive",
    "LesionEntry": "studies",
    "Manifest": "manifest",
    "Pseudonymizer": "pseudonyms",
    "SeriesIdentity": "dicom_writer",
    "SourceSeries": "dicom_source",
    "StudyEntry": "studies",
    "derived_uid": "dicom_writer",
    "find_studies": "inputs",
    "index_archive": "archive",
    "load_pseudonymizer": "pseudonyms",
    "read_manifest": "manifest",
    "read_report": "report_files",
    "read_rois": "positions",
    "read_source_series": "dicom_source",
    "read_study": "studies",
    "read_volume": "volumes",
    "read_volumes": "volumes",
    "write_dicom_series": "dicom_writer",
    "write_nifti": "nifti_writer",
}

__all__ = [
    "ArchiveIndex",
    "LesionEntry",
    "Manifest",
    "Pseudonymizer",
    "SeriesIdentity",
    "SourceSeries",
    "StudyEntry",
    "derived_uid",
    "find_studies",
    "index_archive",
    "load_pseudonymizer",
    "read_manifest",
    "read_report",
    "read_rois",
    "read_source_series",
    "read_study",
    "read_volume",
    "read_volumes",
    "write_dicom_series",
    "write_nifti",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"medfuse.io.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
