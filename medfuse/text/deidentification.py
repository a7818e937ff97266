"""Names, dates, numbers and places taken out of a report's text by rule: best effort, no more.

Rules find what stands behind a title ("Dr."), a label ("MRN:") or in a known form (a date, a telephone number). A name
that stands alone ("discussed with Miller"), a misspelt one or a rare form stays in. Published tools of this kind miss
about half of the names they were not made for, so that the result is never to be called anonymous: it takes a burden
off a reader who checks it, and is no ground for release.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace

from medfuse.text.identity_rules import find_identity
from medfuse.types import Finding, RadiologyReport

__all__ = ["DeidentifiedText", "Replacement", "deidentify", "deidentify_report"]


@dataclass(frozen=True, slots=True)
class Replacement:
    """One replaced part: ``start, end`` in the untouched text, ``new_start, new_end`` in the new one."""

    kind: str
    start: int
    end: int
    new_start: int
    new_end: int


@dataclass(frozen=True, slots=True)
class DeidentifiedText:
    """A text without what the rules found.

    Parameters
    ----------
    text : str
        With a placeholder such as ``[NAME]`` for each replaced part.
    replacements : tuple of Replacement
        In order.
    """

    text: str
    replacements: tuple[Replacement, ...] = field(default=())

    def to_new(self, start: int, end: int) -> tuple[int, int]:
        """Return where a span of the untouched text is in the new one; of what was replaced its placeholder.

        Examples
        --------
        >>> done = deidentify("Dr. Miller saw a nodule.")
        >>> done.text, done.text[slice(*done.to_new(17, 23))]
        ('Dr. [NAME] saw a nodule.', 'nodule')
        """
        return self._moved(start, at_end=False), self._moved(end, at_end=True)

    def _moved(self, offset: int, *, at_end: bool) -> int:
        before = bisect_left(self.replacements, offset, key=lambda part: part.start)
        if before == 0:
            return offset
        part = self.replacements[before - 1]
        if offset < part.end:
            return part.new_end if at_end else part.new_start
        return offset + part.new_end - part.end

    def to_original(self, start: int, end: int) -> tuple[int, int]:
        """Return where a span of the new text is in the untouched one; of a placeholder all that it stands for.

        Examples
        --------
        >>> text = "Dr. Miller saw a nodule."
        >>> done = deidentify(text)
        >>> text[slice(*done.to_original(4, 10))]
        'Miller'
        """
        back = DeidentifiedText(
            "", tuple(Replacement(r.kind, r.new_start, r.new_end, r.start, r.end) for r in self.replacements)
        )
        return back.to_new(start, end)


def deidentify(text: str) -> DeidentifiedText:
    """Replace what looks like identity by placeholders: best effort, never complete (see this module's text).

    Parameters
    ----------
    text : str

    Returns
    -------
    DeidentifiedText
        Placeholders are ``[NAME]``, ``[DATE]``, ``[TIME]``, ``[PHONE]``, ``[EMAIL]``, ``[URL]``, ``[ID]``,
        ``[ADDRESS]``, ``[AGE]`` (of ages above 89) and ``[INSTITUTION]``. Masks that are there already (XXXX) are left.

    Examples
    --------
    >>> deidentify("Patient: DOE, JANE  MRN: 123-45  Seen on 3 May 2021 by Dr. Alan Miller, tel. 555-123-4567.").text
    'Patient: [NAME]  MRN: [ID]  Seen on [DATE] by Dr. [NAME], tel. [PHONE].'
    """
    pieces: list[str] = []
    replacements: list[Replacement] = []
    done = length = 0
    for start, end, kind in find_identity(text):
        pieces += [text[done:start], f"[{kind}]"]
        length += start - done
        replacements.append(Replacement(kind, start, end, length, length + len(kind) + 2))
        length += len(kind) + 2
        done = end
    return DeidentifiedText("".join([*pieces, text[done:]]), tuple(replacements))


def deidentify_report(report: RadiologyReport) -> RadiologyReport:
    """Replace identity in an annotated report and move its offsets along: best effort, see `deidentify`.

    Parameters
    ----------
    report : RadiologyReport

    Returns
    -------
    RadiologyReport
        Its offsets point into the new text.

    Examples
    --------
    >>> from medfuse.text import annotate
    >>> report = deidentify_report(annotate("FINDINGS: Dr. Alan Miller saw a 6 mm nodule."))
    >>> report.text, [report.text[f.start : f.end] for f in report.findings]
    ('FINDINGS: Dr. [NAME] saw a 6 mm nodule.', ['nodule'])
    """
    done = deidentify(report.text)

    def moved(finding: Finding) -> Finding:
        start, end = done.to_new(finding.start, finding.end)
        return replace(finding, start=start, end=end)

    return replace(
        report,
        text=done.text,
        sections=tuple(replace(s, start=a, end=b) for s in report.sections for a, b in [done.to_new(s.start, s.end)]),
        sentences=tuple(done.to_new(start, end) for start, end in report.sentences),
        findings=tuple(moved(finding) for finding in report.findings),
    )
