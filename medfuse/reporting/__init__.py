"""Results to pages that a reader can keep: self-contained HTML and JSON; names are loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medfuse.reporting.annotated_report import write_annotated_reports
    from medfuse.reporting.background import Background, background_of
    from medfuse.reporting.comparison_report import ComparedCases, write_comparison_report
    from medfuse.reporting.csv_files import write_csv
    from medfuse.reporting.dicom_results import DicomResults, write_dicom_results
    from medfuse.reporting.dicom_results_explained import explained_results
    from medfuse.reporting.evaluation_report import write_evaluation_report
    from medfuse.reporting.explanation_report import write_explanation_report
    from medfuse.reporting.looks import count_look
    from medfuse.reporting.methods_report import methods_page, missing_reports_svg
    from medfuse.reporting.provenance import design_of, limits_of, read_provenance, read_settings
    from medfuse.reporting.retrieval_report import retrieval_page

_HOME = {
    "Background": "background",
    "ComparedCases": "comparison_report",
    "DicomResults": "dicom_results",
    "background_of": "background",
    "count_look": "looks",
    "design_of": "provenance",
    "explained_results": "dicom_results_explained",
    "limits_of": "provenance",
    "methods_page": "methods_report",
    "missing_reports_svg": "methods_report",
    "read_provenance": "provenance",
    "read_settings": "provenance",
    "retrieval_page": "retrieval_report",
    "write_annotated_reports": "annotated_report",
    "write_comparison_report": "comparison_report",
    "write_csv": "csv_files",
    "write_dicom_results": "dicom_results",
    "write_evaluation_report": "evaluation_report",
    "write_explanation_report": "explanation_report",
}

__all__ = [
    "Background",
    "ComparedCases",
    "DicomResults",
    "background_of",
    "count_look",
    "design_of",
    "explained_results",
    "limits_of",
    "methods_page",
    "missing_reports_svg",
    "read_provenance",
    "read_settings",
    "retrieval_page",
    "write_annotated_reports",
    "write_comparison_report",
    "write_csv",
    "write_dicom_results",
    "write_evaluation_report",
    "write_explanation_report",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"medfuse.reporting.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
