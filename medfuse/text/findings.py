"""Concepts of the lexicon, each with what the report says of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

from medfuse.text.context import is_history
from medfuse.text.lexicon import Lexicon, load_lexicon
from medfuse.text.reading import Reading, add_size, fill_finding, read_sentence
from medfuse.types import Finding, Section

__all__ = ["find_findings", "place_findings"]

Heading = tuple[str, int, int]


def find_findings(
    text: str,
    sections: Sequence[Section],
    sentences: Sequence[tuple[int, int]],
    *,
    headings: Sequence[Heading] = (),
    lexicon: Lexicon | None = None,
) -> tuple[Finding, ...]:
    """Find the lexicon's concepts in a report.

    Parameters
    ----------
    text : str
    sections : sequence of Section
    sentences : sequence of (int, int)
    headings : sequence of (name, start, end)
        As `find_headings` returns them; "LIVER:" tells where the findings below it are, "PAST MEDICAL HISTORY:" that
        they are past.
    lexicon : Lexicon, optional
        The room's own by default.

    Returns
    -------
    tuple of Finding
        In order. Where a report names several sizes for one mention ("nodules of 3 mm and 5 mm"), and where one
        mention says two things ("plaques in the aorta and coronary arteries"), several share one span.

    Examples
    --------
    >>> text = "No effusion, but an 8 mm calcified nodule."
    >>> [(f.concept, f.status, f.size_mm) for f in find_findings(text, (), [(0, len(text))])]
    [('pleural_effusion', 'absent', ()), ('calcification', 'present', ()), ('nodule', 'present', (8.0,))]
    """
    lexicon = lexicon or load_lexicon()
    readings = [(start, end, read_sentence(text[start:end], lexicon)) for start, end in sentences]
    return place_findings(text, readings, sections=sections, headings=headings, lexicon=lexicon)


def place_findings(
    text: str,
    readings: Iterable[tuple[int, int, Reading]],
    *,
    sections: Sequence[Section],
    headings: Sequence[Heading],
    lexicon: Lexicon,
) -> tuple[Finding, ...]:
    """Return what the sentences of a report say as findings of the report; see `find_findings`.

    Parameters
    ----------
    text : str
    readings : iterable of (int, int, Reading)
        Where each sentence begins and ends in the text, and what it says.
    sections : sequence of Section
    headings : sequence of (name, start, end)
    lexicon : Lexicon

    Returns
    -------
    tuple of Finding
    """
    section_starts = [section.start for section in sections]
    heading_ends = [end for _, _, end in headings]
    findings: list[Finding] = []
    measurable: int | None = None
    for start, _, reading in readings:
        if measurable is not None:
            _give_sizes(findings, measurable, reading, lexicon)
        if not reading.findings:
            continue
        place = bisect_right(section_starts, start) - 1
        above = bisect_right(heading_ends, start) - 1
        region, past = "", False
        if above >= 0:
            region = _region_named(text[headings[above][1] : headings[above][2]], lexicon)
            past = is_history(text, headings, start)
        measurable = None if reading.measurable is None else len(findings) + reading.measurable
        section = sections[place].name if place >= 0 else "body"
        findings += [_placed(finding, start, section, region, past=past) for finding in reading.findings]
    return tuple(findings)


def _placed(finding: Finding, offset: int, section: str, region: str, *, past: bool) -> Finding:
    """Return a finding of a sentence as one of the report."""
    return fill_finding(
        (
            finding.concept,
            "historical" if past and finding.status == "present" else finding.status,
            finding.start + offset,
            finding.end + offset,
            section,
            finding.size_mm,
            finding.experiencer,
            finding.certainty,
            finding.change,
            finding.laterality,
            finding.anatomy or region,
            finding.size_below_mm,
            finding.previous_size_mm,
            finding.series_image,
        )
    )


def _give_sizes(findings: list[Finding], number: int, reading: Reading, lexicon: Lexicon) -> None:
    """Give the sizes that own nothing to what the sentence before named, unless they stand behind another region."""
    region = findings[number].anatomy
    elsewhere = min((start for start, name in reading.regions if name != region), default=None)
    for size in reading.sizes:
        if elsewhere is None or size.start < elsewhere:
            add_size(findings, number, size, lexicon)


@lru_cache(maxsize=1024)
def _region_named(heading: str, lexicon: Lexicon) -> str:
    """Return the first region that a heading names."""
    return next((name for _, name in read_sentence(heading, lexicon).regions), "")
