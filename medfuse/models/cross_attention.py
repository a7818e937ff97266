"""Fusion by attention from each region of the image to the words of the report, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout
from medfuse.models.fusion import NullTokenFusion
from medfuse.tensors import LocalFeatures

__all__ = ["CrossAttention"]


class CrossAttention(NullTokenFusion):
    """Each part of a modality, a region or a word, attends to the parts of all other modalities.

    The parts of a modality are its local features, if it has any, and its embedding, or its null token where it is
    absent. The fused vector holds the mean over the parts of each modality, side by side. A model of one modality
    attends to itself.

    Parameters
    ----------
    modalities : tuple of str
        Names of the columns of ``present``.
    embedding_size : int
        E.
    n_layers : int
    n_heads : int
        Of each attention; they divide E.
    dropout : float
        Of what attention and MLP add, in [0, 1].

    Raises
    ------
    ConfigError
        If a number is not positive, or E cannot be divided.

    Notes
    -----
    Source: Vaswani et al. 2017, Attention Is All You Need, eq. 1; Lu et al. 2019, ViLBERT (co-attention: queries of
    one modality, keys and values of the other); Tsai et al. 2019, Multimodal Transformer for Unaligned Multimodal
    Language Sequences (crossmodal attention, norms before attention and MLP). Parts carry no position but what their
    encoders give them.

    Examples
    --------
    >>> fusion = CrossAttention(("image", "text"), 8)
    >>> given = {"image": torch.ones(1, 8), "text": torch.ones(1, 8)}
    >>> regions = LocalFeatures(torch.ones(1, 27, 8), torch.ones(1, 27, dtype=torch.bool))
    >>> fusion(given, torch.tensor([[True, True]]), {"image": regions}).shape
    torch.Size([1, 16])
    """

    reads_local = True

    def __init__(
        self,
        modalities: tuple[str, ...],
        embedding_size: int,
        *,
        n_layers: int = 1,
        n_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(modalities, embedding_size)
        if n_layers < 1:
            raise ConfigError("model.fusion.n_layers", f"found {n_layers}", expected="1 or more")
        if n_heads < 1 or embedding_size % n_heads:
            expected = f"a number that divides model.embedding_size, {embedding_size}"
            raise ConfigError("model.fusion.n_heads", f"found {n_heads}", expected=expected)
        self.layers = nn.ModuleList(
            nn.ModuleList(_Block(embedding_size, n_heads, dropout) for _ in modalities) for _ in range(n_layers)
        )
        self.fused_size = len(modalities) * embedding_size

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, local: Mapping[str, LocalFeatures] | None = None
    ) -> Tensor:
        """Fuse.

        Parameters
        ----------
        embeddings : mapping of str to Tensor of shape (B, E)
        present : Tensor, shape (B, M), bool
        local : mapping of str to LocalFeatures, optional
            By modality.

        Returns
        -------
        Tensor, shape (B, F)
        """
        whole = self.filled(embeddings, present)
        states: list[Tensor] = []
        masks: list[Tensor] = []
        for m, name in enumerate(self.modalities):
            parts, mask = whole[m][:, None], torch.ones_like(present[:, m, None])
            if local is not None and name in local:
                real = local[name].mask & present[:, m, None]
                parts = torch.cat([parts, torch.where(real[..., None], local[name].vectors, 0.0)], dim=1)
                mask = torch.cat([mask, real], dim=1)
            states.append(parts)
            masks.append(mask)
        for layer in self.layers:
            blocks = list(layer.children())
            states = [block(states[m], *self._others(m, states, masks)) for m, block in enumerate(blocks)]
        return torch.cat([_mean(parts, mask) for parts, mask in zip(states, masks, strict=True)], dim=1)

    def _others(self, m: int, states: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the parts of all modalities but one, and their mask."""
        others = [k for k in range(len(states)) if k != m] or [m]
        return torch.cat([states[k] for k in others], dim=1), torch.cat([masks[k] for k in others], dim=1)


class _Block(nn.Module):
    """Attention to other parts and an MLP, each added to what came in."""

    def __init__(self, size: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.query, self.out = nn.Linear(size, size), nn.Linear(size, size)
        # A bias of the keys would move all of a query's scores alike: it could not be learnt.
        self.key, self.value = nn.Linear(size, size, bias=False), nn.Linear(size, size)
        self.mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
        self.dropout = Dropout(dropout)

    def forward(self, parts: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        """Return parts, shape (B, n, E), that have attended to others, shape (B, k, E), by their mask, shape (B, k)."""
        asking, asked = self.norms[0](parts), self.norms[1](others)
        query, key, value = (self._by_head(t) for t in (self.query(asking), self.key(asked), self.value(asked)))
        said = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        parts = parts + self.dropout(self.out(said.transpose(1, 2).flatten(start_dim=2)))
        added: Tensor = self.dropout(self.mlp(self.norms[2](parts)))
        return parts + added

    def _by_head(self, vectors: Tensor) -> Tensor:
        n, length, size = vectors.shape
        return vectors.reshape(n, length, self.n_heads, size // self.n_heads).transpose(1, 2)


def _mean(parts: Tensor, mask: Tensor) -> Tensor:
    real = mask[..., None]
    return torch.where(real, parts, 0.0).sum(dim=1) / real.sum(dim=1)
