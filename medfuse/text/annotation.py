"""Text -> RadiologyReport."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from medfuse.errors import ReportTextError, UsageError
from medfuse.text.findings import find_findings
from medfuse.text.sections import find_sections
from medfuse.text.sentences import find_sentences
from medfuse.types import RadiologyReport

__all__ = ["annotate", "annotate_many"]


def annotate(text: str) -> RadiologyReport:
    """Annotate one report.

    Parameters
    ----------
    text : str
        English; every offset of the result points into it.

    Returns
    -------
    RadiologyReport

    Raises
    ------
    ReportTextError
        If the text holds no letter and no digit.

    Examples
    --------
    >>> report = annotate("FINDINGS: A 9 mm spiculated nodule. No pleural effusion.")
    >>> [(f.concept, f.status, f.size_mm) for f in report.findings]
    [('spiculation', 'present', ()), ('nodule', 'present', (9.0,)), ('pleural_effusion', 'absent', ())]
    """
    if not any(character.isalnum() for character in text):
        raise ReportTextError("report", "found no word", expected="text with at least one letter or digit")
    return next(annotate_many([text]))


def annotate_many(texts: Iterable[str], *, batch_size: int = 64) -> Iterator[RadiologyReport]:
    """Annotate report after report, in memory that does not grow with their number.

    Parameters
    ----------
    texts : iterable of str
        Read as the answers are taken.
    batch_size : int
        Reports read and annotated at a time.

    Yields
    ------
    RadiologyReport
        One a text, in order. A text without a word, which `annotate` refuses, has no section, sentence or
        finding: one blank row does not end the table.

    Raises
    ------
    UsageError
        If `batch_size` is below 1.

    Examples
    --------
    >>> [len(report.findings) for report in annotate_many(["A nodule.", ""])]
    [1, 0]
    """
    if batch_size < 1:
        raise UsageError("batch_size", "found a number below 1", expected="1 or more")
    return _annotate_batches(iter(texts), batch_size)


def _annotate_batches(texts: Iterator[str], batch_size: int) -> Iterator[RadiologyReport]:
    while batch := list(islice(texts, batch_size)):
        yield from [_annotate(text) for text in batch]


def _annotate(text: str) -> RadiologyReport:
    sections = find_sections(text)
    sentences = find_sentences(text)
    return RadiologyReport(text, sections, sentences, find_findings(text, sections, sentences))
