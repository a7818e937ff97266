"""Reports in, one line of annotations a report out. One bad report never stops the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from medfuse.errors import DataError, UsageError
from medfuse.io.report_rows import ReportRow
from medfuse.text import annotate, deidentify_report, examination_of, report_warnings
from medfuse.types import Finding, RadiologyReport, ReportText

__all__ = ["AnnotateSummary", "TextUse", "annotate_reports"]

NAMED = 20
FINDING_FIELDS = tuple(field.name for field in fields(Finding))


@dataclass(frozen=True, slots=True)
class TextUse:
    """What may leave of the reports' own words.

    Parameters
    ----------
    is_written : bool
        Write the text into each line.
    is_deidentified : bool
        Replace identity in it by rule, best effort; offsets then point into the new text.
    n_shown : int
        Keep so many annotated reports in the summary, for a page.
    """

    is_written: bool = False
    is_deidentified: bool = False
    n_shown: int = 0


@dataclass(frozen=True, slots=True)
class AnnotateSummary:
    """How it ended: reports annotated, with a warning, and refused; the first of each by row."""

    n_annotated: int
    n_warned: int
    n_refused: int
    warned: tuple[tuple[int, str], ...]
    refused: tuple[tuple[int, str], ...]
    shown: tuple[tuple[int, RadiologyReport], ...]


def annotate_reports(
    rows: Iterable[ReportRow],
    out: Path,
    *,
    use: TextUse | None = None,
    overwrite: bool = False,
    count: Callable[[Iterable[ReportRow]], Iterable[ReportRow]] = iter,
) -> AnnotateSummary:
    """Annotate reports one after another into a JSONL file, in memory that does not grow with their number.

    Parameters
    ----------
    rows : iterable of ReportRow
        As `medfuse.io.report_rows.read_report_rows` gives them.
    out : Path
        Gets an object a line: ``row, status`` (annotated or refused), then ``reason``, or ``language, encoding,
        n_characters, warnings, examination, sections, sentences, findings, labels``. No id of a patient and, unless
        asked for, no text. It is there only once it is whole.
    use : TextUse, optional
        By default no text leaves.
    overwrite : bool
        Replace a file that exists.
    count : callable
        Wraps the rows, for example to show how many are done.

    Returns
    -------
    AnnotateSummary

    Raises
    ------
    UsageError
        If ``out`` exists, or cannot be written.
    """
    use = use or TextUse()
    if out.exists() and not overwrite:
        raise UsageError("--out", "found a file that exists", expected="a new name, or --overwrite")
    n_annotated = n_warned = n_refused = 0
    warned: list[tuple[int, str]] = []
    refused: list[tuple[int, str]] = []
    shown: list[tuple[int, RadiologyReport]] = []
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for row, source, report in _annotated(count(rows)):
                if isinstance(report, DataError):
                    n_refused += 1
                    if len(refused) < NAMED:
                        refused.append((row, str(report)))
                    line: Mapping[str, Any] = {"row": row, "status": "refused", "reason": str(report)}
                    line = {**line, "warnings": source.warnings} if source.warnings else line
                else:
                    n_annotated += 1
                    notes = (*source.warnings, *report_warnings(source.text))
                    n_warned += bool(notes)
                    if notes and len(warned) < NAMED:
                        warned.append((row, "; ".join(notes)))
                    safe = deidentify_report(report) if use.is_deidentified else report
                    if len(shown) < use.n_shown:
                        shown.append((row, safe))
                    line = _line(row, source, safe, notes)
                    line = {**line, "text": safe.text} if use.is_written else line
                file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    except OSError as error:
        raise UsageError("--out", f"cannot be written ({type(error).__name__})", expected="a writable place") from error
    finally:
        partial.unlink(missing_ok=True)
    return AnnotateSummary(n_annotated, n_warned, n_refused, tuple(warned), tuple(refused), tuple(shown))


def _annotated(rows: Iterable[ReportRow]) -> Iterator[tuple[int, ReportText, RadiologyReport | DataError]]:
    nothing = ReportText("")
    for row, source in rows:
        if isinstance(source, DataError):
            yield row, nothing, source
            continue
        try:
            yield row, source, annotate(source.text)
        except DataError as error:
            yield row, source, error


def _line(row: int, source: ReportText, report: RadiologyReport, notes: tuple[str, ...]) -> Mapping[str, Any]:
    modalities, parts = examination_of(source.text)
    return {
        "row": row,
        "status": "annotated",
        "language": report.language,
        "encoding": source.encoding,
        "n_characters": len(report.text),
        "warnings": notes,
        "examination": {"modality": sorted(modalities), "body_part": sorted(parts)},
        "sections": [{"name": s.name, "start": s.start, "end": s.end} for s in report.sections],
        "sentences": report.sentences,
        "findings": [{name: getattr(finding, name) for name in FINDING_FIELDS} for finding in report.findings],
        "labels": {scheme: dict(labels) for scheme, labels in report.label_sets.items()},
    }
