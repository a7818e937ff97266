"""Fusion by products of every number of one modality with every number of the others, and its low-rank form."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.fusion import NullTokenFusion

__all__ = ["LowRankFusion", "TensorFusion"]

MAX_PRODUCTS = 100_000


class TensorFusion(NullTokenFusion):
    """The outer product of the modalities, a 1 behind each: all products of their numbers, and the numbers themselves.

    Parameters
    ----------
    modalities : tuple of str
        Names of the columns of ``present``.
    embedding_size : int
        E.
    size : int, optional
        Numbers that a linear layer first makes of each embedding; None takes the embeddings as they are. The fused
        vector has ``(size + 1) ** M``.

    Raises
    ------
    ConfigError
        If the size is not positive, or the fused vector would have more than 100,000 numbers.

    Notes
    -----
    Source: Zadeh et al. 2017, Tensor Fusion Network for Multimodal Sentiment Analysis, its tensor fusion layer.

    Examples
    --------
    >>> fusion = TensorFusion(("image", "text"), 1, size=None)
    >>> fusion({"image": torch.tensor([[2.0]]), "text": torch.tensor([[3.0]])}, torch.tensor([[True, True]])).tolist()
    [[6.0, 2.0, 3.0, 1.0]]
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int, *, size: int | None = 16) -> None:
        super().__init__(modalities, embedding_size)
        if size is not None and size < 1:
            raise ConfigError("model.fusion.size", f"found {size}", expected="1 or more, or null")
        width = embedding_size if size is None else size
        self.fused_size = (width + 1) ** len(modalities)
        if self.fused_size > MAX_PRODUCTS:
            found = f"found {width} for {len(modalities)} modalities, which makes {self.fused_size:,} products"
            raise ConfigError("model.fusion.size", found, expected=f"{MAX_PRODUCTS:,} at most, or fusion low_rank")
        self.layers = nn.ModuleList(
            nn.Identity() if size is None else nn.Linear(embedding_size, size) for _ in modalities
        )

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        parts = self.filled(embeddings, present)
        fused = parts[0].new_ones(len(present), 1)
        for layer, part in zip(self.layers, parts, strict=True):
            fused = (fused[:, :, None] * _with_one(layer(part))[:, None, :]).flatten(start_dim=1)
        return fused


class LowRankFusion(NullTokenFusion):
    """A linear layer on the outer product of the modalities, whose weights are a sum of ``rank`` outer products.

    So the outer product itself is never made: the cost grows with the number of modalities, not with a power of it.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int
    rank : int
        Of the weights; with two modalities, ``embedding_size + 1`` can hold any.
    size : int, optional
        F; None for ``embedding_size``.

    Raises
    ------
    ConfigError
        If an option is not positive.

    Notes
    -----
    Source: Liu et al. 2018, Efficient Low-rank Multimodal Fusion with Modality-Specific Factors, section 3: weights as
    a sum of outer products of modality-specific factors, and fusion without the tensor.

    Examples
    --------
    >>> fusion = LowRankFusion(("image", "text"), 2, rank=3, size=5)
    >>> fusion({"image": torch.ones(1, 2), "text": torch.ones(1, 2)}, torch.tensor([[True, True]])).shape
    torch.Size([1, 5])
    """

    def __init__(
        self, modalities: tuple[str, ...], embedding_size: int, *, rank: int = 4, size: int | None = None
    ) -> None:
        super().__init__(modalities, embedding_size)
        self.fused_size = embedding_size if size is None else size
        for name, value in (("rank", rank), ("size", self.fused_size)):
            if value < 1:
                raise ConfigError(f"model.fusion.{name}", f"found {value}", expected="1 or more")
        self.factors = nn.ParameterList(torch.empty(rank, embedding_size + 1, self.fused_size) for _ in modalities)
        for factor in self.factors:
            nn.init.xavier_normal_(factor)
        self.bias = nn.Parameter(torch.zeros(self.fused_size))

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        parts = self.filled(embeddings, present)
        product = torch.ones((), device=self.bias.device)
        for factor, part in zip(self.factors, parts, strict=True):
            product = product * torch.einsum("bd,rdf->rbf", _with_one(part), factor)
        return product.sum(dim=0) + self.bias


def _with_one(part: Tensor) -> Tensor:
    """Return vectors, shape (B, n + 1), with a 1 behind: products with it are the numbers themselves."""
    return F.pad(part, (0, 1), value=1.0)
