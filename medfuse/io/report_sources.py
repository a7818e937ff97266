"""Whatever a user gives as reports -> documents: text files, tables (CSV, JSONL), HL7 messages, DICOM SR."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from medfuse.errors import DataError, ManifestError
from medfuse.io.containers import Problems, open_bytes
from medfuse.io.files import input_files, is_archive
from medfuse.io.marked_lesions import study_of_object
from medfuse.io.report_documents import ReportDocument, status_named
from medfuse.io.report_files import MAX_REPORT_BYTES
from medfuse.io.report_hl7 import is_hl7, read_hl7
from medfuse.io.report_sr import REPORT_CLASSES, read_sr
from medfuse.io.tables import inside, read_table, wrong_cell
from medfuse.types import ReportText

__all__ = ["read_documents"]

IDS, TEXTS = ("study_uid", "accession_number"), ("report_path", "report_text")
COLUMNS = (*IDS, "patient_id", *TEXTS, "status", "report_date")
SYNONYMS = {
    "StudyInstanceUID": "study_uid", "study_id": "study_uid", "AccessionNumber": "accession_number",
    "accession": "accession_number", "PatientID": "patient_id", "report": "report_text", "text": "report_text",
}  # fmt: skip
TEXT_SUFFIXES = (".txt", ".rtf", ".html", ".htm", ".xml")
MAX_MESSAGE_BYTES = 256 * 2**20
MAX_LINE_BYTES = 8 * MAX_REPORT_BYTES


def read_documents(source: Path, *, problems: Problems) -> Iterator[ReportDocument]:
    """Read the reports that a user gives.

    Parameters
    ----------
    source : Path
        A table: a CSV, or a JSONL with an object a line, whose columns are ``study_uid`` or ``accession_number``,
        ``report_path`` or ``report_text``, and perhaps ``patient_id``, ``status`` (preliminary, final, corrected,
        addendum) and ``report_date`` (ISO, with a time if there is one). HL7 v2 messages (.hl7). A DICOM SR. Or a
        folder, zip or tar of any of these and of ``<StudyInstanceUID or AccessionNumber>.txt`` (.rtf, .html, .xml).
    problems : list
        Gets (path, error) of each file that cannot be read.

    Yields
    ------
    ReportDocument

    Raises
    ------
    ManifestError
        If a table is wrong, or there is no such file or folder.
    """
    if not source.exists():
        raise ManifestError("reports", "found no such file or folder", expected="a table, HL7 messages or a folder")
    for path in input_files(source, problems=problems):
        try:
            yield from _documents(path, is_alone=not is_archive(source))
        except ManifestError:
            raise
        except DataError as error:
            problems.append((path, error))


def _documents(path: Path, *, is_alone: bool) -> Iterator[ReportDocument]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        frame = read_table(path, required=(), known=COLUMNS, synonyms=SYNONYMS)
        for row, record in enumerate(frame.to_dict("records")):
            yield _listed(path, row, {str(key): str(value) for key, value in record.items()})
    elif suffix in (".jsonl", ".ndjson"):
        yield from _json_lines(path)
    elif suffix in (*TEXT_SUFFIXES, ".hl7"):
        with open_bytes(path) as file:
            start = file.read(64)
            if is_hl7(start):
                yield from read_hl7(start + file.read(MAX_MESSAGE_BYTES))
            elif suffix in TEXT_SUFFIXES:
                yield ReportDocument(path, name=path.stem)
    elif study_of_object(path, REPORT_CLASSES) is not None and (document := read_sr(path)) is not None:
        yield document
    elif is_alone:
        raise ManifestError(path.name, "found no reports", expected="a CSV, JSONL, HL7 or DICOM SR file, or a folder")


def _json_lines(path: Path) -> Iterator[ReportDocument]:
    with path.open("rb") as file:
        for row, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), start=-1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise ManifestError(f"{path.name} line {row + 2}", "found no JSON object", expected="one a line")
            named = {SYNONYMS.get(str(key), str(key)): value for key, value in record.items()}
            yield _listed(path, row, {key: "" if value is None else str(value) for key, value in named.items()})


def _listed(path: Path, row: int, record: Mapping[str, str]) -> ReportDocument:
    """Return the report of one row of a table."""
    ids = {column: record.get(column, "").strip() for column in (*IDS, "patient_id")}
    if not any(ids[column] for column in IDS):
        wrong_cell(path, row, IDS[0], "found neither study_uid nor accession_number", "one of them in each row")
    place, text = (record.get(column, "") for column in TEXTS)
    if bool(place) == bool(text.strip()):
        found = "found report_path and report_text" if place else "found neither report_path nor report_text"
        wrong_cell(path, row, TEXTS[1], found, "one of them in each row")
    if record.get("status") and status_named(record["status"]) == "unknown":
        wrong_cell(path, row, "status", "found another status", "preliminary, final, corrected or addendum")
    study, accession, patient = (frozenset(filter(None, [value])) for value in ids.values())
    return ReportDocument(
        inside(path, row, TEXTS[0], place) if place else ReportText(text, source=f"row {row + 2}"),
        study,
        accession,
        patient,
        status=status_named(record.get("status", "")),
        time=record.get("report_date", "").strip().replace(" ", "T"),
    )
