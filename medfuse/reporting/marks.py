"""Report text cut into marked and unmarked pieces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medfuse.errors import DataError

__all__ = ["LEVELS", "Piece", "marked_pieces", "strongest", "visible"]

LEVELS = (0.15, 0.4, 0.7)
"""Shares of the largest score at which a mark appears and grows."""
HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
"""Characters that no reader sees, some of which reorder what is seen."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text under one mark.

    Parameters
    ----------
    text : str
    side : {"", "for", "against"}
        Empty where unmarked.
    strength : int
        0 unmarked, 1 to 3.
    score : float
    """

    text: str
    side: Literal["", "for", "against"] = ""
    strength: int = 0
    score: float = 0.0


def marked_pieces(text: str, scores: Sequence[tuple[int, int, float]]) -> list[Piece]:
    """Cut a text at its scored tokens; the pieces joined are the text again.

    Parameters
    ----------
    text : str
    scores : sequence of (start, end, score)
        Character offsets; a positive score speaks for the answer.

    Returns
    -------
    list of Piece

    Raises
    ------
    DataError
        If offsets overlap or lie outside the text.

    Examples
    --------
    >>> [(p.text, p.side, p.strength) for p in marked_pieces("a spiculated nodule", [(2, 12, 0.9), (13, 19, -0.2)])]
    [('a ', '', 0), ('spiculated', 'for', 3), (' ', '', 0), ('nodule', 'against', 1)]
    """
    largest = max((abs(score) for _, _, score in scores), default=0.0)
    pieces: list[Piece] = []
    done = 0
    for start, end, score in sorted(scores):
        if start < done or end < start or end > len(text):
            raise DataError("token scores", "found offsets that overlap or leave the text", expected="spans in order")
        if start > done:
            pieces.append(Piece(text[done:start]))
        share = abs(score) / largest if largest > 0 else 0.0
        strength = sum(share >= level for level in LEVELS)
        side: Literal["", "for", "against"] = "" if strength == 0 else "for" if score > 0 else "against"
        pieces.append(Piece(text[start:end], side, strength, score))
        done = end
    if done < len(text):
        pieces.append(Piece(text[done:]))
    return [piece for piece in pieces if piece.text]


def strongest(pieces: Sequence[Piece], side: Literal["for", "against"], *, n: int = 5) -> list[Piece]:
    """Return the pieces that speak most for or against the answer.

    Parameters
    ----------
    pieces : sequence of Piece
    side : {"for", "against"}
    n : int
        At most so many; a word that comes again counts once.

    Returns
    -------
    list of Piece
        Strongest first.

    Examples
    --------
    >>> pieces = marked_pieces("a spiculated nodule", [(2, 12, 0.9), (13, 19, 0.5)])
    >>> [p.text for p in strongest(pieces, "for", n=1)]
    ['spiculated']
    """
    ranked = sorted((p for p in pieces if p.side == side), key=lambda p: -abs(p.score))
    first = {piece.text.casefold(): piece for piece in reversed(ranked)}
    return sorted(first.values(), key=lambda p: -abs(p.score))[:n]


def visible(text: str) -> str:
    """Return a text with each character that no reader sees replaced by its name.

    Examples
    --------
    >>> visible("left\u202e right")
    'left[U+202E] right'
    """
    return HIDDEN.sub(lambda match: f"[U+{ord(match.group()):04X}]", text)
