"""A report as a source gives it, with the ids that say whose it is; and several reports of one study as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from medfuse.errors import DataError, ReportTextError
from medfuse.io.report_files import MAX_REPORT_BYTES, check_report, read_report
from medfuse.types import ReportText

__all__ = ["DocumentStatus", "Paired", "ReportDocument", "combined", "iso_time", "status_named"]

Paired = Path | ReportText | DataError
"""A study's report, or why it is not certain which one that is."""

DocumentStatus = Literal["preliminary", "final", "corrected", "addendum", "unknown"]

STATUSES: dict[str, DocumentStatus] = {
    "preliminary": "preliminary", "prelim": "preliminary", "p": "preliminary",
    "final": "final", "f": "final", "signed": "final",
    "corrected": "corrected", "amended": "corrected", "c": "corrected",
    "addendum": "addendum", "": "unknown", "unknown": "unknown",
}  # fmt: skip
"""As tables and HL7 (table 0085) write them."""

RANKS: tuple[DocumentStatus, ...] = ("corrected", "final", "preliminary")
"""Of reports that are no addendum the first kind that is there counts: a final one takes a preliminary one's place."""

WHERE = "report"


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A report and whose it is. Real ids stay in it: it is never shown, logged or written.

    Parameters
    ----------
    source : Path or ReportText
    study_uids, accessions, patient_ids : frozenset of str
        As far as it says them.
    name : str
        A study_uid or an accession number that the file is named by.
    status : {"preliminary", "final", "corrected", "addendum", "unknown"}
    time : str
        When it was made, ISO; empty if unknown.
    """

    source: Path | ReportText = field(repr=False)
    study_uids: frozenset[str] = field(default=frozenset(), repr=False)
    accessions: frozenset[str] = field(default=frozenset(), repr=False)
    patient_ids: frozenset[str] = field(default=frozenset(), repr=False)
    name: str = field(default="", repr=False)
    status: DocumentStatus = "unknown"
    time: str = ""

    def read(self) -> ReportText:
        """Return its text.

        Raises
        ------
        ReportTextError
            See `medfuse.io.report_files.read_report`.
        """
        text = read_report(self.source) if isinstance(self.source, Path) else check_report(self.source)
        if len(text.text) > MAX_REPORT_BYTES:
            raise ReportTextError(WHERE, "found a report that is too large", expected=f"at most {MAX_REPORT_BYTES}")
        status = "final" if self.status == "corrected" else self.status
        return replace(text, status=status, date=self.time[:10])


def status_named(text: str) -> DocumentStatus:
    """Return the status that a word or an HL7 code names, "unknown" if none.

    Examples
    --------
    >>> status_named("Final"), status_named("P"), status_named("?")
    ('final', 'preliminary', 'unknown')
    """
    return STATUSES.get(text.strip().lower(), "unknown")


def iso_time(digits: str) -> str:
    """Turn a time of HL7 or DICOM (YYYYMMDDHHMMSS, as far as it goes) into ISO form.

    Examples
    --------
    >>> iso_time("20240131095500.25+0100"), iso_time("20240131"), iso_time("?")
    ('2024-01-31T09:55:00', '2024-01-31', '')
    """
    digits = digits.partition("+")[0].partition("-")[0].partition(".")[0]
    if len(digits) < 8 or not digits.isdecimal():
        return ""
    day = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    clock = ":".join(part for part in (digits[8:10], digits[10:12], digits[12:14]) if len(part) == 2)
    return f"{day}T{clock}" if clock else day


def combined(documents: Sequence[ReportDocument]) -> tuple[Paired, str]:
    """Make one report of all those of a study, where their status and time say how; else refuse.

    A corrected report takes the place of a final one, that of a preliminary one; addenda follow, by time. Equal texts
    are one report.

    Parameters
    ----------
    documents : sequence of ReportDocument
        At least one.

    Returns
    -------
    report : Path, ReportText or DataError
    note : str
        What was done, if there was a choice.
    """
    if len(documents) == 1:
        (only,) = documents
        return (only.source, "") if only.status == "unknown" and not only.time else (_read(only), "")
    texts: dict[str, tuple[ReportDocument, ReportText]] = {}
    for document in documents:
        text = _read(document)
        if isinstance(text, DataError):
            return text, ""
        texts.setdefault(text.text.strip(), (document, text))
    different = list(texts.values())
    if len(different) == 1:
        return different[0][1], f"{len(documents)} reports of equal text"
    addenda = [pair for pair in different if pair[0].status == "addendum"]
    reports = [pair for pair in different if pair[0].status != "addendum"]
    main = _main(reports)
    times = [document.time for document, _ in addenda]
    if main is None or "" in times or len(set(times)) < len(times) or (times and min(times) < main[0].time):
        found = f"found {len(different)} reports for one study, more than one"
        expected = "one, or a status and time of each that order them (final after preliminary, then addenda)"
        return ReportTextError(WHERE, found, expected=expected), ""
    order = [main, *sorted(addenda, key=lambda pair: pair[0].time)]
    joined = "\n\n".join(part.text.strip() for _, part in order)
    note = f"{len(different)} reports: the {main[0].status} one" + (f" and {len(addenda)} addenda" if addenda else "")
    date = max(part.date for _, part in order)
    return replace(main[1], text=joined, status="addendum" if addenda else main[1].status, date=date), note


def _main(reports: Sequence[tuple[ReportDocument, ReportText]]) -> tuple[ReportDocument, ReportText] | None:
    """Return the report that counts, None if that is not certain."""
    if len(reports) == 1:
        return reports[0]
    if any(document.status == "unknown" for document, _ in reports):
        return None
    for status in RANKS:
        ranked = sorted((pair for pair in reports if pair[0].status == status), key=lambda pair: pair[0].time)
        if len(ranked) == 1:
            return ranked[0]
        if ranked:  # of several corrected or preliminary ones the last counts; two final ones contradict each other
            times = [document.time for document, _ in ranked]
            is_ordered = status != "final" and "" not in times and times[-1] > times[-2]
            return ranked[-1] if is_ordered else None
    return None


def _read(document: ReportDocument) -> ReportText | DataError:
    try:
        return document.read()
    except DataError as error:
        return error
