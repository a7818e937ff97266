"""The text encoders by name, and those that learn from the cohort alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout
from medfuse.models.huggingface import HuggingFaceEncoder
from medfuse.models.text_encoder import TextEncoder

__all__ = ["TEXT_ENCODERS", "GruEncoder", "TextEncoder", "WordCnnEncoder"]


class GruEncoder(TextEncoder):
    """A GRU over word embeddings, pooled by the mean and the maximum over the tokens.

    Parameters
    ----------
    vocabulary_size : int
        Ids 0 (padding) to ``vocabulary_size - 1``.
    token_size : int
        D, the length of a word's embedding.
    hidden_size : int
        Of each direction.
    bidirectional : bool
        Whether a second GRU reads from the end.
    dropout : float
        Of the numbers of embedded words and of the features, in [0, 1].

    Raises
    ------
    ConfigError
        If a size is too small.

    Notes
    -----
    Source: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder, eq. 5 to 8; max pooling
    over both directions' states from Conneau et al. 2017, Supervised Learning of Universal Sentence
    Representations, section 3.2.2.

    Examples
    --------
    >>> encoder = GruEncoder(10, token_size=4, hidden_size=3).eval()
    >>> ids = torch.tensor([[2, 3, 0]])
    >>> encoder(encoder.embed(ids), ids > 0).shape
    torch.Size([1, 12])
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        token_size: int = 64,
        hidden_size: int = 64,
        bidirectional: bool = True,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        smallest = {"vocabulary_size": 2, "token_size": 1, "hidden_size": 1}
        sizes = {"vocabulary_size": vocabulary_size, "token_size": token_size, "hidden_size": hidden_size}
        _check_sizes(sizes, smallest)
        self.embedding = nn.Embedding(vocabulary_size, token_size, padding_idx=0)
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(token_size, hidden_size, batch_first=True, bidirectional=bidirectional)
        self.feature_size = 2 * hidden_size * (1 + bidirectional)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the words' embeddings."""
        embedded: Tensor = self.embedding(token_ids)
        return embedded

    def token_states(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Return the GRU's states, zeros at padding."""
        lengths = token_mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(self.dropout(embedded), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=embedded.shape[1])
        return states

    def pool(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """Return the mean and the maximum over the real tokens."""
        real = token_mask[..., None]
        mean = states.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1)
        highest = states.masked_fill(~real, float("-inf")).amax(dim=1)
        features: Tensor = self.dropout(torch.cat([mean, highest], dim=1))
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
        _check_sizes(sizes, smallest)
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


def _check_sizes(sizes: Mapping[str, int], smallest: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        if size < smallest[name]:
            expected = f"{smallest[name]} or more"
            raise ConfigError(f"model.text_encoder.{name}", f"found {size}", expected=expected)


TEXT_ENCODERS: dict[str, type[TextEncoder]] = {
    "gru": GruEncoder,
    "huggingface": HuggingFaceEncoder,
    "word_cnn": WordCnnEncoder,
}
