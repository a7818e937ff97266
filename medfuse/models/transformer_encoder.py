"""A small transformer that learns from the cohort alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout
from medfuse.models.text_encoder import TextEncoder
from medfuse.models.word_encoders import check_sizes

__all__ = ["TransformerEncoder"]


class TransformerEncoder(TextEncoder):
    """Layers in which every word attends to all others, pooled by the mean over the tokens.

    Parameters
    ----------
    vocabulary_size : int
        Ids 0 (padding) to ``vocabulary_size - 1``.
    token_size : int
        D, the length of a word's embedding and of the features; a multiple of ``n_heads``, and even.
    n_layers : int
    n_heads : int
        Attentions side by side in each layer.
    dropout : float
        Of the numbers of embedded words, of what each half of a layer adds, and of the features, in [0, 1].

    Raises
    ------
    ConfigError
        If a size is too small, or the token size cannot be shared out.

    Notes
    -----
    Source: Vaswani et al. 2017, Attention Is All You Need, equations 1, 2 and section 3.5 (sines as positions, a
    hidden layer four times as wide), with the norm before each half of a layer as in Xiong et al. 2020, On Layer
    Normalization in the Transformer Architecture, figure 1b, and GELU as in Devlin et al. 2019, appendix A.2.

    Examples
    --------
    >>> encoder = TransformerEncoder(10, token_size=8, n_layers=1, n_heads=2).eval()
    >>> ids = torch.tensor([[2, 3, 0]])
    >>> encoder(encoder.embed(ids), ids > 0).shape
    torch.Size([1, 8])
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        token_size: int = 64,
        n_layers: int = 2,
        n_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        smallest = {"vocabulary_size": 2, "token_size": 2, "n_layers": 1, "n_heads": 1}
        sizes = {
            "vocabulary_size": vocabulary_size,
            "token_size": token_size,
            "n_layers": n_layers,
            "n_heads": n_heads,
        }
        check_sizes(sizes, smallest)
        if token_size % n_heads or token_size % 2:
            where, expected = "model.text_encoder.token_size", f"an even multiple of n_heads = {n_heads}"
            raise ConfigError(where, f"found {token_size}", expected=expected)
        self.embedding = nn.Embedding(vocabulary_size, token_size, padding_idx=0)
        # Sines reach 1: embeddings that are multiplied by sqrt(D), as the paper does, start at the same size.
        nn.init.normal_(self.embedding.weight, std=token_size**-0.5)
        with torch.no_grad():
            self.embedding.weight[0] = 0.0
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(token_size, n_heads, dropout=dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(token_size)
        self.feature_size = token_size

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the words' embeddings, without their places."""
        embedded: Tensor = self.embedding(token_ids) * math.sqrt(self.feature_size)
        return embedded

    def token_states(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Return each word as the last layer sees it, zeros at padding."""
        states = self.dropout(embedded + positions(embedded.shape[1], self.feature_size).to(embedded))
        for layer in self.layers:
            states = layer(states, token_mask)
        normed: Tensor = self.norm(states)
        return normed.masked_fill(~token_mask[..., None], 0.0)

    def pool(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """Return the mean over the real tokens."""
        real = token_mask[..., None]
        features: Tensor = self.dropout(states.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1))
        return features


class _Layer(nn.Module):
    """Attention among the words, then two layers on each."""

    def __init__(self, size: int, n_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm, self.word_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        # No bias for the keys: it moves all scores of a word alike, so no gradient would ever reach it.
        self.query, self.key, self.value = (
            nn.Linear(size, size),
            nn.Linear(size, size, bias=False),
            nn.Linear(size, size),
        )
        self.joined = nn.Linear(size, size)
        self.words = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """Return new states, of the same shape (B, L, D)."""
        states = states + self.dropout(self._attend(self.attention_norm(states), token_mask))
        changed: Tensor = states + self.dropout(self.words(self.word_norm(states)))
        return changed

    def _attend(self, states: Tensor, token_mask: Tensor) -> Tensor:
        query, key, value = (
            part(states).unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=token_mask[:, None, None])
        joined: Tensor = self.joined(found.transpose(1, 2).flatten(2))
        return joined


def positions(length: int, size: int) -> Tensor:
    """Return the places of words as sines and cosines.

    Parameters
    ----------
    length : int
        L.
    size : int
        D, even.

    Returns
    -------
    Tensor, shape (L, D)

    Notes
    -----
    Source: Vaswani et al. 2017, section 3.5.

    Examples
    --------
    >>> positions(2, 4).round(decimals=3).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.8410000205039978, 0.5400000214576721, 0.009999999776482582, 1.0]]
    """
    rates = torch.exp(torch.arange(0, size, 2) * (-math.log(10_000.0) / size))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
