"""The model: encoders, a shared space, fusion, heads. It is composed of parts that are already built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import UsageError
from medfuse.models.aligner import Aligner
from medfuse.models.distributed import first_row, world_size
from medfuse.models.dropout import drawing_for, step_key
from medfuse.models.fusions import Fusion
from medfuse.models.heads import Head
from medfuse.models.image_encoders import ImageEncoder
from medfuse.models.table_encoders import TableEncoder
from medfuse.models.text_encoders import TextEncoder
from medfuse.tensors import Batch, LocalFeatures, ModelOutput, Sample

__all__ = ["StudyClassifier", "projection"]

Rows = Tensor | slice
TextReader = Callable[[Rows], Tensor]
"""Embedded tokens of some rows of a batch's texts."""


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
        ``"image"``: ImageEncoder; ``"text"``: TextEncoder; ``"table"``: TableEncoder. Their order is that of the
        modalities.
    projections : mapping of str to module
        By modality: features, of text with its flags behind them, to embedding; see `projection`.
    aligner : Aligner
    fusion : Fusion
    heads : mapping of str to mapping of str to Head
        By input, then by target. ``"fused"`` reads the fused vector; those named by a modality read its
        embedding alone and serve training only.
    local_projections : mapping of str to module, optional
        By modality: what its encoder gives of each part, region or word, to E numbers. Only where fusion or aligner
        reads local features; they are computed at no other time.
    modality_dropout : float
        Chance, in training, that a case with several modalities loses one of them.
    """

    def __init__(  # noqa: PLR0913 - each part of the model is an argument
        self,
        encoders: Mapping[str, ImageEncoder | TextEncoder | TableEncoder],
        *,
        projections: Mapping[str, nn.Sequential],
        aligner: Aligner,
        fusion: Fusion,
        heads: Mapping[str, Mapping[str, Head]],
        local_projections: Mapping[str, nn.Sequential] | None = None,
        modality_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.modalities = tuple(encoders)
        self.encoders = nn.ModuleDict(dict(encoders))
        self.projections = nn.ModuleDict(dict(projections))
        self.local_projections = nn.ModuleDict(dict(local_projections or {}))
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
        return self._classify(batch, lambda rows: self._text.embed(batch.token_ids[rows]))

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
        return self._classify(batch, lambda rows: embedded[rows])

    @property
    def _text(self) -> TextEncoder:
        return cast(TextEncoder, self.encoders["text"])

    def _classify(self, batch: Batch, read_text: TextReader | None) -> ModelOutput:
        if batch.modalities != self.modalities:
            raise UsageError("batch", f"found modalities {list(batch.modalities)}", expected=str(list(self.modalities)))
        key = step_key() if self.training else 0
        places = first_row(len(batch.present)) + torch.arange(len(batch.present), device=batch.present.device)
        embeddings: dict[str, Tensor] = {}
        local: dict[str, LocalFeatures] = {}
        for column, name in enumerate(self.modalities):
            present = batch.present[:, column]
            with drawing_for(places[present], key, part=column):
                embeddings[name], parts = self._embedding(name, batch, read_text, present=present)
            if parts is not None:
                local[name] = parts
        seen = self._drop_modalities(batch.present) if self.training else batch.present
        alone = [name for name in self.modalities if name in self.heads] if self.training else []
        with drawing_for(places, key, part=len(self.modalities)):
            fused = self.fusion(embeddings, seen, local) if self.fusion.reads_local else self.fusion(embeddings, seen)
            return ModelOutput(
                logits=self._logits("fused", fused),
                embeddings={name: F.normalize(embedding, dim=1) for name, embedding in embeddings.items()},
                present=batch.present,
                auxiliary={name: self._logits(name, embeddings[name]) for name in alone},
                fusion_weights=None if self.training else self.fusion.weigh(embeddings, seen),
                local=local,
                unscaled=embeddings,
            )

    def _embedding(
        self, name: str, batch: Batch, read_text: TextReader | None, *, present: Tensor
    ) -> tuple[Tensor, LocalFeatures | None]:
        """Encode and project the cases that have a modality; the others' rows are zeros."""
        having = present.nonzero()[:, 0]
        projection, local = self.projections[name], self._local_projection(name)
        if not len(having) and not self._shares_norms(name):
            weight = cast(nn.Linear, cast(nn.Sequential, projection)[0]).weight
            vectors = weight.new_zeros(len(present), self.embedding_size) + self._no_gradient(name)
            return vectors, None if local is None else LocalFeatures(vectors[:, None], present[:, None])
        # Of all cases a view: no image is copied.
        rows: Rows = slice(None) if len(having) == len(present) else having
        features, parts = self._encode(name, batch, read_text, rows=rows)
        vectors = _at_rows(projection(features), having, len(present))
        if local is None or parts is None:
            return vectors, None
        projected, mask = local(parts.vectors), parts.mask
        return vectors, LocalFeatures(_at_rows(projected, having, len(present)), _at_rows(mask, having, len(present)))

    def _encode(
        self, name: str, batch: Batch, read_text: TextReader | None, *, rows: Rows
    ) -> tuple[Tensor, LocalFeatures | None]:
        """Return features of some cases and, where they are asked for, what the encoder gives of their parts."""
        encoder, wants_parts = self.encoders[name], name in self.local_projections
        if name == "image":
            image = batch.image[rows]
            known = (batch.image_features[rows],) if batch.image_features.shape[1] else ()
            if not wants_parts:
                return encoder(image, *known), None
            feature_map = cast(ImageEncoder, encoder).feature_map(image)
            regions = feature_map.flatten(start_dim=2).transpose(1, 2).to(image.dtype)
            parts = LocalFeatures(regions, regions.new_ones(regions.shape[:2], dtype=torch.bool))
            return cast(ImageEncoder, encoder).finish(feature_map, image, *known), parts
        if name == "table":
            return encoder(batch.table[rows]), None
        if read_text is None:
            raise UsageError("batch", f"found {name} without embedded tokens", expected="them, from embed()")
        embedded, mask = read_text(rows), batch.token_mask[rows]
        flags = batch.flags[rows]  # features already
        if not wants_parts:
            return torch.cat([encoder(embedded, mask), flags], dim=1), None
        states = self._text.token_states(embedded, mask)
        features = torch.cat([self._text.pool(states, mask), flags], dim=1)
        # Zeros, for padding may hold anything, and a zero gradient times infinity is none.
        return features, LocalFeatures(states.masked_fill(~mask[..., None], 0.0), mask)

    def _local_projection(self, name: str) -> nn.Module | None:
        return dict(self.local_projections.items()).get(name)

    def _shares_norms(self, name: str) -> bool:
        """Tell whether other processes wait for this one's part of a norm, though it has no case."""
        return name == "image" and self.training and world_size() > 1

    def _no_gradient(self, name: str) -> Tensor | float:
        """Return zero with a graph: weights that no case needed get a gradient of zero on every process alike."""
        if not self.training:
            return 0.0
        local = self._local_projection(name)
        parts = (self.encoders[name], self.projections[name], *(() if local is None else (local,)))
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


def _at_rows(known: Tensor, rows: Tensor, n: int) -> Tensor:
    """Put what is known of some cases at their rows among n, zeros at the others'."""
    if len(known) == n:
        return known
    return known.new_zeros(n, *known.shape[1:]).index_copy(0, rows, known)
