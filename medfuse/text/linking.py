"""Which finding a size belongs to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from medfuse.text.context import Assertion
from medfuse.text.measurements import Measurement
from medfuse.text.words import Words

__all__ = ["Candidate", "choose_measured"]

_VERBS = frozenset([
    "measuring", "measures", "measured", "measure", "measurement", "size", "sized", "diameter", "dimension",
    "dimensions", "axis", "is", "are", "was", "were", "reaching", "reaches", "up",
])  # fmt: skip
_DIVIDING = frozenset([";", "and", "with", "containing", "including", "within", "but", ","])
_NEIGHBOURS = 6
"""So many candidates on either side of a size can own it."""
_ACROSS = 6
"""What a word that divides clauses adds to the distance, in words."""


class Candidate(NamedTuple):
    """A concept found in a sentence.

    Parameters
    ----------
    concept : str
    first, last : int
        Its words.
    start, end : int
        Its characters.
    assertion : Assertion
    """

    concept: str
    first: int
    last: int
    start: int
    end: int
    assertion: Assertion


def choose_measured(words: Words, size: Measurement, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the candidate that a size belongs to.

    "A 5 mm nodule" is named right behind its size; else "nodule in the left lobe measuring 5 mm" is named before it.

    Parameters
    ----------
    words : Words
    size : Measurement
    candidates : sequence of Candidate
        Those that can be measured, in order.

    Returns
    -------
    Candidate or None
    """
    first, last = words.inside(size.start, size.end)
    place = bisect_right(candidates, size.start, key=lambda candidate: candidate.start)
    near = candidates[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
    return min(near, key=lambda candidate: _cost(words, first, last, candidate), default=None)


def _cost(words: Words, first: int, last: int, candidate: Candidate) -> int:
    if candidate.first >= last:
        between = words.lower[last : candidate.first]
        verbs = 3 * sum(word in _VERBS for word in between)
    else:
        between = words.lower[candidate.last : first]
        verbs = 0
    return len(between) + verbs + _ACROSS * sum(word in _DIVIDING for word in between)
