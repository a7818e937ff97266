"""Several models of one kind as one: the mean of their logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from medfuse.models.classifier import StudyClassifier
from medfuse.tensors import Batch, ModelOutput

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """Classifiers of one configuration, trained from different seeds, that answer together.

    Their embedded tokens lie side by side, so that saliency starts from all members at once.

    Parameters
    ----------
    members : sequence of StudyClassifier
        At least one.

    Notes
    -----
    Source: Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles;
    here the mean is that of the logits, which calibration then turns into probabilities.
    """

    def __init__(self, members: Sequence[StudyClassifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.modalities = members[0].modalities

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return every member's embedded tokens, shape (B, L, members * D), of token ids, shape (B, L)."""
        return torch.cat([member.embed(token_ids) for member in self._each()], dim=2)

    def forward(self, batch: Batch) -> ModelOutput:
        """Classify a batch; see `StudyClassifier.forward`."""
        return _joined([member(batch) for member in self._each()])

    def forward_embedded(self, batch: Batch, embedded: Tensor | None) -> ModelOutput:
        """Classify a batch whose tokens `embed` has embedded; see `StudyClassifier.forward_embedded`."""
        n = len(self.members)
        pieces = [None] * n if embedded is None else embedded.chunk(n, dim=2)
        return _joined([m.forward_embedded(batch, piece) for m, piece in zip(self._each(), pieces, strict=True)])

    def _each(self) -> list[StudyClassifier]:
        return [cast(StudyClassifier, member) for member in self.members]


def _joined(outputs: Sequence[ModelOutput]) -> ModelOutput:
    """Return the mean logits, and each member's; embeddings side by side, of unit length, zeros where one is absent."""
    first = outputs[0]
    members = {name: torch.stack([o.logits[name] for o in outputs]) for name in first.logits}
    return ModelOutput(
        logits={name: each.mean(dim=0) for name, each in members.items()},
        embeddings=_side_by_side([o.embeddings for o in outputs]),
        unscaled=_side_by_side([o.unscaled for o in outputs]),
        present=first.present,
        fusion_weights=_mean_of([o.fusion_weights for o in outputs]),
        members=members,
    )


def _side_by_side(embeddings: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {
        name: torch.cat([each[name] for each in embeddings], dim=1) / len(embeddings) ** 0.5 for name in embeddings[0]
    }


def _mean_of(weights: Sequence[Tensor | None]) -> Tensor | None:
    known = [one for one in weights if one is not None]
    return torch.stack(known).mean(dim=0) if known else None
