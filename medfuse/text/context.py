"""What a report says of a concept: present, absent, uncertain, historical; and of whom.

Source: Chapman et al. 2001 (NegEx); Harkema et al. 2009 (ConText). A trigger phrase reaches forwards or backwards
from where it stands, to the end of its sentence or to a phrase that ends its reach.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from medfuse.errors import UsageError
from medfuse.text.sentences import find_sentences
from medfuse.text.words import PhraseFinder, find_words, read_data
from medfuse.types import Status

__all__ = ["Assertion", "assert_status", "assess"]

_BEFORE = ("absent_before", "uncertain_before", "historical_before", "family")
_ANSWER = re.compile(r"\s{0,3}[:–—-]\s{0,3}([\w\s-]{2,20}?)[\s.]{0,5}")
_AFTER = ("absent_after", "uncertain_after", "historical_after")


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a report says of one concept.

    Parameters
    ----------
    negated, uncertain, historical : bool
    experiencer : {"patient", "family"}
        Whom the report speaks of.
    """

    negated: bool = False
    uncertain: bool = False
    historical: bool = False
    experiencer: Literal["patient", "family"] = "patient"

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
    sentences = find_sentences(text)
    starts = [start for start, _ in sentences]
    inside: dict[int, list[int]] = {}
    for i, (start, _) in enumerate(spans):
        inside.setdefault(bisect_right(starts, start) - 1, []).append(i)
    answers = [Assertion()] * len(spans)
    for sentence, members in inside.items():
        if sentence >= 0:
            for i, answer in zip(members, assess(text, sentences[sentence], [spans[i] for i in members]), strict=True):
                answers[i] = answer
    return answers


def assess(text: str, sentence: tuple[int, int], spans: Sequence[tuple[int, int]]) -> list[Assertion]:
    """Say what one sentence says of each span that begins in it.

    Parameters
    ----------
    text : str
    sentence : (int, int)
    spans : sequence of (int, int)

    Returns
    -------
    list of Assertion
        One a span.
    """
    words = find_words(text, *sentence)
    triggers = [(a, b, kind) for a, b, phrase in _triggers()(text, words) for kind in phrase.split()]
    verbs = [a for a, _, _ in _clause_verbs()(text, words)]
    return [
        _assess_answer(text[end : sentence[1]]) or _assess_span((start, end), triggers, verbs) for start, end in spans
    ]


def _assess_answer(behind: str) -> Assertion | None:
    """Read a form's "none" in "Effusion: none."; None if what stands behind a concept is no such answer."""
    if not (answer := _ANSWER.fullmatch(behind)):
        return None
    kind = _answers().get(" ".join(answer[1].lower().split()))
    return Assertion(negated=kind == "absent", uncertain=kind == "uncertain") if kind else None


def _assess_span(span: tuple[int, int], triggers: list[tuple[int, int, str]], verbs: list[int]) -> Assertion:
    start, end = span
    said = set()
    floor = max((b for _, b, kind in triggers if kind == "ends" and b <= start), default=-1)
    ceiling = min((a for a, _, kind in triggers if kind == "ends" and a >= end), default=None)
    for a, b, kind in triggers:
        if kind in _BEFORE and floor <= a and b <= start:
            said.add(kind.removesuffix("_before"))
        elif kind in _AFTER and a >= end and (ceiling is None or a < ceiling):
            first_verb = bisect_right(verbs, end - 1)
            if first_verb == len(verbs) or verbs[first_verb] >= a - _VERB_ROOM:
                said.add(kind.removesuffix("_after"))
    return Assertion(
        "absent" in said, "uncertain" in said, "historical" in said, "family" if "family" in said else "patient"
    )


# Characters that the trigger's own auxiliary ("was ", "have been ") takes in front of it.
_VERB_ROOM = len("have been ")


@cache
def _answers() -> dict[str, str]:
    return {answer: kind for kind, answers in read_data("triggers.yaml")["answers"].items() for answer in answers}


@cache
def _triggers() -> PhraseFinder:
    content = read_data("triggers.yaml")
    kinds: dict[str, set[str]] = {}
    for kind in (*_BEFORE, *_AFTER, "ends", "nothing"):
        for phrase in content[kind]:
            kinds.setdefault(phrase, set()).add(kind)
    for entry in content["both"]:
        kinds[entry["phrase"]] = set(entry["is"])
    return PhraseFinder((" ".join(sorted(kind)), phrase) for phrase, kind in kinds.items())


@cache
def _clause_verbs() -> PhraseFinder:
    return PhraseFinder(("verb", verb) for verb in read_data("triggers.yaml")["clause_verbs"])
