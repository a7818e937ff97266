"""Words with their offsets, and a matcher for many phrases at once."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Any, Generic, NamedTuple, TypeVar

import yaml

__all__ = ["MASK", "Match", "PhraseTrie", "Words", "find_words", "read_data", "read_yaml", "with_plural"]

Value = TypeVar("Value")

# What de-identification left in place of a name or date; it is no word: "the heart XXXX is enlarged".
MASK = r"\*\*[a-z][a-z-]{0,30}(?:\[[^\]\n]{0,80}\])?|\[\*\*[^*\n]{0,80}\*\*\]|\bx{3,}\b|_{3,}"
# Hyphens divide words and are no words themselves, so that "ground-glass" and "ground glass" are one phrase.
_WORD = re.compile(r"([+-]ve\b|\d+(?:\.\d+)*|[hrcdswyp]/[oabntfkupx](?![^\W_])|[^\W\d_]+(?:'+[^\W\d_]+)*|[^\w\s-])")
_WORD_OR_MASK = re.compile(rf"(?:{MASK})|{_WORD.pattern}")
# Most masks stand alone; white space of the same length in their place divides words just as they do.
_LONE_MASK = re.compile(r"(?<![^\s(,.;:])x{3,}(?![^\s),.;:])")
# The same words where there are none of the rarer signs, found in half the time.
_PLAIN_WORD = re.compile(r"([a-z]+|\d+(?:\.\d+)*|[^\w\s-])")


@dataclass(frozen=True, slots=True)
class Words:
    """The words and punctuation marks of a text, in order.

    Parameters
    ----------
    lower : list of str
        Each in lower case.
    starts, ends : list of int
        Character offsets in the untouched text.
    """

    lower: list[str]
    starts: list[int]
    ends: list[int]

    def inside(self, start: int, end: int) -> tuple[int, int]:
        """Return the numbers of the first word that begins in ``text[start:end]`` and of the first behind it."""
        return bisect_left(self.starts, start), bisect_left(self.starts, end)


def find_words(text: str) -> Words:
    """Return the words and punctuation marks of a text; what de-identification masked is left out.

    Examples
    --------
    >>> find_words("A 1.2-cm XXXX nodule.").lower
    ['a', '1.2', 'cm', 'nodule', '.']
    """
    lower = _lower(text)
    if "xxx" in lower:
        lower = _LONE_MASK.sub(_blank, lower)
    if "xxx" in lower or "**" in lower or "___" in lower:
        spans = [span for match in _WORD_OR_MASK.finditer(lower) if (span := match.span(1))[1] > 0]
        return Words([lower[a:b] for a, b in spans], [a for a, _ in spans], [b for _, b in spans])
    plain = lower.isascii() and not ("'" in lower or "/" in lower or "-ve" in lower or "+ve" in lower)
    # What divides words and the words come by turns; their lengths add up to the offsets.
    pieces = (_PLAIN_WORD if plain else _WORD).split(lower)
    places = list(accumulate(map(len, pieces)))
    return Words(pieces[1::2], places[:-1:2], places[1::2])


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _lower(text: str) -> str:
    """Return a text in lower case, with plain apostrophes, in which every offset is that of the text."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters, such as "İ", are two in lower case
        lower = "".join(character.lower()[0] for character in text)
    return lower.replace("’", "'")


class Match(NamedTuple, Generic[Value]):
    """One phrase found: words ``first`` up to, not including, ``last``."""

    first: int
    last: int
    value: Value


class _Node(Generic[Value]):
    """Where a phrase has come to: the words that can follow, and by kind the longest phrase up to here."""

    __slots__ = ("following", "longest")

    def __init__(self) -> None:
        self.following: dict[str, _Node[Value]] = {}
        self.longest: tuple[tuple[str, int, Value], ...] = ()


class PhraseTrie(Generic[Value]):
    """Find all phrases of all kinds in one walk over the words.

    Within one kind the longest phrase that begins at a word wins, and matches do not overlap. Case, hyphens and white
    space do not matter.

    Parameters
    ----------
    phrases : iterable of (str, str, Value)
        A kind, a phrase, and what it stands for.

    Examples
    --------
    >>> trie = PhraseTrie([("concept", "effusion", "fluid"), ("concept", "pleural effusion", "fluid")])
    >>> trie(find_words("Large Pleural effusion"), 0, 3)
    {'concept': [Match(first=1, last=3, value='fluid')]}
    """

    def __init__(self, phrases: Iterable[tuple[str, str, Value]]) -> None:
        self._begins: dict[str, _Node[Value]] = {}
        self.vocabulary: set[str] = set()
        longest: defaultdict[_Node[Value], dict[str, tuple[int, Value]]] = defaultdict(dict)
        for kind, phrase, value in phrases:
            words, following = find_words(phrase).lower, self._begins
            for word in words:
                if word not in following:
                    following[word] = _Node()
                node = following[word]
                following = node.following
            if words:
                self.vocabulary.update(words)
                longest[node][kind] = (len(words), value)
        nodes = list(self._begins.values())
        for node in nodes:  # each hands on what it has to those behind it
            node.longest = tuple((kind, length, value) for kind, (length, value) in longest[node].items())
            for further in node.following.values():
                longest[further] = longest[node] | longest[further]
                nodes.append(further)

    def __call__(self, words: Words, first: int, last: int) -> dict[str, list[Match[Value]]]:
        """Return the matches of each kind among the words ``first`` up to, not including, ``last``."""
        lower, begins, new = words.lower, self._begins, tuple.__new__
        found: dict[str, list[Match[Value]]] = {}
        for i in range(first, last):
            node = begins.get(lower[i])
            if node is None:
                continue
            j = i + 1
            while node.following and j < last and (further := node.following.get(lower[j])) is not None:
                node, j = further, j + 1
            for kind, length, value in node.longest:
                known = found.get(kind)
                if known is None:
                    found[kind] = [new(Match, (i, i + length, value))]
                elif i >= known[-1].last:
                    known.append(new(Match, (i, i + length, value)))
        return found


def read_yaml(content: str) -> Any:
    """Return what a YAML text holds, read by the fast loader where PyYAML has it."""
    return yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


@cache
def read_data(name: str) -> Any:
    """Return the content of one of the room's own YAML files."""
    return read_yaml(files("medfuse.text").joinpath("data", name).read_text(encoding="utf-8"))


def with_plural(wording: str) -> tuple[str, ...]:
    """Return a wording and its regular plural.

    Examples
    --------
    >>> with_plural("opacity"), with_plural("mass")
    (('opacity', 'opacities'), ('mass', 'masses'))
    """
    if wording.endswith("y") and wording[-2:-1] not in tuple("aeiou"):
        return wording, f"{wording[:-1]}ies"
    return wording, wording + ("es" if wording.endswith(("s", "x", "z", "ch", "sh")) else "s")
