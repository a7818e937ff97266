"""Text encoders without a memory: they read words, or phrases, wherever these stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout
from medfuse.models.text_encoder import TextEncoder

__all__ = ["BagEncoder", "WordCnnEncoder", "check_sizes"]


class BagEncoder(TextEncoder):
    """The mean of the words' embeddings, whatever their order.

    The plainest reader: what a better one gains over it is what the order of the words tells.

    Parameters
    ----------
    vocabulary_size : int
        Ids 0 (padding) to ``vocabulary_size - 1``.
    token_size : int
        D, the length of a word's embedding and of the features.
    dropout : float
        Of the numbers of embedded words and of the features, in [0, 1].

    Raises
    ------
    ConfigError
        If a size is too small.

    Notes
    -----
    Source: Joulin et al. 2017, Bag of Tricks for Efficient Text Classification, section 2.1 (the hidden text
    representation, without its n-grams).

    Examples
    --------
    >>> encoder = BagEncoder(10, token_size=4).eval()
    >>> ids = torch.tensor([[2, 3, 0], [3, 2, 2]])
    >>> one, other = encoder(encoder.embed(ids), ids > 0)
    >>> bool(torch.allclose(3 * other, 2 * one + encoder.embedding.weight[2]))
    True
    """

    def __init__(self, vocabulary_size: int, *, token_size: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        sizes = {"vocabulary_size": vocabulary_size, "token_size": token_size}
        check_sizes(sizes, {"vocabulary_size": 2, "token_size": 1})
        self.embedding = nn.Embedding(vocabulary_size, token_size, padding_idx=0)
        self.dropout = Dropout(dropout)
        self.feature_size = token_size

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the words' embeddings."""
        embedded: Tensor = self.embedding(token_ids)
        return embedded

    def token_states(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Return the embeddings, zeros at padding: no word knows of its neighbours."""
        states: Tensor = self.dropout(embedded).masked_fill(~token_mask[..., None], 0.0)
        return states

    def pool(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """Return the mean over the real tokens."""
        real = token_mask[..., None]
        features: Tensor = self.dropout(states.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1))
        return features


class WordCnnEncoder(TextEncoder):
    """Convolutions over word embeddings, each as long as a phrase, pooled by the maximum over the tokens.

    Some ten times faster than a GRU on a CPU, and as good where short phrases carry the meaning.

    Parameters
    ----------
    vocabulary_size : int
        Ids 0 (padding) to ``vocabulary_size - 1``.
    token_size : int
        D, the length of a word's embedding.
    lengths : sequence of int
        Words of the phrases that are looked for.
    n_phrases : int
        How many of each length.
    dropout : float
        Of the numbers of embedded words and of the features, in [0, 1].

    Raises
    ------
    ConfigError
        If a size is too small.

    Notes
    -----
    Source: Kim 2014, Convolutional Neural Networks for Sentence Classification, eq. 1 to 4.

    Examples
    --------
    >>> encoder = WordCnnEncoder(10, token_size=4, lengths=(1, 2), n_phrases=3).eval()
    >>> ids = torch.tensor([[2, 3, 0]])
    >>> encoder(encoder.embed(ids), ids > 0).shape
    torch.Size([1, 6])
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        token_size: int = 64,
        lengths: Sequence[int] = (1, 2, 3, 4),
        n_phrases: int = 32,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        smallest = {"vocabulary_size": 2, "token_size": 1, "n_phrases": 1, "lengths": 1}
        shortest = min(lengths, default=0)
        sizes = {
            "vocabulary_size": vocabulary_size,
            "token_size": token_size,
            "n_phrases": n_phrases,
            "lengths": shortest,
        }
        check_sizes(sizes, smallest)
        self.embedding = nn.Embedding(vocabulary_size, token_size, padding_idx=0)
        self.dropout = Dropout(dropout)
        self.lengths = tuple(lengths)
        self.convolutions = nn.ModuleList(nn.Conv1d(token_size, n_phrases, length) for length in lengths)
        self.feature_size = n_phrases * len(lengths)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the words' embeddings."""
        embedded: Tensor = self.embedding(token_ids)
        return embedded

    def token_states(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Return how well the words from each token on fit each phrase, from 0."""
        words = self.dropout(embedded).masked_fill(~token_mask[..., None], 0.0).transpose(1, 2)
        # A phrase may run past the last word: zeros follow it, as padding does.
        found = [
            conv(F.pad(words, (0, length - 1))) for conv, length in zip(self.convolutions, self.lengths, strict=True)
        ]
        return F.relu(torch.cat(found, dim=1)).transpose(1, 2)

    def pool(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """Return the maximum over the real tokens."""
        # Tokens last, as the convolutions leave them: their gradient comes back in the same layout.
        found = states.transpose(1, 2).masked_fill(~token_mask[:, None], float("-inf"))
        features: Tensor = self.dropout(found.amax(dim=2))
        return features


def check_sizes(sizes: Mapping[str, int], smallest: Mapping[str, int]) -> None:
    """Refuse an option of a text encoder that is too small.

    Raises
    ------
    ConfigError
        Naming the option.
    """
    for name, size in sizes.items():
        if size < smallest[name]:
            expected = f"{smallest[name]} or more"
            raise ConfigError(f"model.text_encoder.{name}", f"found {size}", expected=expected)
