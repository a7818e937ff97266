"""Report files -> ReportText: in any usual encoding, plain or as RTF, HTML, XML or one HL7 v2 message."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from medfuse.errors import ReportTextError
from medfuse.io.containers import open_bytes
from medfuse.io.report_encodings import decode_text
from medfuse.io.report_markup import plain_text
from medfuse.types import ReportText

__all__ = ["MAX_REPORT_BYTES", "check_report", "parse_report", "read_report"]

MAX_REPORT_BYTES = 1 << 20
"""1 MiB: some 300 pages; more is no report."""
LONG_REPORT = 50_000
"""Characters, some 15 pages: no model reads more, and most reports above it are several in one."""

OTHER_FORMATS = {
    b"%PDF-": "a PDF", b"PK\x03\x04": "a zip or Office file", b"\xd0\xcf\x11\xe0": "an old Office file",
    b"\x89PNG": "an image", b"\xff\xd8\xff": "an image", b"II*\0": "an image", b"MM\0*": "an image",
    b"\x1f\x8b": "a compressed file",
}  # fmt: skip
DIRECTION_MARKS = re.compile("[\u202a-\u202e\u2066-\u2069]")
LINE_ENDS = re.compile("\r(?!\n)|[\v\x85\u2028\u2029]")
"""Other line ends than LF and CR LF; each is one character long, so that every offset stays."""
REPLACED = "\ufffd"

WHERE = "report file"


def read_report(path: Path) -> ReportText:
    """Read a report from a file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ReportText
        See `parse_report`.

    Raises
    ------
    ReportTextError
        If the file cannot be opened, or as `parse_report` says.
    """
    try:
        with open_bytes(path) as file:
            data = file.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise ReportTextError(WHERE, f"cannot be read ({type(error).__name__})", expected="a text file") from error
    return parse_report(data)


def parse_report(data: bytes) -> ReportText:
    r"""Read a report from the bytes of a file.

    Parameters
    ----------
    data : bytes
        Text as `medfuse.io.report_encodings.decode_text` takes it; plain, RTF, HTML, XML, or HL7 v2 messages with
        one report.

    Returns
    -------
    ReportText
        Its words without markup, the encoding that they were in, and what was noticed as warnings.

    Raises
    ------
    ReportTextError
        If it is above `MAX_REPORT_BYTES`, another format (a PDF, say), no text, several reports, or empty.

    Examples
    --------
    >>> parse_report("Größe 3 mm".encode("cp1252")).warnings
    ('decoded from encoding cp1252, as its bytes suggest; no mark says so',)
    """
    from medfuse.io.report_hl7 import is_hl7, read_hl7  # which itself needs check_report

    if len(data) > MAX_REPORT_BYTES:
        raise ReportTextError(WHERE, "found a report that is too large", expected=f"at most {MAX_REPORT_BYTES} bytes")
    for start, name in OTHER_FORMATS.items():
        if data.startswith(start):
            raise ReportTextError(WHERE, f"found {name}, which is no text", expected="text, RTF, HTML, XML or HL7 v2")
    if is_hl7(data[:64]):
        documents = read_hl7(data)
        if len(documents) > 1:
            found = f"found HL7 v2 messages with {len(documents)} reports"
            raise ReportTextError(WHERE, found, expected="one report a file, or the file as --reports")
        report = documents[0].read()
        return replace(report, warnings=(*report.warnings, "read from an HL7 v2 message: the text of its observations"))
    text, encoding = decode_text(data)
    return check_report(ReportText(text, encoding, source=WHERE))


def check_report(report: ReportText) -> ReportText:
    """Return a report without markup, with what is worth saying of it as warnings.

    Parameters
    ----------
    report : ReportText

    Returns
    -------
    ReportText
        The same, where its text is plain and nothing is to be said; every line ends in LF or CR LF.

    Raises
    ------
    ReportTextError
        If it holds no word, a NUL or broken markup.

    Examples
    --------
    >>> check_report(ReportText("No nodule.")).text
    'No nodule.'
    """
    if "\0" in report.text:
        raise ReportTextError("report", "found a NUL control character (binary data)", expected="text")
    text, kind = plain_text(LINE_ENDS.sub("\n", report.text))
    if not any(character.isalnum() for character in text):
        of_kind = f" in its {kind}" if kind else ""
        raise ReportTextError("report", f"found an empty report, no text{of_kind}", expected="at least one word")
    notes = []
    if report.encoding not in ("utf-8", "utf-8-sig", "ascii"):
        sure = "" if report.encoding in ("utf-16", "utf-32") else ", as its bytes suggest; no mark says so"
        notes.append(f"decoded from encoding {report.encoding.upper() if not sure else report.encoding}{sure}")
    if kind:
        notes.append(f"read from {kind}: its text without the markup")
    if len(text) > LONG_REPORT:
        notes.append(f"long report: {len(text)} characters; a model reads its start, the rest is truncated")
    if DIRECTION_MARKS.search(text):
        notes.append("holds bidirectional control characters, which can hide or reorder words on a screen")
    if REPLACED in text:
        notes.append("holds replacement characters: an earlier system decoded it in a wrong encoding")
    return replace(report, text=text, warnings=(*report.warnings, *(n for n in notes if n not in report.warnings)))
