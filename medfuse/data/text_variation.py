"""Where a report's tokens may be reordered, left out or worded otherwise, found once for all epochs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from medfuse.config import AugmentConfig
from medfuse.data.preprocessing import Preprocessing
from medfuse.text import annotate, concept_wordings, term_spans
from medfuse.text.tokens import UNKNOWN_ID
from medfuse.types import ReportText

__all__ = ["TextVariants", "text_variants", "vary_text"]

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TextVariants:
    """Token ranges of one report; each is (first, last + 1).

    Parameters
    ----------
    sentences : tuple of (int, int)
        Together all tokens, in order; what lies between two sentences belongs to the one before.
    sections : tuple of int
        Number of the section of each sentence.
    wordings : tuple of (int, int, tuple of tuple of int)
        Of each finding the tokens, and the token ids of the lexicon's other wordings of it.
    terms : tuple of (int, int)
        Tokens of each mention of ``data.text.mask_terms``, where the model may read them.
    """

    sentences: tuple[Span, ...]
    sections: tuple[int, ...]
    wordings: tuple[tuple[int, int, tuple[tuple[int, ...], ...]], ...]
    terms: tuple[Span, ...] = ()


def text_variants(text: ReportText, preprocessing: Preprocessing) -> TextVariants:
    """Find the sentences, sections and findings of a report among its tokens.

    Parameters
    ----------
    text : ReportText
    preprocessing : Preprocessing
        With its tokenizer; it reads text.

    Returns
    -------
    TextVariants
    """
    encoding = preprocessing.encode(text)
    offsets = encoding.offsets if encoding is not None else ()
    report = annotate(text.text)
    starts = [start for start, _ in report.sentences]
    sections = [(s.start, s.end) for s in report.sections]
    numbers = [max(bisect_right(starts, start) - 1, 0) for start, _ in offsets]
    borders = [0, *(i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1]), len(numbers)]
    sentences = tuple((a, b) for a, b in pairwise(borders) if a < b)
    of_section = tuple(
        next((k for k, (a, b) in enumerate(sections) if a <= offsets[first][0] < b), -1) for first, _ in sentences
    )
    wordings: list[tuple[int, int, tuple[tuple[int, ...], ...]]] = []
    for finding in report.findings:
        inside = [i for i, (a, b) in enumerate(offsets) if a < finding.end and finding.start < b]
        said = text.text[finding.start : finding.end].lower()
        words = concept_wordings(finding.concept)
        # Only a finding said in the lexicon's own words can be said in others: "enlarged" alone is no wording.
        if not inside or said not in words or (wordings and wordings[-1][1] > inside[0]):
            continue
        others = tuple(_ids(preprocessing, word) for word in words if word != said)
        if others:
            wordings.append((inside[0], inside[-1] + 1, others))
    hidden = preprocessing.text.mask_terms if preprocessing.text.mask == "compare" else ()
    mentions = [[i for i, (a, b) in enumerate(offsets) if a < end and start < b] for start, end in _spans(text, hidden)]
    terms = tuple((inside[0], inside[-1] + 1) for inside in mentions if inside)
    return TextVariants(sentences, of_section, tuple(wordings), terms)


def _spans(text: ReportText, terms: Sequence[str]) -> list[Span]:
    return term_spans(text.text, terms) if terms else []


def _ids(preprocessing: Preprocessing, words: str) -> tuple[int, ...]:
    if preprocessing.tokenizer is None:
        return ()
    return preprocessing.tokenizer.encode(words, max_length=preprocessing.text.max_length).ids


def vary_text(
    token_ids: Tensor, variants: TextVariants, *, config: AugmentConfig, rng: np.random.Generator, max_length: int
) -> Tensor:
    """Reword, shorten and reorder a report.

    Parameters
    ----------
    token_ids : Tensor, shape (L,)
    variants : TextVariants
        Of the same text.
    config : AugmentConfig
    rng : Generator
    max_length : int
        Tokens kept.

    Returns
    -------
    Tensor, shape (L',)

    Examples
    --------
    >>> report = TextVariants(((0, 2), (2, 3)), (0, 0), ())
    >>> turned = vary_text(torch.tensor([5, 6, 7]), report, config=AugmentConfig(shuffle_sentences=1.0),
    ...                    rng=np.random.default_rng(3), max_length=9)
    >>> turned.tolist()
    [7, 5, 6]
    """
    ids = token_ids.tolist()
    # The same numbers are drawn whatever is chosen, so that one chance never changes another's outcome.
    reworded = rng.random(len(variants.wordings)) < config.synonyms
    chosen = rng.random(len(variants.wordings))
    pieces: dict[int, tuple[int, list[int]]] = {
        first: (end, list(others[int(at * len(others))]))
        for (first, end, others), yes, at in zip(variants.wordings, reworded, chosen, strict=True)
        if yes
    }
    # A hidden term is one unknown word, as where the model answers without it.
    if rng.random() < config.hide_terms:
        pieces |= {first: (end, [UNKNOWN_ID]) for first, end in variants.terms}
    sentences = [_reworded(ids, span, pieces) for span in variants.sentences]
    kept = _without_a_section(variants.sections, drop=rng.random() < config.drop_section, at=rng.random())
    order = _shuffled(kept, variants.sections, rng) if rng.random() < config.shuffle_sentences else kept
    varied = [token for k in order for token in sentences[k]][:max_length]
    return torch.tensor(varied, dtype=torch.int64) if varied else token_ids


def _reworded(ids: Sequence[int], span: Span, pieces: dict[int, tuple[int, list[int]]]) -> list[int]:
    said: list[int] = []
    place = span[0]
    while place < span[1]:
        end, words = pieces.get(place, (place + 1, [ids[place]]))
        said += words
        place = end
    return said


def _without_a_section(sections: Sequence[int], *, drop: bool, at: float) -> list[int]:
    names = sorted(set(sections))
    lost = names[int(at * len(names))] if drop and len(names) > 1 else None
    return [k for k, section in enumerate(sections) if section != lost]


def _shuffled(kept: Sequence[int], sections: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Let the sentences of each section change places; the sections stay in order."""
    order: list[int] = []
    for section in dict.fromkeys(sections[k] for k in kept):
        members = [k for k in kept if sections[k] == section]
        order += [members[int(i)] for i in rng.permutation(len(members))]
    return order
