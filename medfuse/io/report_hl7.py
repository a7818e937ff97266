r"""HL7 v2 messages (ORU) -> reports: the text of their OBX segments, and the ids that say whose it is.

Source: HL7 v2.5 chapters 2 and 7; IHE Radiology for the places of accession number and StudyInstanceUID.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from medfuse.errors import ReportTextError
from medfuse.io.report_documents import DocumentStatus, ReportDocument, iso_time, status_named
from medfuse.io.report_encodings import decode_text
from medfuse.types import ReportText

__all__ = ["is_hl7", "read_hl7"]

TEXT_TYPES = ("TX", "FT", "ST")
STUDY_UID_CODES = ("113014", "110180")
"""Of an observation that is no text but the StudyInstanceUID. Source: DICOM PS3.16 annex D."""

HEADINGS = {"GDT": "FINDINGS:", "IMP": "IMPRESSION:", "REC": "RECOMMENDATION:", "ADT": "ADDENDUM:"}
"""Of observations by their suffix. Source: HL7 v2.3.1 7.3.2.3."""

CHARACTER_SETS = {"ASCII": "ascii", "8859/1": "latin-1", "8859/2": "iso8859-2", "8859/15": "iso8859-15",
                  "UNICODE UTF-8": "utf-8"}  # fmt: skip
"""MSH-18. Source: HL7 table 0211."""

ESCAPED = re.compile(r"\\([^\\\r\n]{1,16})\\")
WHERE = "HL7 message"


@dataclass(slots=True)
class _Group:
    """One OBR segment and what follows it."""

    order: Sequence[str]
    lines: list[str] = field(default_factory=list)
    suffixes: set[str] = field(default_factory=set)
    statuses: set[str] = field(default_factory=set)


def is_hl7(data: bytes) -> bool:
    r"""Tell by its start whether a file holds HL7 v2 messages.

    Examples
    --------
    >>> is_hl7(b"MSH|^~\\&|RIS|"), is_hl7(b"Report of 3 May")
    (True, False)
    """
    return data.lstrip(b"\xef\xbb\xbf\x0b\r\n ")[:4] in (b"MSH|", b"FHS|", b"BHS|")


def read_hl7(data: bytes) -> list[ReportDocument]:
    """Read the reports of HL7 v2 messages.

    Parameters
    ----------
    data : bytes
        One message or several.

    Returns
    -------
    list of ReportDocument
        One an OBR segment that has text. Its accession number is that of IPC-1 or OBR-18; else OBR-3, the filler's
        order number, is its name. Its StudyInstanceUID is that of IPC-3, ZDS-1 or an observation of that name.

    Raises
    ------
    ReportTextError
        If the character set is unknown, or there is no text (but, say, a PDF).
    """
    documents = [document for message in _messages(_decoded(data)) for document in _documents(message)]
    if not documents:
        raise ReportTextError(WHERE, "found no observation (OBX) that is text", expected="TX, FT or ST")
    return documents


def _decoded(data: bytes) -> str:
    start = re.search(rb"MSH\|[^\r\n]*", data)
    fields = start.group().split(b"|") if start else []
    named = fields[17].split(b"~")[0].decode("ascii", "replace").strip() if len(fields) > 17 else ""
    if not named:
        return decode_text(data)[0]
    try:
        return data.decode(CHARACTER_SETS[named.upper()])
    except (KeyError, UnicodeDecodeError) as error:
        raise ReportTextError(WHERE, "found an unknown or wrong character set (MSH-18)", expected="UTF-8") from error


def _messages(text: str) -> Iterator[list[list[str]]]:
    """Yield the segments of each message, as fields from 0; those of MSH are shifted so that numbers are HL7's."""
    message: list[list[str]] = []
    for line in re.split(r"[\r\n\x0b\x1c]+", text.lstrip("\ufeff")):
        if line.startswith("MSH") and line != "MSH":  # the fourth character divides the fields
            if message:
                yield message
            message = [["MSH", line[3:4], *line[4:].split(line[3:4])]]
        elif message and line.strip():
            message.append(line.split(message[0][1]))
    if message:
        yield message


def _documents(message: list[list[str]]) -> Iterator[ReportDocument]:
    patients, accessions, studies = set[str](), set[str](), set[str]()
    groups: list[_Group] = []
    for segment in message:
        kind = segment[0]
        if kind == "PID":
            patients |= {_component(part, 0) for part in _field(segment, 3).split("~")}
        elif kind == "ZDS":
            studies.add(_component(_field(segment, 1), 0))
        elif kind == "IPC":
            accessions.add(_component(_field(segment, 1), 0))
            studies.add(_component(_field(segment, 3), 0))
        elif kind == "OBR":
            groups.append(_Group(segment))
        elif kind == "OBX" and groups:
            if _component(_field(segment, 3), 0) in STUDY_UID_CODES:
                studies.add(_component(_field(segment, 5), 0))
            elif _field(segment, 2) in TEXT_TYPES:
                _observe(segment, groups[-1])
    sent = iso_time(_field(message[0], 7))
    for group in groups:
        text = "\n".join(group.lines)
        if text.strip():
            own = (accessions | {_component(_field(group.order, 18), 0)}) - {""}
            time = iso_time(_field(group.order, 22)) or sent
            yield ReportDocument(
                ReportText(text, source=WHERE),
                frozenset(studies - {""}),
                frozenset(own),
                frozenset(patients - {""}),
                name="" if own else _component(_field(group.order, 3), 0),
                status=_status(group),
                time=time,
            )


def _observe(segment: Sequence[str], group: _Group) -> None:
    """Add the lines of an OBX segment, under its heading where that changes."""
    suffix = _component(_field(segment, 3), 0).partition("&")[2]
    if suffix in HEADINGS and suffix not in group.suffixes:
        group.lines.append(HEADINGS[suffix])
    group.suffixes.add(suffix)
    group.statuses.add(_field(segment, 11))
    group.lines += [_unescaped(part) for part in _field(segment, 5).split("~")]


def _status(group: _Group) -> DocumentStatus:
    if group.suffixes == {"ADT"}:
        return "addendum"
    stated = _field(group.order, 25)
    if not stated and len(group.statuses) == 1:
        (stated,) = group.statuses
    return status_named(stated)


def _unescaped(text: str) -> str:
    return ESCAPED.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    code = match.group(1)
    if code in "FSTRE":
        return {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}[code]
    if code.lower().startswith((".br", ".sp", ".ce")) or code.upper() in ("X0D", "X0A", "X0D0A", "X0A0D"):
        return "\n"
    return "" if code in ("H", "N") or code.startswith(".") else match.group()


def _field(segment: Sequence[str], number: int) -> str:
    return segment[number].strip() if number < len(segment) else ""


def _component(text: str, number: int) -> str:
    parts = text.split("^")
    return parts[number].strip() if number < len(parts) else ""
