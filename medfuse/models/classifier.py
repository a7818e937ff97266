"""The model: encoders, a shared space, fusion, heads. It is composed of parts that are already built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import UsageError
from medfuse.models.aligners import Aligner
from medfuse.models.fusions import Fusion
from medfuse.models.heads import Head
from medfuse.models.image_encoders import ImageEncoder
from medfuse.models.text_encoders import TextEncoder
from medfuse.tensors import Batch, ModelOutput

__all__ = ["StudyClassifier", "projection"]


def projection(feature_size: int, embedding_size: int) -> nn.Sequential:
    """Return what turns an encoder's features into an embedding: a linear layer and layer norm."""
    return nn.Sequential(nn.Linear(feature_size, embedding_size), nn.LayerNorm(embedding_size))


class StudyClassifier(nn.Module):
    """Classify studies from any subset of their modalities.

    Each encoder's features are projected to E numbers and layer-normalised: the embedding. Alignment compares
    embeddings brought to unit length. Fusion takes them as they are: layer norm puts the modalities on one
    scale, so that none drowns the others, and its learned gain keeps a magnitude that unit length would take.

    Only the cases that have a modality are encoded: an absent one costs no time and cannot leak through batch
    norm.

    Parameters
    ----------
    encoders : mapping of str to module
        ``"image"``: ImageEncoder; ``"text"``: TextEncoder. Their order is that of the modalities.
    projections : mapping of str to module
        By modality: features, of text with its flags behind them, to embedding; see `projection`.
    aligner : Aligner
    fusion : Fusion
    heads : mapping of str to mapping of str to Head
        By input, then by target. ``"fused"`` reads the fused vector; those named by a modality read its
        embedding alone and serve training only.
    modality_dropout : float
        Chance, in training, that a case with several modalities loses one of them.
    """

    def __init__(
        self,
        encoders: Mapping[str, ImageEncoder | TextEncoder],
        *,
        projections: Mapping[str, nn.Sequential],
        aligner: Aligner,
        fusion: Fusion,
        heads: Mapping[str, Mapping[str, Head]],
        modality_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.modalities = tuple(encoders)
        self.encoders = nn.ModuleDict(dict(encoders))
        self.projections = nn.ModuleDict(dict(projections))
        self.aligner = aligner
        self.fusion = fusion
        self.heads = nn.ModuleDict({read: nn.ModuleDict(dict(parts)) for read, parts in heads.items()})
        self.embedding_size = cast(nn.Linear, next(iter(projections.values()))[0]).out_features
        self.modality_dropout = modality_dropout

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return embedded tokens, shape (B, L, D), of token ids, shape (B, L)."""
        return cast(TextEncoder, self.encoders["text"]).embed(token_ids)

    def forward(self, batch: Batch) -> ModelOutput:
        """Classify a batch.

        Parameters
        ----------
        batch : Batch
            Its modalities are the model's, in the same order.

        Returns
        -------
        ModelOutput

        Raises
        ------
        UsageError
            If the batch has other modalities.
        """
        embedded = self.embed(batch.token_ids) if "text" in self.modalities else None
        return self.forward_embedded(batch, embedded)

    def forward_embedded(self, batch: Batch, embedded: Tensor | None) -> ModelOutput:
        """Classify a batch whose tokens are already embedded, so that saliency can start from them.

        Parameters
        ----------
        batch : Batch
            Its modalities are the model's, in the same order; its token ids are not read.
        embedded : Tensor, shape (B, L, D), optional
            May be None if no case has text.

        Returns
        -------
        ModelOutput

        Raises
        ------
        UsageError
            If the batch has other modalities, or text without embedded tokens.
        """
        if batch.modalities != self.modalities:
            raise UsageError("batch", f"found modalities {list(batch.modalities)}", expected=str(list(self.modalities)))
        inputs = {"image": (batch.image,), "text": (embedded, batch.token_mask, batch.flags)}
        embeddings = {
            name: self._embedding(name, inputs[name], present=batch.present[:, column])
            for column, name in enumerate(self.modalities)
        }
        seen = self._drop_modalities(batch.present) if self.training else batch.present
        fused = self.fusion(embeddings, seen)
        alone = [name for name in self.modalities if name in self.heads] if self.training else []
        return ModelOutput(
            logits=self._logits("fused", fused),
            embeddings={name: F.normalize(embedding, dim=1) for name, embedding in embeddings.items()},
            present=batch.present,
            auxiliary={name: self._logits(name, embeddings[name]) for name in alone},
        )

    def _embedding(self, name: str, inputs: tuple[Tensor | None, ...], *, present: Tensor) -> Tensor:
        """Encode and project the cases that have a modality; the others' rows are zeros."""
        rows = present.nonzero()[:, 0]
        if not len(rows):
            return torch.zeros(len(present), self.embedding_size, device=present.device)
        given = [tensor[rows] for tensor in inputs if tensor is not None]
        if len(given) < len(inputs):
            raise UsageError("batch", f"found {name} without embedded tokens", expected="them, from embed()")
        *inner, last = given
        if name == "text":  # flags are features already
            features = torch.cat([self.encoders[name](*inner), last], dim=1)
        else:
            features = self.encoders[name](last)
        vectors: Tensor = self.projections[name](features)
        return vectors.new_zeros(len(present), self.embedding_size).index_copy(0, rows, vectors)

    def _logits(self, read: str, vector: Tensor) -> dict[str, Tensor]:
        heads = cast(nn.ModuleDict, self.heads[read])
        return {target: head(vector) for target, head in heads.items()}

    def _drop_modalities(self, present: Tensor) -> Tensor:
        """Let some cases lose one modality, never their last."""
        n, m = present.shape
        droppable = (present.sum(dim=1) > 1) & (torch.rand(n, device=present.device) < self.modality_dropout)
        chance = torch.rand(n, m, device=present.device).masked_fill(~present, -1.0)
        lost = F.one_hot(chance.argmax(dim=1), m).bool()
        return present & ~(lost & droppable[:, None])
