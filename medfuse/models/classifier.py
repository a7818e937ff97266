"""The model: encoders, a shared space, fusion, heads. It is composed of parts that are already built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import UsageError
from medfuse.models.aligners import Aligner
from medfuse.models.distributed import first_row, world_size
from medfuse.models.dropout import drawing_for, step_key
from medfuse.models.fusions import Fusion
from medfuse.models.heads import Head
from medfuse.models.image_encoders import ImageEncoder
from medfuse.models.text_encoders import TextEncoder
from medfuse.tensors import Batch, ModelOutput, Sample

__all__ = ["StudyClassifier", "projection"]

Rows = Tensor | slice
TextReader = Callable[[Rows], Tensor]
"""Features of some rows of a batch's texts."""


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

    @torch.no_grad()
    def describe_images(self, samples: Sequence[Sample]) -> Tensor:
        """Return what of the images needs no learning, so that training computes it once a case.

        Parameters
        ----------
        samples : sequence of Sample

        Returns
        -------
        Tensor, shape (len(samples), S)
            `ImageEncoder.describe` of each image, for ``Sample.image_features``; zeros where there is no image.
        """
        encoder = cast(ImageEncoder, self.encoders["image"]) if "image" in self.modalities else None
        if encoder is None or type(encoder).describe is ImageEncoder.describe:
            return torch.zeros(len(samples), 0)
        # One by one: a box fits the processor's cache, a batch does not.
        known = {
            row: encoder.describe(image[None])[0]
            for row, image in ((row, sample.image) for row, sample in enumerate(samples))
            if image is not None
        }
        width = len(next(iter(known.values()))) if known else 0
        return torch.stack([known.get(row, torch.zeros(width)) for row in range(len(samples))])

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
        return self._classify(batch, lambda rows: self._text.read(batch.token_ids[rows], batch.token_mask[rows]))

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
        if embedded is None:
            return self._classify(batch, None)
        return self._classify(batch, lambda rows: self._text(embedded[rows], batch.token_mask[rows]))

    @property
    def _text(self) -> TextEncoder:
        return cast(TextEncoder, self.encoders["text"])

    def _classify(self, batch: Batch, read_text: TextReader | None) -> ModelOutput:
        if batch.modalities != self.modalities:
            raise UsageError("batch", f"found modalities {list(batch.modalities)}", expected=str(list(self.modalities)))
        key = step_key() if self.training else 0
        places = first_row(len(batch.present)) + torch.arange(len(batch.present), device=batch.present.device)
        embeddings = {}
        for column, name in enumerate(self.modalities):
            present = batch.present[:, column]
            with drawing_for(places[present], key, part=column):
                embeddings[name] = self._embedding(name, batch, read_text, present=present)
        seen = self._drop_modalities(batch.present) if self.training else batch.present
        fused = self.fusion(embeddings, seen)
        alone = [name for name in self.modalities if name in self.heads] if self.training else []
        with drawing_for(places, key, part=len(self.modalities)):
            return ModelOutput(
                logits=self._logits("fused", fused),
                embeddings={name: F.normalize(embedding, dim=1) for name, embedding in embeddings.items()},
                present=batch.present,
                auxiliary={name: self._logits(name, embeddings[name]) for name in alone},
            )

    def _embedding(self, name: str, batch: Batch, read_text: TextReader | None, *, present: Tensor) -> Tensor:
        """Encode and project the cases that have a modality; the others' rows are zeros."""
        having = present.nonzero()[:, 0]
        if not len(having) and not self._shares_norms(name):
            weight = cast(nn.Linear, cast(nn.Sequential, self.projections[name])[0]).weight
            return weight.new_zeros(len(present), self.embedding_size) + self._no_gradient(name)
        # Of all cases a view: no image is copied.
        rows: Rows = slice(None) if len(having) == len(present) else having
        if name == "image":
            known = batch.image_features[rows] if batch.image_features.shape[1] else None
            given = (batch.image[rows],) if known is None else (batch.image[rows], known)
            features = self.encoders[name](*given)
        elif read_text is None:
            raise UsageError("batch", f"found {name} without embedded tokens", expected="them, from embed()")
        else:  # flags are features already
            features = torch.cat([read_text(rows), batch.flags[rows]], dim=1)
        vectors: Tensor = self.projections[name](features)
        if len(vectors) == len(present):
            return vectors
        return vectors.new_zeros(len(present), self.embedding_size).index_copy(0, having, vectors)

    def _shares_norms(self, name: str) -> bool:
        """Tell whether other processes wait for this one's part of a norm, though it has no case."""
        return name == "image" and self.training and world_size() > 1

    def _no_gradient(self, name: str) -> Tensor | float:
        """Return zero with a graph: weights that no case needed get a gradient of zero on every process alike."""
        if not self.training:
            return 0.0
        parts = (self.encoders[name], self.projections[name])
        parameters = [p.sum() for part in parts for p in part.parameters() if p.requires_grad]
        return torch.stack(parameters).sum() * 0.0

    def _logits(self, read: str, vector: Tensor) -> dict[str, Tensor]:
        heads = cast(nn.ModuleDict, self.heads[read])
        return {target: head(vector) for target, head in heads.items()}

    def _drop_modalities(self, present: Tensor) -> Tensor:
        """Let some cases lose one modality, never their last."""
        n, m = present.shape
        # Drawn for the cases of all processes, so that each has its own part of what one alone would draw.
        draws = torch.rand(n * world_size(), 1 + m)[first_row(n) :][:n].to(present.device)
        droppable = (present.sum(dim=1) > 1) & (draws[:, 0] < self.modality_dropout)
        lost = F.one_hot(draws[:, 1:].masked_fill(~present, -1.0).argmax(dim=1), m).bool()
        return present & ~(lost & droppable[:, None])
