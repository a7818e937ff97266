"""What the answer owes to the words of a report: without a word, a sentence, a finding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medfuse.errors import UsageError
from medfuse.explain.case_logit import FLAGS, CaseLogit
from medfuse.explanation_parts import Counterfactual
from medfuse.inference import Predictor
from medfuse.tensors import Sample
from medfuse.text import FindingFlags, annotate, find_sentences, overlaps
from medfuse.types import ReportText

__all__ = ["Wording", "sentence_scores", "spread_flags", "without_words"]

N_WORDS = 3
"""Words that the answer is asked for without: those with the largest scores."""
BATCH_SIZE = 32

Span = tuple[int, int]
TokenScores = tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """Where the tokens and the flags of a case stand in its text.

    Parameters
    ----------
    text : str
    offsets : tuple of (int, int)
        Of each token.
    flags : FindingFlags, optional
        None if the model reads none.
    """

    text: str
    offsets: tuple[Span, ...]
    flags: FindingFlags | None

    @classmethod
    def of(cls, predictor: Predictor, sample: Sample, text: ReportText) -> Wording:
        """Return the wording that a sample was prepared from.

        Raises
        ------
        UsageError
            If the sample's tokens come from another text.
        """
        encoding = predictor.preprocessing.encode(text)
        if encoding is None or sample.token_ids is None or list(encoding.ids) != sample.token_ids.tolist():
            found, expected = "found another text than the sample's", "the one that it was prepared from"
            raise UsageError("text", found, expected=expected)
        return cls(text.text, encoding.offsets, predictor.preprocessing.flag(text))

    def tokens_in(self, spans: Sequence[Span]) -> list[int]:
        """Return the numbers of the tokens that some characters touch."""
        return [row for row, offset in enumerate(self.offsets) if overlaps(offset, spans)]


def spread_flags(wording: Wording, values: Tensor) -> Tensor:
    """Give each flag's score, in equal parts, to the tokens of the mentions that it comes from, shape (L,)."""
    scores = values.new_zeros(len(wording.offsets))
    for value, spans in zip(values, wording.flags.spans if wording.flags else (), strict=False):
        tokens = wording.tokens_in(spans)
        scores[tokens] += value / max(len(tokens), 1)
    return scores


def sentence_scores(case: CaseLogit, wording: Wording) -> TokenScores:
    """Return by how much the log-odds fall without each sentence that the model reads.

    Parameters
    ----------
    case : CaseLogit
        With a text.
    wording : Wording

    Returns
    -------
    tuple of (start, end, score)
    """
    spans = [span for span in find_sentences(wording.text) if wording.tokens_in([span])]
    if not spans:
        return ()
    moving = case.moving(("text", FLAGS))
    full = moving.ends()[0]
    logits = moving.at(*_hidden(moving, wording, [[span] for span in spans]), batch_size=BATCH_SIZE)
    return tuple((a, b, full - float(logit)) for (a, b), logit in zip(spans, logits, strict=True))


def without_words(case: CaseLogit, wording: Wording, token_scores: TokenScores) -> list[Counterfactual]:
    """Ask for the answer without each named finding, and without each of the words that score highest.

    Parameters
    ----------
    case : CaseLogit
        With a text.
    wording : Wording
    token_scores : tuple of (start, end, score)
        Those of the tokens.

    Returns
    -------
    list of Counterfactual
        Findings in the order of the text, a concept once; then words, the highest score first. All mentions are hidden
        at once, and what the flags say of them.
    """
    findings: dict[str, list[Span]] = defaultdict(list)
    for finding in annotate(wording.text).findings:
        if wording.tokens_in([(finding.start, finding.end)]):
            findings[finding.concept].append((finding.start, finding.end))
    words = _strongest_words(wording.text, token_scores)
    groups = [*findings.values(), *words]
    if not groups:
        return []
    moving = case.moving(("text", FLAGS))
    full = float(moving.probabilities(*moving.inputs())[0])
    found = moving.probabilities(*_hidden(moving, wording, groups), batch_size=BATCH_SIZE).tolist()
    named = [("finding", name) for name in findings] + [("word", "")] * len(words)
    return [
        Counterfactual("finding" if kind == "finding" else "word", name, tuple(spans), p, p - full)
        for (kind, name), spans, p in zip(named, groups, found, strict=True)
    ]


def _strongest_words(text: str, token_scores: TokenScores) -> list[list[Span]]:
    """Return where each of the words with the largest scores stands, all mentions together."""
    mentions: dict[str, list[Span]] = defaultdict(list)
    total: dict[str, float] = defaultdict(float)
    for start, end, score in token_scores:
        word = text[start:end].casefold()
        if any(letter.isalnum() for letter in word):
            mentions[word].append((start, end))
            total[word] += score
    strongest = sorted(total, key=lambda word: abs(total[word]), reverse=True)[:N_WORDS]
    return [mentions[word] for word in strongest if total[word]]


def _hidden(case: CaseLogit, wording: Wording, groups: Iterable[Sequence[Span]]) -> tuple[Tensor, ...]:
    """Return versions of a case, each with the tokens and flags of some characters hidden."""
    inputs = dict(zip(case.names, case.inputs(), strict=True))
    empty = dict(zip(case.names, case.baselines(), strict=True))
    versions: dict[str, list[Tensor]] = {name: [] for name in case.names}
    for spans in groups:
        gone = torch.zeros(len(wording.offsets), dtype=torch.bool)
        gone[wording.tokens_in(spans)] = True
        versions["text"].append(torch.where(gone[None, :, None], empty["text"], inputs["text"]))
        if FLAGS in versions:
            said = wording.flags.spans if wording.flags else ()
            kept = [not any(overlaps(one, spans) for one in mentions) for mentions in said]
            versions[FLAGS].append(inputs[FLAGS] * torch.tensor([kept], dtype=inputs[FLAGS].dtype))
    return tuple(torch.cat(versions[name]) for name in case.names)
