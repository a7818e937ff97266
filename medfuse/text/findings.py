"""Concepts of the lexicon, each with what the report says of it."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medfuse.text.attributes import nearest
from medfuse.text.context import Assertion, Clauses
from medfuse.text.lexicon import Lexicon, load_lexicon
from medfuse.text.linking import Candidate, choose_measured
from medfuse.text.measurements import Measurement, find_image, find_measurements
from medfuse.text.statements import find_statements
from medfuse.text.words import Match, Words, find_words
from medfuse.types import Finding, Section

__all__ = ["find_findings"]

Hits = Mapping[str, list[Match[Any]]]

_REGION_REACH, _SIDE_REACH, _CHANGE_REACH = 20, 14, 8
_ABSENT = Assertion(negated=True, certainty=0.0)
_UNSURE = Assertion(uncertain=True, certainty=0.5)


def find_findings(
    text: str,
    sections: Sequence[Section],
    sentences: Sequence[tuple[int, int]],
    *,
    headings: Sequence[tuple[str, int, int]] = (),
    lexicon: Lexicon | None = None,
    words: Words | None = None,
) -> tuple[Finding, ...]:
    """Find the lexicon's concepts in a report.

    Parameters
    ----------
    text : str
    sections : sequence of Section
    sentences : sequence of (int, int)
    headings : sequence of (name, start, end)
        As `find_headings` returns them; "LIVER:" tells where the findings below it are.
    lexicon : Lexicon, optional
        The room's own by default.
    words : Words, optional
        Of the text, where they are known already.

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
    reader = _Reader(text, words or find_words(text), lexicon or load_lexicon())
    starts = [section.start for section in sections]
    heading_ends = [end for _, _, end in headings]
    for sentence in sentences:
        place = bisect_right(starts, sentence[0]) - 1
        above = bisect_right(heading_ends, sentence[0]) - 1
        reader.section = sections[place].name if place >= 0 else "body"
        reader.heading = headings[above][1:] if above >= 0 else None
        reader.read(sentence)
    return tuple(reader.findings)


class _Reader:
    """Reads a report sentence by sentence; what one says may belong to a finding of the sentence before."""

    def __init__(self, text: str, words: Words, lexicon: Lexicon) -> None:
        self.findings: list[Finding] = []
        self.section = "body"
        self.heading: tuple[int, int] | None = None
        self._text, self._words, self._lexicon = text, words, lexicon
        self._regions: dict[tuple[int, int], str] = {}
        self._measurable: int | None = None

    def read(self, sentence: tuple[int, int]) -> None:
        """Add what one sentence says."""
        hits = self._lexicon.trie(self._words, *self._words.inside(*sentence))
        candidates = list(self._candidates(sentence, hits)) if "concept" in hits or "predicate" in hits else []
        sizes = find_measurements(self._text, *sentence)
        if not candidates:
            self._add_sizes_to_last(sizes, hits)
            return
        owned, unowned = self._link(sizes, candidates)
        before = self._measurable if unowned else None
        self._measurable = None
        for candidate in candidates:
            self._add(candidate, hits, owned.get(candidate, []), self._image_of(candidate, candidates, sentence))
        if before is not None:
            self._add_size(before, unowned[0])

    def _candidates(self, sentence: tuple[int, int], hits: Hits) -> Iterator[Candidate]:
        """Yield the concepts of a sentence in order; what a statement says takes the place of its predicate."""
        clauses = Clauses(self._text, self._words, sentence, hits)
        starts, ends = self._words.starts, self._words.ends
        concepts = hits.get("concept", ())
        said: list[Candidate] = []
        used: list[Match[Any]] = []
        for statement in find_statements(self._words, hits):
            predicate, subject = statement.predicate, statement.subject
            first, last = min(predicate.first, subject.first), max(predicate.last, subject.last)
            if any(concept.first <= first and last <= concept.last for concept in concepts):
                continue  # the lexicon has a concept of just these words
            span = starts[predicate.first], ends[predicate.last - 1]
            assertion = {"absent": _ABSENT, "uncertain": _UNSURE}.get(statement.status) or clauses.assess(span)
            if last - first <= _HULL:
                span = starts[first], ends[last - 1]
            else:
                first, last = predicate.first, predicate.last
            said.append(Candidate(statement.concept, first, last, *span, assertion))
            used += [predicate, subject]
        named = [
            Candidate(match.value, match.first, match.last, *span, clauses.assess(span))
            for match in concepts
            if not any(u.first <= match.first and match.last <= u.last for u in used)
            for span in [(starts[match.first], ends[match.last - 1])]
        ]
        yield from sorted({*said, *named}, key=lambda c: (c.start, c.end, c.concept)) if said else named

    def _link(
        self, sizes: Sequence[Measurement], candidates: Sequence[Candidate]
    ) -> tuple[dict[Candidate, list[Measurement]], list[Measurement]]:
        """Give each size to a candidate of its sentence, or to none."""
        if not sizes:
            return {}, []
        measurable = [
            candidate
            for candidate, following in zip(candidates, [*candidates[1:], None], strict=True)
            if self._can_be_measured(candidate) and not self._only_describes(candidate, following)
        ]
        owned: dict[Candidate, list[Measurement]] = {}
        unowned = []
        for size in sizes:
            owner = choose_measured(self._words, size, measurable)
            if owner is None:
                unowned.append(size)
            else:
                owned.setdefault(owner, []).append(size)
        return owned, unowned

    def _can_be_measured(self, candidate: Candidate) -> bool:
        return candidate.concept in self._lexicon.measured and not candidate.assertion.negated

    def _only_describes(self, candidate: Candidate, following: Candidate | None) -> bool:
        """Tell whether a concept only describes the next one: of "calcified nodule" the nodule has the size."""
        return (
            following is not None
            and candidate.concept in self._lexicon.describing
            and (following.first == candidate.last and self._can_be_measured(following))
        )

    def _add(self, candidate: Candidate, hits: Hits, sizes: Sequence[Measurement], image: str) -> None:
        words, first, last = self._words, candidate.first, candidate.last
        finding = Finding(
            candidate.concept,
            candidate.assertion.status,
            candidate.start,
            candidate.end,
            self.section,
            experiencer=candidate.assertion.experiencer,
            certainty=candidate.assertion.certainty,
            change=nearest(words, hits.get("change", ()), first, last, reach=_CHANGE_REACH),
            laterality=nearest(words, hits.get("side", ()), first, last, reach=_SIDE_REACH),
            anatomy=nearest(words, hits.get("region", ()), first, last, reach=_REGION_REACH) or self._region(),
            series_image=image,
        )
        if self._can_be_measured(candidate):
            self._measurable = len(self.findings)
        self.findings.append(finding)
        for size in sizes:
            self._add_size(len(self.findings) - 1, size)

    def _add_sizes_to_last(self, sizes: Sequence[Measurement], hits: Hits) -> None:
        """Give sizes of a sentence that names nothing to what the one before named: "It measures 5 mm"."""
        if self._measurable is None:
            return
        region = self.findings[self._measurable].anatomy
        elsewhere = [self._words.starts[match.first] for match in hits.get("region", ()) if match.value != region]
        for size in sizes:
            if not any(start < size.start for start in elsewhere):
                self._add_size(self._measurable, size)

    def _add_size(self, number: int, size: Measurement) -> None:
        """Give a finding a size; one that has it already is repeated with the further one."""
        finding = self.findings[number]
        if size.kind == "below":
            self.findings[number] = dataclasses.replace(finding, size_below_mm=size.size_mm[0])
        elif size.kind == "earlier":
            self.findings[number] = dataclasses.replace(finding, previous_size_mm=size.size_mm)
        else:
            limit, larger = self._lexicon.enlarged.get(finding.concept, (math.inf, ""))
            concept = larger if min(size.size_mm) >= limit else finding.concept
            sized = dataclasses.replace(finding, concept=concept, size_mm=size.size_mm)
            if finding.size_mm:
                self.findings.insert(number + 1, sized)
            else:
                self.findings[number] = sized

    def _image_of(self, candidate: Candidate, candidates: Sequence[Candidate], sentence: tuple[int, int]) -> str:
        """Return the series and image named behind a measurable concept, before the next one."""
        if not self._can_be_measured(candidate):
            return ""
        following = (c.start for c in candidates if c.start > candidate.end and self._can_be_measured(c))
        return find_image(self._text, candidate.end, next(following, sentence[1]))

    def _region(self) -> str:
        """Return the region that the heading above names."""
        if self.heading is None:
            return ""
        if self.heading not in self._regions:
            hits = self._lexicon.trie(self._words, *self._words.inside(*self.heading))
            self._regions[self.heading] = next((match.value for match in hits.get("region", ())), "")
        return self._regions[self.heading]


_HULL = 12
"""A statement of at most so many words is marked from its first to its last."""
