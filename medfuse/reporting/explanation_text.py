"""The report on an explanation page: token marks, and what the report itself denies, doubts or calls past."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from medfuse.reporting.marks import Piece, marked_pieces, visible
from medfuse.text import find_sentences
from medfuse.types import Finding

__all__ = ["PAGE_WIDTH", "Run", "excerpt", "passages", "text_runs"]

PAGE_WIDTH = 720
"""Characters of a report that page 1 has room for; wide ones count twice."""
Span = tuple[int, int]
Status = Literal["", "present", "absent", "uncertain", "historical"]


@dataclass(frozen=True, slots=True)
class Run:
    """Marked pieces that stand together.

    Parameters
    ----------
    pieces : tuple of Piece
    status : {"", "absent", "uncertain", "historical"}
        What the report says of the finding that they name; empty elsewhere.
    """

    pieces: tuple[Piece, ...]
    status: Status = ""


def text_runs(
    text: str, scores: Sequence[tuple[int, int, float]], findings: Sequence[Finding], *, span: Span | None = None
) -> list[Run]:
    """Cut a report at its marks and at what it denies, doubts or calls past; all joined it is the text again.

    Parameters
    ----------
    text : str
    scores : sequence of (start, end, score)
    findings : sequence of Finding
        Of those that overlap the first is shown.
    span : tuple of (int, int), optional
        Only these characters; marks keep the strength that they have in the whole.

    Returns
    -------
    list of Run
        Characters that no reader sees are named, so the text may be longer.

    Raises
    ------
    DataError
        If offsets of scores overlap or lie outside the text.

    Examples
    --------
    >>> denied = Finding("effusion", "absent", 3, 11)
    >>> [([p.text for p in run.pieces], run.status) for run in text_runs("No effusion.", [(0, 2, 0.5)], [denied])]
    [(['No', ' '], ''), (['effusion'], 'absent'), (['.'], '')]
    """
    start, end = span or (0, len(text))
    named = list(_apart(findings))
    cuts = {start, end, *(at for finding in named for at in (finding.start, finding.end))}
    runs: list[Run] = []
    last: Finding | None = None
    for low, piece in _cut(marked_pieces(text, scores), cuts):
        if not start <= low < end:
            continue
        inside = next((f for f in named if f.start <= low < f.end), None)
        shown = replace(piece, text=visible(piece.text))
        if runs and inside is last:
            runs[-1] = Run((*runs[-1].pieces, shown), runs[-1].status)
        else:
            runs.append(Run((shown,), inside.status if inside else ""))
        last = inside
    return runs


def excerpt(text: str, scores: Sequence[tuple[int, int, float]], *, width: int = PAGE_WIDTH) -> list[Span]:
    """Return the sentences that count most, as many as page 1 has room for, in the order of the text.

    Parameters
    ----------
    text : str
    scores : sequence of (start, end, score)
        Without any, the first sentences count most.
    width : int

    Returns
    -------
    list of (int, int)
        The whole text if it fits; a sentence that is too long by itself is cut short.

    Examples
    --------
    >>> excerpt("One. Two is marked. Three.", [(5, 8, 0.9)], width=15)
    [(5, 19)]
    """
    if _width(text) <= width:
        return [(0, len(text))]
    sentences = find_sentences(text) or [(0, len(text))]
    weights = [sum(abs(s) for a, b, s in scores if start <= a and b <= end) for start, end in sentences]
    chosen: list[Span] = []
    left = width
    for index in sorted(range(len(sentences)), key=lambda i: (-weights[i], i)):
        start, end = sentences[index]
        needed = _width(text[start:end])
        if needed > left and chosen:
            continue
        if needed > left:
            end = start + left // 2 if needed > end - start else start + left
        chosen.append((start, end))
        left -= needed
        if left <= 0:
            break
    return sorted(chosen)


def passages(text: str, spans: Sequence[Span]) -> list[Span]:
    """Join sentences that follow each other, so that a gap is shown only where something is left out.

    Examples
    --------
    >>> passages("One. Two. Three. Four.", [(0, 4), (5, 9), (17, 22)])
    [(0, 9), (17, 22)]
    """
    joined: list[Span] = []
    for start, end in spans:
        if joined and not text[joined[-1][1] : start].strip():
            start = joined.pop()[0]
        joined.append((start, end))
    return joined


def _apart(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the findings that are not simply present, without those that overlap an earlier one."""
    reached = 0
    for finding in sorted(findings, key=lambda f: (f.start, -f.end)):
        if finding.status != "present" and finding.start >= reached:
            reached = finding.end
            yield finding


def _cut(pieces: Sequence[Piece], cuts: set[int]) -> Iterator[tuple[int, Piece]]:
    """Yield the pieces with where they start, cut in two wherever a cut lies inside one."""
    at = 0
    for piece in pieces:
        end = at + len(piece.text)
        ends = [*sorted(cut for cut in cuts if at < cut < end), end]
        low = at
        for high in ends:
            yield low, replace(piece, text=piece.text[low - at : high - at])
            low = high
        at = end


def _width(text: str) -> int:
    return len(text) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
