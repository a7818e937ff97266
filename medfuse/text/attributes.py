"""Where a finding is, on which side, and how it changed: the nearest words that say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medfuse.text.words import Match, Words

__all__ = ["nearest"]

_COMMA = 4
"""A comma, a semicolon or an "and" between a word and a finding counts as so many words."""
_DIVIDING = frozenset([",", ";", "and", "with", "but", "(", "."])


def nearest(words: Words, matches: Sequence[Match[Any]], first: int, last: int, *, reach: int) -> str:
    """Return what the match nearest to the words ``first`` up to ``last`` stands for.

    Parameters
    ----------
    words : Words
    matches : sequence of Match
        In order.
    first, last : int
    reach : int
        Largest distance, in words; what divides clauses counts as more than one.

    Returns
    -------
    str
        Empty if none is near enough. One inside the words themselves wins; of two equally near the first.
    """
    if not matches:
        return ""
    best, found = reach + 1, ""
    for match in matches:
        if max(match.first - last, first - match.last) >= best:
            continue
        distance = _distance(words, match, first, last)
        if distance < best:
            best, found = distance, match.value
    return found


def _distance(words: Words, match: Match[Any], first: int, last: int) -> int:
    if match.last <= first:
        between = words.lower[match.last : first]
    elif match.first >= last:
        between = words.lower[last : match.first]
    else:
        return -1
    return len(between) + _COMMA * sum(map(_DIVIDING.__contains__, between))
