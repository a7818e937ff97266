"""Findings said by a subject and a predicate: "the heart is enlarged", "calcific plaques in the aorta"."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medfuse.text.lexicon import Predicate
from medfuse.text.words import Match, Words
from medfuse.types import Status

__all__ = ["Statement", "find_statements"]

_REACH = 18
"""Most words between a subject and what is said of it."""
_WINDOW = _REACH + 8
"""Subjects and predicates further away, in words, are not looked at."""
_BESIDE = 3
"""Most words between what is said and a subject behind it that no preposition joins: "normal cardiac size"."""
_JOINING = frozenset(
    ["in", "of", "at", "on", "along", "within", "to", "involving", "throughout", "around", "over", "for"]
)
_LINKING = frozenset([
    "is", "are", "was", "were", "be", "been", "being", "seen", "observed", "noted", "present", "detected", "identified",
    "also", "and", "level", "the",
])  # fmt: skip
_FILLING = frozenset([
    ",", "and", "or", "x", "mm", "cm", "by", "upper", "lower", "middle", "mid", "anterior", "posterior", "superior",
    "inferior", "medial", "lateral", "proximal", "distal",
])  # fmt: skip
_SINGULAR = frozenset(["is", "was", "has"])
_STOPS = frozenset([";", ":", "but", "however", "although", "though", "while", "whereas", "except", "?"])


@dataclass(frozen=True, slots=True)
class Statement:
    """A concept that a subject and a predicate name together.

    Parameters
    ----------
    concept : str
    status : {"present", "absent", "uncertain"}
        What the predicate says by itself.
    subject, predicate : Match
    """

    concept: str
    status: Status
    subject: Match[Any]
    predicate: Match[Any]


def find_statements(words: Words, hits: Mapping[str, list[Match[Any]]]) -> Iterator[Statement]:
    """Find the statements of one sentence.

    Parameters
    ----------
    words : Words
        Of the whole text.
    hits : mapping of str to list of Match
        What the lexicon's trie found in the sentence.

    Yields
    ------
    Statement
    """
    subjects = hits.get("subject")
    predicates = hits.get("predicate")
    if not subjects or not predicates:
        return
    spoken_of = {number for subject in subjects for number in subject.value}
    verbs = [verb.first for verb in hits.get("verb", []) if words.lower[verb.first] != ","]
    places = [*hits.get("region", ()), *hits.get("side", ())]
    placed = {i for match in places for i in range(match.first, match.last)}
    firsts = [subject.first for subject in subjects]
    for number, predicate in enumerate(predicates):
        saying = [said for said in predicate.value if said.statement in spoken_of]
        if not saying:
            continue
        low, high = predicate.first - _WINDOW, predicate.last + _WINDOW
        near = subjects[bisect_left(firsts, low) : bisect_right(firsts, high)]
        recent = predicates[max(0, number - _WINDOW) : number]
        concepts: set[str] = set()
        for said in saying:
            fitting = [s for s in near if said.statement in s.value]
            if not fitting:
                continue
            earlier = [p for p in recent if any(q.statement == said.statement for q in p.value)]
            behind = _behind(words, fitting, predicate, said, placed)
            joined = behind is not None and words.lower[predicate.last] in _JOINING
            before = None if joined else _before(words, near, fitting, predicate, earlier, verbs)
            subject = before or behind
            if subject is not None and said.concept not in concepts:
                concepts.add(said.concept)
                yield Statement(said.concept, said.status, subject, predicate)


def _before(
    words: Words,
    subjects: list[Match[Any]],
    fitting: list[Match[Any]],
    predicate: Match[Any],
    earlier: list[Match[Any]],
    verbs: list[int],
) -> Match[Any] | None:
    """Return the nearest subject before a predicate, unless something else is spoken of between them."""
    before = [s for s in fitting if s.last <= predicate.first]
    if not before:
        return None
    subject = before[-1]
    between = words.lower[subject.last : predicate.first]
    if len(between) > _REACH or not _STOPS.isdisjoint(between):
        return None
    if any(subject.last <= p.first for p in earlier):
        return None
    others = [s.first for s in subjects if subject.last <= s.first and s.last <= predicate.first]
    verb = next((v for v in verbs if v >= subject.last), None)
    if verb is None or not others:
        return subject
    # Another subject has a verb of its own: "the heart is seen, the aorta is", "stable heart, and the aorta is ...".
    own = verb < max(others) or words.lower[verb] in _SINGULAR
    return None if own else subject


def _behind(
    words: Words, fitting: list[Match[Any]], predicate: Match[Any], said: Predicate, placed: set[int]
) -> Match[Any] | None:
    """Return the subject behind a predicate: beside it, past places and sizes alone, or joined by a preposition."""
    behind = [s for s in fitting if s.first >= predicate.last]
    if not behind:
        return None
    subject = behind[0]
    between = words.lower[predicate.last : subject.first]
    if len(between) > _REACH or not _STOPS.isdisjoint(between):
        return None
    if len(between) <= _BESIDE and "," not in between and not (said.status == "absent" and "and" in between):
        return subject
    if said.status == "absent":
        return None
    if all(i in placed or _is_filling(words.lower[i]) for i in range(predicate.last, subject.first)):
        return subject
    linking = next((word for word in between if word not in _LINKING), "")
    return subject if linking in _JOINING else None


def _is_filling(word: str) -> bool:
    return word in _FILLING or word[0].isdigit()
