"""What a sentence says, whatever stands around it."""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from medfuse.text.attributes import nearest
from medfuse.text.context import Assertion, Clauses
from medfuse.text.lexicon import Lexicon
from medfuse.text.linking import Candidate, choose_measured
from medfuse.text.measurements import Measurement, find_image, find_measurements
from medfuse.text.sentences import split_passage
from medfuse.text.statements import find_statements
from medfuse.text.words import Match, find_words
from medfuse.types import Finding

__all__ = ["Reading", "add_size", "fill_finding", "read_passage", "read_sentence"]

Hits = Mapping[str, list[Match[Any]]]

_REGION_REACH, _SIDE_REACH, _CHANGE_REACH = 20, 14, 8
_HULL = 12
"""A statement of at most so many words is marked from its first to its last."""
_REMEMBERED, _LONGEST_REMEMBERED = 8192, 300
"""So many passages of at most so many characters are remembered: reports repeat their phrases."""
_PLACE = operator.attrgetter("start", "end", "concept")
_FILL = tuple(getattr(Finding, field.name).__set__ for field in dataclasses.fields(Finding))
"""What sets each slot of a frozen finding."""
_DIGIT = re.compile(r"\d")
_ABSENT = Assertion(negated=True, certainty=0.0)
_UNSURE = Assertion(uncertain=True, certainty=0.5)


class Reading(NamedTuple):
    """What a sentence says.

    Parameters
    ----------
    findings : tuple of Finding
        Offsets from the beginning of the sentence.
    measurable : int, optional
        Number of the last finding that can have a size.
    sizes : tuple of Measurement
        Those that belong to nothing in the sentence.
    regions : tuple of (int, str)
        Where it names a region, and which.
    """

    findings: tuple[Finding, ...]
    measurable: int | None
    sizes: tuple[Measurement, ...]
    regions: tuple[tuple[int, str], ...]


def read_sentence(sentence: str, lexicon: Lexicon) -> Reading:
    """Read one sentence.

    Parameters
    ----------
    sentence : str
    lexicon : Lexicon

    Returns
    -------
    Reading

    Examples
    --------
    >>> from medfuse.text.lexicon import load_lexicon
    >>> [(f.concept, f.size_mm) for f in read_sentence("An 8 mm calcified nodule.", load_lexicon()).findings]
    [('calcification', ()), ('nodule', (8.0,))]
    """
    return _Reader(sentence, lexicon).read()


def read_passage(passage: str, lexicon: Lexicon) -> tuple[tuple[int, int, Reading], ...]:
    """Read the sentences of a passage.

    The 8192 short passages read last are remembered, in the memory of this process alone.

    Parameters
    ----------
    passage : str
        As `passages_of` cuts a report.
    lexicon : Lexicon

    Returns
    -------
    tuple of (int, int, Reading)
        Where each sentence begins and ends in the passage, and what it says.
    """
    return (_remembered if len(passage) <= _LONGEST_REMEMBERED else _read)(passage, lexicon)


def add_size(findings: list[Finding], number: int, size: Measurement, lexicon: Lexicon) -> None:
    """Give a finding of a list a size; one that has it already is repeated with the further one."""
    finding = findings[number]
    if size.kind == "below":
        findings[number] = dataclasses.replace(finding, size_below_mm=size.size_mm[0])
    elif size.kind == "earlier":
        findings[number] = dataclasses.replace(finding, previous_size_mm=size.size_mm)
    else:
        limit, larger = lexicon.enlarged.get(finding.concept, (math.inf, ""))
        concept = larger if min(size.size_mm) >= limit else finding.concept
        sized = dataclasses.replace(finding, concept=concept, size_mm=size.size_mm)
        findings[number : number + 1] = [finding, sized] if finding.size_mm else [sized]


def fill_finding(values: tuple[object, ...]) -> Finding:
    """Return a finding of these values, one a field, in order: in two thirds of the time of the constructor.

    What the constructor checks must hold. It does for words of a sentence, and for a finding that is moved on.
    """
    finding: Finding = object.__new__(Finding)
    for fill, value in zip(_FILL, values, strict=True):
        fill(finding, value)
    return finding


def _read(passage: str, lexicon: Lexicon) -> tuple[tuple[int, int, Reading], ...]:
    return tuple([(a, b, read_sentence(passage[a:b], lexicon)) for a, b in split_passage(passage)])


_remembered = lru_cache(maxsize=_REMEMBERED)(_read)


class _Reader:
    def __init__(self, sentence: str, lexicon: Lexicon) -> None:
        self._text, self._lexicon = sentence, lexicon
        self._has_digit = _DIGIT.search(sentence) is not None
        self._words = find_words(sentence)
        self._hits: Hits = lexicon.trie(self._words, 0, len(self._words.lower))

    def read(self) -> Reading:
        candidates = self._candidates() if "concept" in self._hits or "predicate" in self._hits else []
        can_state_a_size = self._has_digit or "sub" in self._text.lower()
        sizes = find_measurements(self._text, 0, len(self._text)) if can_state_a_size else ()
        owned, unowned = self._link(sizes, candidates) if sizes else ({}, ())
        findings: list[Finding] = []
        measurable = None
        for candidate in candidates:
            if self._can_be_measured(candidate):
                measurable = len(findings)
            image = self._image_of(candidate, candidates) if self._has_digit else ""
            findings.append(self._finding(candidate, image))
            for size in owned.get(candidate, ()) if owned else ():
                add_size(findings, len(findings) - 1, size, self._lexicon)
        regions = tuple([(self._words.starts[match.first], match.value) for match in self._hits.get("region", ())])
        return Reading(tuple(findings), measurable, tuple(unowned), regions)

    def _candidates(self) -> list[Candidate]:
        """Return the concepts in order; what a statement says takes the place of its predicate."""
        clauses = Clauses(self._text, self._words, self._hits)
        starts, ends = self._words.starts, self._words.ends
        said: list[Candidate] = []
        used: list[Match[Any]] = []
        for candidate, parts in self._statements(clauses):
            if candidate not in said:
                said.append(candidate)
            used += parts
        for match in self._hits.get("concept", ()):
            if not used or not any(part.first <= match.first and match.last <= part.last for part in used):
                span = starts[match.first], ends[match.last - 1]
                said.append(Candidate(match.value, match.first, match.last, *span, clauses.assess(span)))
        return sorted(said, key=_PLACE)

    def _statements(self, clauses: Clauses) -> Iterator[tuple[Candidate, tuple[Match[Any], Match[Any]]]]:
        starts, ends = self._words.starts, self._words.ends
        for statement in find_statements(self._words, self._hits):
            predicate, subject = statement.predicate, statement.subject
            first, last = min(predicate.first, subject.first), max(predicate.last, subject.last)
            if any(concept.first <= first and last <= concept.last for concept in self._hits.get("concept", ())):
                continue  # the lexicon has a concept of just these words
            span = starts[predicate.first], ends[predicate.last - 1]
            assertion = {"absent": _ABSENT, "uncertain": _UNSURE}.get(statement.status) or clauses.assess(span)
            if last - first > _HULL:
                first, last = predicate.first, predicate.last
            yield (
                Candidate(statement.concept, first, last, starts[first], ends[last - 1], assertion),
                (predicate, subject),
            )

    def _link(
        self, sizes: Sequence[Measurement], candidates: Sequence[Candidate]
    ) -> tuple[dict[Candidate, list[Measurement]], list[Measurement]]:
        """Give each size to a candidate, or to none."""
        measurable = [
            candidate
            for candidate, following in zip(candidates, [*candidates[1:], None], strict=False)
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
            and following.first == candidate.last
            and self._can_be_measured(following)
        )

    def _finding(self, candidate: Candidate, image: str) -> Finding:
        words, hits, first, last = self._words, self._hits, candidate.first, candidate.last
        return fill_finding(
            (
                candidate.concept,
                candidate.assertion.status,
                candidate.start,
                candidate.end,
                "body",
                (),
                candidate.assertion.experiencer,
                candidate.assertion.certainty,
                nearest(words, hits.get("change", ()), first, last, reach=_CHANGE_REACH),
                nearest(words, hits.get("side", ()), first, last, reach=_SIDE_REACH),
                self._lexicon.homes.get(candidate.concept)
                or nearest(words, hits.get("region", ()), first, last, reach=_REGION_REACH),
                None,
                (),
                image,
            )
        )

    def _image_of(self, candidate: Candidate, candidates: Sequence[Candidate]) -> str:
        """Return the series and image named behind a measurable concept, before the next one."""
        if not self._can_be_measured(candidate):
            return ""
        following = (c.start for c in candidates if c.start > candidate.end and self._can_be_measured(c))
        return find_image(self._text, candidate.end, next(following, len(self._text)))
