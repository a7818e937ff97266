"""Text -> RadiologyReport."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from medfuse.errors import ReportTextError, UsageError
from medfuse.text.findings import place_findings
from medfuse.text.labels import make_labels
from medfuse.text.language import check_language
from medfuse.text.lexicon import Lexicon, load_lexicon
from medfuse.text.reading import read_passage
from medfuse.text.sections import find_headings, sections_of
from medfuse.text.sentences import passages_of
from medfuse.types import RadiologyReport

__all__ = ["annotate", "annotate_many"]


def annotate(text: str, *, lexicon: Lexicon | None = None) -> RadiologyReport:
    """Annotate one report.

    Parameters
    ----------
    text : str
        English; every offset of the result points into it.
    lexicon : Lexicon, optional
        From `load_lexicon`, with concepts of one's own; by default the room's.

    Returns
    -------
    RadiologyReport

    Raises
    ------
    ReportTextError
        If the text holds no word, or is in a language that the lexicon does not cover: that nothing
        is found in it would not mean that nothing is there.

    Examples
    --------
    >>> report = annotate("FINDINGS: A 9 mm spiculated nodule. No pleural effusion.")
    >>> [(f.concept, f.status, f.size_mm) for f in report.findings]
    [('spiculation', 'present', ()), ('nodule', 'present', (9.0,)), ('pleural_effusion', 'absent', ())]
    >>> report.labels("chest14")
    {'Nodule': 1, 'Effusion': 0}
    """
    report = _annotate(text, lexicon or load_lexicon(), where="report")
    if not report.language:
        raise ReportTextError("report", "found no word", expected="at least one word")
    return report


def annotate_many(texts: Iterable[str], *, batch_size: int = 64) -> Iterator[RadiologyReport]:
    """Annotate report after report, in memory that does not grow with their number.

    Reports repeat their sentences: the 8192 passages of at most 300 characters that were read last are remembered
    with what they say, in the memory of this process alone.

    Parameters
    ----------
    texts : iterable of str
        Read as the answers are taken.
    batch_size : int
        Reports read and annotated at a time.

    Yields
    ------
    RadiologyReport
        One a text, in order. A text without a word, which `annotate` refuses, has no section, sentence, finding or
        language: one blank row does not end the table.

    Raises
    ------
    UsageError
        If `batch_size` is below 1.
    ReportTextError
        If a text is in a language that the lexicon does not cover, by its number.

    Examples
    --------
    >>> [len(report.findings) for report in annotate_many(["A nodule.", ""])]
    [1, 0]
    """
    if batch_size < 1:
        raise UsageError("batch_size", "found a number below 1", expected="1 or more")
    return _annotate_batches(enumerate(texts), batch_size)


def _annotate_batches(texts: Iterator[tuple[int, str]], batch_size: int) -> Iterator[RadiologyReport]:
    lexicon = load_lexicon()
    while batch := list(islice(texts, batch_size)):
        yield from [_annotate(text, lexicon, where=f"report {number}") for number, text in batch]


def _annotate(text: str, lexicon: Lexicon, *, where: str) -> RadiologyReport:
    language = check_language(text, lexicon, where=where)
    headings = find_headings(text)
    sections = sections_of(text, headings)
    readings = [
        (offset + start, offset + end, reading)
        for offset, passage in passages_of(text, headings)
        for start, end, reading in read_passage(passage, lexicon)
    ]
    sentences = tuple([(start, end) for start, end, _ in readings])
    findings = place_findings(text, readings, sections=sections, headings=headings, lexicon=lexicon)
    return RadiologyReport(text, sections, sentences, findings, language, make_labels(findings))
