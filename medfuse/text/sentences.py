"""Where the sentences of a report are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from medfuse.text.sections import find_headings

__all__ = ["MAX_SENTENCE_CHARACTERS", "find_sentences", "passages_of", "sentences_of", "split_passage"]

MAX_SENTENCE_CHARACTERS = 2000
"""Longer runs are cut at a space: the work on one sentence stays bounded, whatever comes in."""

# The end of a sentence: a mark before a space, or glued to the next sentence ("effusion.Nodule"); an empty line;
# a line end before a bullet or number; a line end before a capital where the line was too short to be wrapped.
_END = re.compile(
    r"[.!?\s](?![a-z])(?:(?<=[.!?])[.!?]{0,8}(?=[\s\"')\]]|$)[\"')\]]{0,3}|(?<=[a-z]{2}\.)(?=[A-Z][a-z])"
    r"|(?<=\n)[ \t\r]{0,40}\n|(?<=\n)(?=[ \t]{0,40}(?:\d{1,2}[.)]|[-*•])[ \t])|(?P<line>(?<=\n))(?=[ \t]{0,40}[A-Z])"
    r"|(?<=\s)(?=(?:\d{1,2}\)\s|[•·]|[\"“]\s?)\s{0,3}[A-Z]))"
)
# An end that needs no second look, whatever stands around it: behind a word that is no abbreviation, or a bracket, and
# before a capital; or behind a longer word, but not "approx.", and before a number.
_SURE_END = re.compile(
    r"[.!?](?:(?:(?<=[A-Za-z]{3}.)(?<![Mm][Rr][Ss].)|(?<=\).))(?=\s{1,3}[A-Z])"
    r"|(?<=[A-Za-z]{4}.)(?<![Xx].)(?=\s{1,3}\d))"
)
# A passage that is one sentence: there is no mark, line end or bullet in it.
_ONE_SENTENCE = re.compile(r"\s{0,3}([A-Za-z0-9][\w ,;:/'(%-]{0,500}\.)")
_WRAPPED_LINE = 50
_LONG = 4
"""No abbreviation before a capital has so many letters."""
_ABBREVIATION = re.compile(r"(?:\b(?:dr|mr|mrs|ms|vs|st|e\.g|i\.e|cf)|(?:^|[\s(])\d{1,2})$", re.IGNORECASE)
# These are no ends only before a number ("no. 3") or a small letter ("4 p.m. today").
_BEFORE_NUMBER = re.compile(r"\b(?:no|nr|fig|im|img|se|ser|a\.m|p\.m|p\.o|min|max|approx)$", re.IGNORECASE)

# A line that ends like this goes on, however short it is: a "no" is never parted from what it denies.
_OPEN_END = re.compile(
    r"(?:,|(?<!:)(?<!: )\b(?:no|not|nor|without|of|the|a|an|and|or|in|with|for|to|is|are|was|were|by|from|at))\s*$",
    re.IGNORECASE,
)


def find_sentences(text: str) -> tuple[tuple[int, int], ...]:
    r"""Find the sentences of a report.

    Parameters
    ----------
    text : str

    Returns
    -------
    tuple of (int, int)
        Character offsets, in order, without surrounding white space. Headings are no part of a sentence, and
        nothing without a letter or digit is one.

    Examples
    --------
    >>> text = "FINDINGS: A 1.2 cm nodule. No effusion.\n2. Dr. Low agrees."
    >>> [text[a:b] for a, b in find_sentences(text)]
    ['A 1.2 cm nodule.', 'No effusion.', '2. Dr. Low agrees.']
    """
    return sentences_of(text, find_headings(text))


def sentences_of(text: str, headings: Sequence[tuple[str, int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the sentences of a report whose headings are known; see `find_sentences`."""
    passages = passages_of(text, headings)
    return tuple((start + a, start + b) for start, passage in passages for a, b in split_passage(passage))


def passages_of(text: str, headings: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, str]]:
    """Cut a report at its headings and where a sentence ends beyond doubt.

    Parameters
    ----------
    text : str
    headings : sequence of (name, start, end)

    Yields
    ------
    (int, str)
        Where a passage begins, and the passage: mostly one sentence. Where its sentences are depends on nothing else.
    """
    start = 0
    for _, heading_start, heading_end in (*headings, ("", len(text), len(text))):
        for match in _SURE_END.finditer(text, start, heading_start):
            yield start, text[start : match.end()]
            start = match.end()
        yield start, text[start:heading_start]
        start = heading_end


def split_passage(passage: str) -> list[tuple[int, int]]:
    """Return the sentences of a passage, without surrounding white space.

    Examples
    --------
    >>> split_passage(" Seen by Dr. Low at 2 p.m.")
    [(1, 26)]
    """
    if alone := _ONE_SENTENCE.fullmatch(passage):
        return [alone.span(1)]
    pieces = []
    start = 0
    for match in _END.finditer(passage):
        if not _goes_on(passage, start, match):
            pieces += _trimmed_pieces(passage, start, match.end())
            start = match.end()
    return pieces + _trimmed_pieces(passage, start, len(passage))


def _goes_on(text: str, start: int, end: re.Match[str]) -> bool:
    """Tell whether a mark or line end is none of a sentence."""
    if end.lastgroup == "line":
        line_start = max(text.rfind("\n", max(start, end.start() - 2 * _WRAPPED_LINE), end.start()) + 1, start)
        return end.start() - line_start > _WRAPPED_LINE or bool(_OPEN_END.search(text[line_start : end.start()]))
    if not end.group().startswith("."):
        return False
    following = text[end.end() : end.end() + 9].lstrip()[:1]
    before = text[max(start, end.start() - 8) : end.start()]
    if following.isupper() and before[-_LONG:].isalpha() and len(before) >= _LONG:
        return False  # the most frequent case, told without a search
    list_number = before.strip().isdigit() and not text[start : end.start()].strip(" \t\r\n0123456789")
    if before[-1:].isdigit():
        return list_number
    return bool(_ABBREVIATION.search(before)) or (
        (following.isdigit() or following.islower()) and bool(_BEFORE_NUMBER.search(before))
    )


def _trimmed_pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    pieces = []
    while start < end:
        stop = end
        if end - start > MAX_SENTENCE_CHARACTERS:
            space = text.rfind(" ", start + 1, start + MAX_SENTENCE_CHARACTERS)
            stop = space if space > start else start + MAX_SENTENCE_CHARACTERS
        piece = text[start:stop]
        if (body := piece.strip()) and (body[0].isalnum() or any(character.isalnum() for character in body)):
            first = start + piece.index(body[0])
            pieces.append((first, first + len(body)))
        start = stop
    return pieces
