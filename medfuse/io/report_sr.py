"""DICOM structured reports -> reports: their text under its headings, and the ids that say whose it is.

Source: DICOM PS3.3 A.35 and C.17.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medfuse.errors import LesionPositionError, ReportTextError
from medfuse.io.marked_lesions import read_object
from medfuse.io.pydicom_reading import READ_ERRORS, quiet_pydicom
from medfuse.io.report_documents import DocumentStatus, ReportDocument, iso_time
from medfuse.types import ReportText

__all__ = ["REPORT_CLASSES", "read_sr"]

REPORT_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{end}" for end in ("11", "22", "33", "34"))
"""Basic Text, Enhanced, Comprehensive and Comprehensive 3D SR."""

NO_REPORTS = ("1500", "10001", "4000", "4100")
"""Templates of measurements, dose and CAD marks, which are no radiologist's text. Source: DICOM PS3.16."""

CONTEXT = ("HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD")
"""Items that say who observed and how: no part of the text."""

MAX_DEPTH = 16
WHERE = "structured report"


def read_sr(path: Path) -> ReportDocument | None:
    """Read a structured report.

    Parameters
    ----------
    path : Path
        Of an object of one of `REPORT_CLASSES`.

    Returns
    -------
    ReportDocument or None
        None if it is no radiologist's text: measurements, dose, or no TEXT item at all.

    Raises
    ------
    ReportTextError
        If it cannot be read, or its character set is unknown.
    """
    try:
        with quiet_pydicom():
            dataset = read_object(path, REPORT_CLASSES, where=WHERE)
            _check_character_set(dataset)
            lines = list(_lines(dataset, 0))
            if _template(dataset) in NO_REPORTS or not any(is_text for is_text, _ in lines):
                return None
            texts = [text for _, text in lines]
            time = iso_time(f"{dataset.get('ContentDate', '')}{dataset.get('ContentTime', '')}")
            return ReportDocument(
                ReportText("\n".join(texts), source=WHERE),
                frozenset(filter(None, _studies(dataset))),
                frozenset(filter(None, [str(dataset.get("AccessionNumber") or "").strip()])),
                frozenset(filter(None, [str(dataset.get("PatientID") or "").strip()])),
                status=_status(dataset),
                time=time,
            )
    except (*READ_ERRORS, LesionPositionError) as error:
        found = f"cannot be read ({type(error).__name__})"
        raise ReportTextError(WHERE, found, expected="a whole structured report") from error


def _lines(item: Any, depth: int) -> Iterator[tuple[bool, str]]:
    """Yield whether it is text, and the text, of each heading, text, code and number, in order."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    for part in item.get("ContentSequence") or ():
        if part.get("RelationshipType") in CONTEXT:
            continue
        kind, name = part.get("ValueType"), _meaning(part, "ConceptNameCodeSequence")
        if kind == "TEXT" and part.get("TextValue"):
            if name and item.get("ValueType") == "CONTAINER" and name.lower() not in _heading(item).lower():
                yield False, f"{name}:"
            yield True, str(part.TextValue).strip()
        elif kind == "CONTAINER" and name:
            yield False, f"{name}:"
        elif kind == "CODE":
            yield False, f"{name}: {_meaning(part, 'ConceptCodeSequence')}"
        elif kind == "NUM":
            yield False, f"{name}: {_measured(part)}"
        yield from _lines(part, depth + 1)


def _heading(item: Any) -> str:
    return _meaning(item, "ConceptNameCodeSequence")


def _meaning(item: Any, keyword: str) -> str:
    codes = item.get(keyword)
    return str(codes[0].get("CodeMeaning") or "").strip() if codes else ""


def _measured(item: Any) -> str:
    values = item.get("MeasuredValueSequence")
    if not values:
        return "unknown"
    unit = values[0].get("MeasurementUnitsCodeSequence")
    return f"{values[0].get('NumericValue', '')} {unit[0].get('CodeValue', '') if unit else ''}".strip()


def _template(dataset: Any) -> str:
    templates = dataset.get("ContentTemplateSequence")
    return str(templates[0].get("TemplateIdentifier") or "") if templates else ""


def _studies(dataset: Any) -> Iterator[str]:
    """Yield the studies that it reports on: its own, and those of the requests that it answers."""
    yield str(dataset.get("StudyInstanceUID") or "")
    for request in dataset.get("ReferencedRequestSequence") or ():
        yield str(request.get("StudyInstanceUID") or "")


def _status(dataset: Any) -> DocumentStatus:
    if "addendum" in _heading(dataset).lower():
        return "addendum"
    if dataset.get("PreliminaryFlag") == "PRELIMINARY" or dataset.get("CompletionFlag") == "PARTIAL":
        return "preliminary"
    if dataset.get("PredecessorDocumentsSequence"):
        return "corrected"
    is_final = dataset.get("PreliminaryFlag") == "FINAL" or dataset.get("VerificationFlag") == "VERIFIED"
    return "final" if is_final else "unknown"


def _check_character_set(dataset: Any) -> None:
    """Refuse a character set that pydicom would replace by another one."""
    from pydicom.charset import python_encoding

    named = dataset.get("SpecificCharacterSet") or ""
    for name in [named] if isinstance(named, str) else named:
        if str(name).strip() not in python_encoding:
            raise ReportTextError(WHERE, "found an unknown SpecificCharacterSet", expected="one of DICOM's")
