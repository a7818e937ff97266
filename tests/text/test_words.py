from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from medfuse.text.words import MASK, PhraseTrie, find_words

WORD = re.compile(
    rf"(?:{MASK})|([+-]ve\b|\d+(?:\.\d+)*|[hrcdswyp]/[oabntfkupx](?![^\W_])|[^\W\d_]+(?:'+[^\W\d_]+)*|[^\w\s-])"
)
PIECES = [
    "No",
    " ",
    "-",
    "effusion",
    "1.2",
    ".",
    "'s",
    "’",
    "w/o",
    "/",
    "+ve",
    "-ve",
    "_",
    "___",
    "xxx",
    "XXXX",
    "**name[x]",
    "[**",
    "**]",
    "x",
    "5",
    "é",
    "\u00a0",
    "İ",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=40)
NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=4)


@given(text=TEXTS)
def test_words_are_those_of_one_pattern_whatever_signs_stand_among_them(text: str) -> None:
    lower = text.lower()
    if len(lower) != len(text):
        lower = "".join(character.lower()[0] for character in text)
    lower = lower.replace("’", "'")
    spans = [match.span(1) for match in WORD.finditer(lower) if match[1]]
    words = find_words(text)
    assert [*zip(words.starts, words.ends, strict=True)] == spans
    assert words.lower == [lower[a:b] for a, b in spans]


@given(
    phrases=st.dictionaries(st.tuples(st.sampled_from("pq"), NAMES.map(" ".join)), st.integers(), max_size=8),
    text=st.lists(st.sampled_from("abcd"), max_size=12),
)
def test_longest_phrase_of_each_kind_wins_and_matches_of_a_kind_do_not_overlap(
    phrases: dict[tuple[str, str], int], text: list[str]
) -> None:
    wanted: dict[str, list[tuple[int, int, int]]] = {}
    for kind in "pq":
        free = 0
        for first in range(len(text)):
            ends = [last for last in range(len(text), first, -1) if (kind, " ".join(text[first:last])) in phrases]
            if ends and first >= free:
                free = ends[0]
                value = phrases[kind, " ".join(text[first:free])]
                wanted.setdefault(kind, []).append((first, free, value))
    trie = PhraseTrie((kind, phrase, value) for (kind, phrase), value in phrases.items())
    assert trie(find_words(" ".join(text)), 0, len(text)) == wanted


def test_phrase_without_a_word_is_never_found() -> None:
    trie = PhraseTrie([("concept", "xxxx", 1), ("concept", "mass", 2)])
    assert trie(find_words("A mass."), 0, 3) == {"concept": [(1, 2, 2)]}
