"""The report as a page shows it: what looks like identity is replaced, and every mark moves along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from medfuse.text import DeidentifiedText, deidentify
from medfuse.types import Explanation

__all__ = ["without_identity"]

Scored = tuple[tuple[int, int, float], ...]


def without_identity(explanation: Explanation) -> Explanation:
    """Replace names, dates and numbers of persons in the text by placeholders: best effort, as all of `deidentify`.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    Explanation
        Its spans point into the new text; the scores of one placeholder's words are added up.
    """
    done = deidentify(explanation.text)
    if not done.replacements:
        return explanation
    return replace(
        explanation,
        text=done.text,
        token_scores=_moved(explanation.token_scores, done),
        sentence_scores=_moved(explanation.sentence_scores, done),
        counterfactuals=tuple(
            replace(one, spans=tuple(dict.fromkeys(done.to_new(*span) for span in one.spans)))
            for one in explanation.counterfactuals
        ),
    )


def _moved(scores: Iterable[tuple[int, int, float]], done: DeidentifiedText) -> Scored:
    sums: dict[tuple[int, int], float] = {}
    for start, end, score in scores:
        span = done.to_new(start, end)
        sums[span] = sums.get(span, 0.0) + score
    return tuple((start, end, score) for (start, end), score in sums.items())
