"""Annotated reports as one page: the text with its findings marked, and what is said of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from medfuse import __version__
from medfuse.reporting.marks import visible
from medfuse.reporting.pages import write_page
from medfuse.types import Finding, RadiologyReport

__all__ = ["TextPiece", "annotated_pieces", "write_annotated_reports"]

LABEL_WORDS = {1: "present", 0: "absent", -1: "uncertain"}
SCHEME_NAMES = {"chest14": "ChestX-ray14", "ctrate18": "CT-RATE"}


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A run of text: ``finding`` is what marks it, if anything does; ``is_heading`` is true outside of all sections."""

    text: str
    finding: Finding | None = None
    is_heading: bool = False


def write_annotated_reports(
    reports: Sequence[tuple[int, RadiologyReport]], path: Path, *, is_deidentified: bool = False
) -> Path:
    """Write annotated reports as a page without script that needs nothing but itself. It holds their text.

    Parameters
    ----------
    reports : sequence of (int, RadiologyReport)
        Each with its number.
    path : Path
    is_deidentified : bool
        Say on the page that identity was replaced by rule.

    Returns
    -------
    Path
        The file written.
    """
    shown = [
        {
            "number": number,
            "pieces": list(annotated_pieces(report)),
            "findings": [_row(report, finding) for finding in report.findings],
            "labels": [(SCHEME_NAMES.get(s, s), _labels(found)) for s, found in report.label_sets.items() if found],
        }
        for number, report in reports
    ]
    context = {
        "title": "Annotated report" if len(shown) == 1 else f"{len(shown)} annotated reports",
        "reports": shown,
        "is_deidentified": is_deidentified,
        "provenance": {"made by": f"medfuse {__version__}, by rules; no model was used"},
    }
    return write_page(path, "annotated.html", context)


def annotated_pieces(report: RadiologyReport) -> Iterator[TextPiece]:
    """Cut a report at its findings and headings; the pieces joined are the text, hidden characters made visible.

    Parameters
    ----------
    report : RadiologyReport

    Yields
    ------
    TextPiece
        Of findings that overlap the first is marked; all are in the table beside the text.

    Examples
    --------
    >>> from medfuse.text import annotate
    >>> [(p.text, p.finding and p.finding.status) for p in annotated_pieces(annotate("No nodule."))]
    [('No ', None), ('nodule', 'absent'), ('.', None)]
    """
    marked: list[Finding] = []
    for finding in sorted(report.findings, key=lambda f: (f.start, -f.end)):
        if not marked or finding.start >= marked[-1].end:
            marked.append(finding)
    starts = {finding.start: finding for finding in marked}
    bodies = [(section.start, section.end) for section in report.sections]
    cuts = {0, len(report.text), *(c for f in marked for c in (f.start, f.end)), *(c for body in bodies for c in body)}
    inside = _Inside(bodies)
    current: Finding | None = None
    for start, end in pairwise(sorted(cuts)):
        current = starts.get(start, current if current and start < current.end else None)
        yield TextPiece(visible(report.text[start:end]), current, not inside(start))


class _Inside:
    """Tells, for growing offsets, whether one lies in any of some sorted spans."""

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._spans = sorted(spans)
        self._at = 0

    def __call__(self, offset: int) -> bool:
        while self._at < len(self._spans) and self._spans[self._at][1] <= offset:
            self._at += 1
        return self._at < len(self._spans) and self._spans[self._at][0] <= offset


def _row(report: RadiologyReport, finding: Finding) -> Mapping[str, str]:
    size = " × ".join(f"{axis:g}" for axis in finding.size_mm)
    before = " × ".join(f"{axis:g}" for axis in finding.previous_size_mm)
    if finding.size_below_mm is not None and not size:
        size = f"below {finding.size_below_mm:g}"
    about = [finding.change, finding.laterality, finding.anatomy, "in the family" * (finding.experiencer == "family")]
    return {
        "words": visible(" ".join(report.text[finding.start : finding.end].split())),
        "concept": finding.concept.replace("_", " "),
        "status": finding.status,
        "certainty": f"{finding.certainty:g}",
        "about": ", ".join(word for word in about if word).replace("_", " "),
        "size": f"{size} mm" if size else "",
        "before": f"before {before} mm" if before else "",
        "section": finding.section,
    }


def _labels(labels: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, LABEL_WORDS[value]) for name, value in labels.items()]
