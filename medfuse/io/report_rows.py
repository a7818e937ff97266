"""Reports one after another, whatever holds them, in memory that does not grow with their number."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, TextIO

from medfuse.errors import DataError, ManifestError, ReportTextError
from medfuse.io.containers import Problems, open_bytes
from medfuse.io.files import is_archive
from medfuse.io.report_encodings import decode_text
from medfuse.io.report_files import MAX_REPORT_BYTES, check_report, parse_report, read_report
from medfuse.io.report_hl7 import is_hl7
from medfuse.io.report_sources import read_documents
from medfuse.types import ReportText

__all__ = ["ReportRow", "read_report_rows"]

TEXT_COLUMNS = ("report_text", "report", "text")
TABLES, LINES = (".csv", ".tsv"), (".jsonl", ".ndjson")
DELIMITERS = ",;\t"
MAX_CELL = 8 * MAX_REPORT_BYTES
"""Above it a quote was opened and never closed; the file cannot be read on from there."""


class ReportRow(NamedTuple):
    """One report of many.

    ``row`` is the row of a table as a spreadsheet shows it (the first below the header is 2), the line of a JSONL, else
    the report's number. ``report`` is an error where it cannot be read.
    """

    row: int
    report: ReportText | DataError


def read_report_rows(source: Path, *, column: str = "") -> Iterator[ReportRow]:
    """Read every report of a file or folder.

    Parameters
    ----------
    source : Path
        A CSV (comma, semicolon or tab; UTF-8, UTF-16, or another encoding, row by row) or a JSONL with an object a
        line; one report in a file of its own; HL7 v2 messages; a DICOM SR; or a folder, zip or tar of reports.
    column : str
        Column, or key of a JSONL, that holds the text; by default report_text, report or text.

    Yields
    ------
    ReportRow
        Each report once, in order, also where it cannot be read.

    Raises
    ------
    ManifestError
        If there is no such file or column, or a table breaks off within a cell.
    """
    if not source.exists():
        raise ManifestError("reports", "found no such file or folder", expected="a CSV, JSONL or report file")
    suffix = source.suffix.lower()
    try:
        if suffix in TABLES:
            yield from _table_rows(source, column)
            return
        if suffix in LINES:
            yield from _json_rows(source, column)
            return
    except OSError as error:
        found = f"cannot be read ({type(error).__name__})"
        raise ManifestError(source.name, found, expected="a CSV or JSONL file") from error
    except UnicodeError as error:
        raise ManifestError(source.name, "found broken UTF-16", expected="a table in one encoding") from error
    if is_archive(source) or suffix in (".dcm", ".hl7") or _is_hl7(source):
        yield from _documents(source)
    else:
        yield ReportRow(1, _read(source))


def _read(path: Path) -> ReportText | DataError:
    try:
        return read_report(path)
    except DataError as error:
        return error


def _is_hl7(path: Path) -> bool:
    try:
        with open_bytes(path) as file:
            return is_hl7(file.read(64))
    except OSError:  # which reading it will say
        return False


def _documents(source: Path) -> Iterator[ReportRow]:
    problems: Problems = []
    number = 0
    for number, document in enumerate(read_documents(source, problems=problems), start=1):
        try:
            yield ReportRow(number, document.read())
        except DataError as error:
            yield ReportRow(number, error)
    for further, (_, problem) in enumerate(problems, start=number + 1):
        yield ReportRow(further, problem)
    if not number and not problems:
        raise ManifestError("reports", "found no report", expected="at least one report file")


def _table_rows(path: Path, column: str) -> Iterator[ReportRow]:
    # Bytes that are not UTF-8 are kept as they are, so that each cell can be decoded for itself.
    with path.open(encoding=_wide_encoding(path), errors="surrogateescape", newline="") as file:
        limit = csv.field_size_limit(MAX_CELL)
        try:
            yield from _cells(file, path, column)
        finally:
            csv.field_size_limit(limit)


def _cells(file: TextIO, path: Path, column: str) -> Iterator[ReportRow]:
    header = file.readline(MAX_REPORT_BYTES)
    delimiter = max(DELIMITERS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    place = _place(path, names, column)
    rows = csv.reader(file, delimiter=delimiter)
    number = 1
    try:
        for cells in rows:
            if not cells:
                continue
            number += 1
            if len(cells) == len(names):
                yield ReportRow(number, _report_of(cells[place]))
            else:
                found = f"found {len(cells)} cells"
                yield ReportRow(number, ReportTextError("report", found, expected=f"{len(names)}, as in the header"))
    except csv.Error as error:
        found = "found a cell that does not end: a quote that is never closed"
        raise ManifestError(f"{path.name} row {number + 1}", found, expected="a closed quote") from error
    if number == 1:
        raise ManifestError(path.name, "found no row", expected="at least one")


def _json_rows(path: Path, column: str) -> Iterator[ReportRow]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_CELL), b""), start=1):
            if line.strip():
                yield ReportRow(number, _json_report(line, column))


def _json_report(line: bytes, column: str) -> ReportText | DataError:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return ReportTextError("report", "found no JSON object", expected="one a line")
    named = next((name for name in ([column] if column else TEXT_COLUMNS) if name in record), None)
    text = record.get(named) if named else None
    if not isinstance(text, str):
        wanted = repr(column) if column else " or ".join(map(repr, TEXT_COLUMNS))
        return ReportTextError("report", "found no text", expected=f"it as {wanted}")
    return _report_of(text)


def _report_of(cell: str) -> ReportText | DataError:
    if len(cell) > MAX_REPORT_BYTES:
        return ReportTextError("report", "found a report that is too large", expected=f"at most {MAX_REPORT_BYTES}")
    try:
        if any("\udc80" <= character <= "\udcff" for character in cell):
            text, encoding = decode_text(cell.encode("utf-8", "surrogateescape"))
            return check_report(ReportText(text, encoding))
        if cell.startswith("MSH|"):
            return parse_report(cell.encode())
        cell.encode()  # a lone surrogate, which JSON can write, is no character
        return check_report(ReportText(cell))
    except DataError as error:
        return error
    except UnicodeEncodeError:
        return ReportTextError("report", "found half a character (a lone surrogate)", expected="whole characters")


def _wide_encoding(path: Path) -> str:
    """Return UTF-16 where a table begins with its mark, else UTF-8."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _place(path: Path, names: list[str], column: str) -> int:
    """Return where the text is; the message never lists a header, which may be a row of patients."""
    for name in [column] if column else TEXT_COLUMNS:
        if name in names:
            return names.index(name)
    wanted = column or TEXT_COLUMNS[0]
    near = get_close_matches(wanted, names, n=1, cutoff=0.7)
    hint = f" (did you mean --column {near[0]!r}?)" if near else ""
    raise ManifestError(path.name, f"found no column {wanted!r}", expected=f"it, or --column with its name{hint}")
