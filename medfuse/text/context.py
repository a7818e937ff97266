"""What a report says of a concept: present, absent, uncertain, historical; and of whom.

Source: Chapman et al. 2001 (NegEx); Harkema et al. 2009 (ConText). A trigger phrase reaches forwards or backwards
from where it stands, to the end of its sentence or to a phrase that ends its reach.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from medfuse.errors import UsageError
from medfuse.text.lexicon import load_lexicon
from medfuse.text.sections import CONTINUED, find_headings
from medfuse.text.sentences import sentences_of
from medfuse.text.words import Match, Words, find_words, read_data
from medfuse.types import Status

__all__ = ["Assertion", "Clauses", "assert_status", "is_history"]

CERTAINTY = {"likely": 0.75, "either": 0.6, "possible": 0.5, "doubtful": 0.25}
"""How surely a finding is there, by the strongest doubt that reaches it."""

_WITHIN = frozenset(["historical"])
"""What a trigger inside a concept's own words says of it: "status post biopsy"."""
_ANSWER = re.compile(r"\s{0,3}[:–—-]\s{0,3}([\w\s/-]{2,20}?)[\s.]{0,5}")
# Words that the trigger's own auxiliary ("was", "have been") takes in front of it.
_VERB_ROOM = 2
# A question mark doubts the words right before it.
_QUERY_ROOM = 4


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a report says of one concept.

    Parameters
    ----------
    negated, uncertain, historical : bool
    experiencer : {"patient", "family"}
        Whom the report speaks of.
    certainty : float
        How surely the finding is there: 1 if stated, 0 if denied, between them 0.75 (likely), 0.6 (one of two),
        0.5 (possible) and 0.25 (doubtful).
    """

    negated: bool = False
    uncertain: bool = False
    historical: bool = False
    experiencer: Literal["patient", "family"] = "patient"
    certainty: float = 1.0

    @property
    def status(self) -> Status:
        """The one word for it: absent wins over uncertain ("nothing to suggest"), and both over historical.

        Examples
        --------
        >>> Assertion(negated=True, historical=True).status
        'absent'
        """
        if self.negated:
            return "absent"
        if self.uncertain:
            return "uncertain"
        return "historical" if self.historical else "present"


_STATED, _PAST = Assertion(), Assertion(historical=True)


def assert_status(text: str, spans: Sequence[tuple[int, int]]) -> list[Assertion]:
    """Say what a report says of concepts that were found elsewhere.

    Parameters
    ----------
    text : str
    spans : sequence of (int, int)
        Character offsets of the concepts.

    Returns
    -------
    list of Assertion
        One a span.

    Raises
    ------
    UsageError
        If a span lies outside the text or is empty.

    Examples
    --------
    >>> [a.status for a in assert_status("No effusion, but a nodule.", [(3, 11), (19, 25)])]
    ['absent', 'present']
    """
    for start, end in spans:
        if not 0 <= start < end <= len(text):
            raise UsageError("assert_status spans", "found a span outside the text", expected="0 <= start < end")
    headings = find_headings(text)
    sentences = sentences_of(text, headings)
    starts = [start for start, _ in sentences]
    clauses: dict[int, Clauses] = {}
    answers = []
    for start, end in spans:
        number = bisect_right(starts, start) - 1
        if number < 0 or start >= sentences[number][1]:  # it stands in a heading, perhaps answered by the next words
            stop = sentences[number + 1][1] if number + 1 < len(sentences) else len(text)
            answers.append(_read_answer(text, end, stop) or Assertion())
            continue
        first, last = sentences[number]
        if number not in clauses:
            words = find_words(text[first:last])
            hits = load_lexicon().trie(words, 0, len(words.lower))
            clauses[number] = Clauses(text[first:last], words, hits, historical=is_history(text, headings, first))
        answers.append(clauses[number].assess((start - first, end - first)))
    return answers


class Clauses:
    """The triggers of one sentence, and how far each reaches.

    Parameters
    ----------
    sentence : str
    words : Words
    hits : mapping of str to list of Match
        What the lexicon's trie found among the words.
    historical : bool
        Whether the sentence stands under a heading of history.
    """

    def __init__(
        self,
        sentence: str,
        words: Words,
        hits: Mapping[str, list[Match[Any]]],
        *,
        historical: bool = False,
    ) -> None:
        self._historical = historical
        self._sentence, self._words = sentence, words
        self._triggers = hits.get("trigger", [])
        if self._triggers:
            self._verbs = [verb.first for verb in hits.get("verb", [])]
            self._ends = [(match.first, match.last) for match in self._triggers if match.value.ends]

    def assess(self, span: tuple[int, int]) -> Assertion:
        """Say what the sentence says of a span that begins in it.

        Parameters
        ----------
        span : (int, int)
            Character offsets in the sentence.

        Returns
        -------
        Assertion
        """
        if answered := _read_answer(self._sentence, span[1], len(self._sentence)):
            return answered
        said = self._said(*self._words.inside(*span)) if self._triggers else ()
        if not said:
            return _PAST if self._historical else _STATED
        return _assertion(frozenset(said), historical=self._historical)

    def _said(self, first: int, last: int) -> set[str]:
        """Return what the triggers that reach the words ``first`` up to ``last`` say."""
        said: set[str] = set()
        floor, ceiling = self._bounds(first, last)
        for start, end, trigger in self._triggers:
            if first <= start and end <= last:
                said |= trigger.forwards & _WITHIN
            elif end <= first:
                if floor <= end:  # what ends the reach of others may begin its own: "and denies"
                    said |= trigger.forwards
            elif trigger.doubts:
                if start - last < _QUERY_ROOM and "(" not in self._words.lower[last:start]:
                    said.add("doubtful")
            elif last <= start < ceiling and trigger.backwards and self._verb_is_its_own(last, start):
                said |= trigger.backwards
        return said

    def _bounds(self, first: int, last: int) -> tuple[int, int]:
        """Return the words between which triggers reach the words ``first`` up to ``last``."""
        floor, ceiling = -1, len(self._words.lower)
        for start, end in self._ends:
            if end <= first:
                floor = end
            elif start >= last:
                return floor, start
        return floor, ceiling

    def _verb_is_its_own(self, last: int, trigger: int) -> bool:
        """Tell whether no other verb stands between a concept and a trigger behind it."""
        number = bisect_right(self._verbs, last - 1)
        return number == len(self._verbs) or self._verbs[number] >= trigger - _VERB_ROOM


def is_history(text: str, headings: Sequence[tuple[str, int, int]], position: int) -> bool:
    """Tell whether what stands at a position stands under a heading such as "PAST MEDICAL HISTORY".

    Examples
    --------
    >>> text = "PAST MEDICAL HISTORY: Gout."
    >>> is_history(text, find_headings(text), 22)
    True
    """
    above = bisect_right(headings, position, key=lambda heading: heading[2]) - 1
    while above >= 0 and headings[above][0] == CONTINUED:
        above -= 1
    if above < 0:
        return False
    title = re.sub(r"[^a-z/]+", " ", text[headings[above][1] : headings[above][2]].lower()).strip()
    return title in _historical_headings()


@cache
def _assertion(said: frozenset[str], *, historical: bool) -> Assertion:
    negated = "absent" in said
    doubts = [CERTAINTY[kind] for kind in said if kind in CERTAINTY]
    return Assertion(
        negated,
        bool(doubts),
        historical or "historical" in said or "family" in said,
        "family" if "family" in said else "patient",
        0.0 if negated else min(doubts, default=1.0),
    )


def _read_answer(text: str, start: int, end: int) -> Assertion | None:
    """Read a form's "none" in "Effusion: none."; None if what stands behind a concept is no such answer."""
    if end - start > 30 or not (answer := _ANSWER.fullmatch(text, start, end)):
        return None
    kind = _answers().get(" ".join(answer[1].lower().split()))
    if kind is None:
        return None
    return Assertion(negated=True, certainty=0.0) if kind == "absent" else Assertion(uncertain=True, certainty=0.5)


@cache
def _historical_headings() -> frozenset[str]:
    return frozenset(read_data("triggers.yaml")["historical_headings"])


@cache
def _answers() -> dict[str, str]:
    return {answer: kind for kind, answers in read_data("triggers.yaml")["answers"].items() for answer in answers}
