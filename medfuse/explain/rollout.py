"""Where a transformer's attention comes from: rollout, for comparison with what attributes answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from medfuse.errors import UsageError
from medfuse.explain.case_logit import CaseLogit, members_of
from medfuse.explain.method import Method, Scores
from medfuse.models.transformer_encoder import TransformerEncoder

__all__ = ["AttentionRollout"]


@dataclass(frozen=True)
class AttentionRollout(Method):
    """How much of each word the pooled words hold, by attention alone: it knows neither the class nor the sign.

    Notes
    -----
    Source: Abnar & Zuidema 2020, Quantifying Attention Flow in Transformers, eq. 1 and section 3 (half of each layer's
    output is its input; mean over the heads).
    """

    explains: ClassVar[tuple[str, ...]] = ("text",)

    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score the text.

        Raises
        ------
        UsageError
            If its encoder is no transformer that learns from the cohort.
        """
        if "text" not in case.names:
            return {}
        encoders = [member.encoders["text"] for member in members_of(case.model)]
        mask = case.batch.token_mask
        pieces = case.moving(("text",)).inputs()[0].chunk(len(encoders), dim=2)
        rolled = []
        for encoder, embedded in zip(encoders, pieces, strict=True):
            if not isinstance(encoder, TransformerEncoder):
                found = f"found the text encoder {type(encoder).__name__}, whose attention is not to be had"
                raise UsageError("explain.text_method", found, expected="model.text_encoder.name: transformer")
            with torch.inference_mode(), recorded_attention(encoder) as weights:
                encoder.token_states(embedded, mask)
            joined = torch.eye(mask.shape[1])
            for layer in weights:
                joined = (0.5 * layer + 0.5 * torch.eye(mask.shape[1])) @ joined
            rolled.append(joined.mean(dim=0))  # the words are pooled by their mean
        return {"text": torch.stack(rolled).mean(dim=0)}


@contextmanager
def recorded_attention(encoder: TransformerEncoder) -> Iterator[list[Tensor]]:
    """Keep the attention of each layer, shape (L, L), mean over its heads, as the encoder reads one text."""
    kept: list[Tensor] = []

    def keep(layer: nn.Module, given: tuple[Tensor, Tensor]) -> None:
        states, mask = given
        n_heads = cast(int, layer.n_heads)
        normed = cast(nn.LayerNorm, layer.attention_norm)(states)
        query, key = (
            cast(nn.Linear, part)(normed).unflatten(2, (n_heads, -1)).transpose(1, 2)
            for part in (layer.query, layer.key)
        )
        scores = (query @ key.transpose(2, 3)) / query.shape[-1] ** 0.5
        kept.append(scores.masked_fill(~mask[:, None, None], float("-inf")).softmax(dim=3)[0].mean(dim=0))

    handles = [layer.register_forward_pre_hook(keep) for layer in encoder.layers]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
