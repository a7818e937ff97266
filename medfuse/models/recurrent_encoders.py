"""Text encoders that read from word to word."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from medfuse.models.dropout import Dropout
from medfuse.models.text_encoder import TextEncoder
from medfuse.models.word_encoders import check_sizes

__all__ = ["GruEncoder", "LstmEncoder"]


class _RecurrentEncoder(TextEncoder):
    """A recurrent network over word embeddings, pooled by the mean and the maximum over the tokens."""

    def __init__(
        self, vocabulary_size: int, *, token_size: int, hidden_size: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        smallest = {"vocabulary_size": 2, "token_size": 1, "hidden_size": 1}
        sizes = {"vocabulary_size": vocabulary_size, "token_size": token_size, "hidden_size": hidden_size}
        check_sizes(sizes, smallest)
        self.embedding = nn.Embedding(vocabulary_size, token_size, padding_idx=0)
        self.dropout = Dropout(dropout)
        self.feature_size = 2 * hidden_size * (1 + bidirectional)

    @abstractmethod
    def recurrent(self) -> nn.GRU | nn.LSTM:
        """Return the network over the tokens."""

    def embed(self, token_ids: Tensor) -> Tensor:
        """Return the words' embeddings."""
        embedded: Tensor = self.embedding(token_ids)
        return embedded

    def token_states(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Return the network's states, zeros at padding."""
        lengths = token_mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(self.dropout(embedded), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.recurrent()(packed)[0], batch_first=True, total_length=embedded.shape[1])
        return states

    def pool(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """Return the mean and the maximum over the real tokens."""
        real = token_mask[..., None]
        mean = states.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1)
        highest = states.masked_fill(~real, float("-inf")).amax(dim=1)
        features: Tensor = self.dropout(torch.cat([mean, highest], dim=1))
        return features


class GruEncoder(_RecurrentEncoder):
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
        super().__init__(
            vocabulary_size,
            token_size=token_size,
            hidden_size=hidden_size,
            bidirectional=bidirectional,
            dropout=dropout,
        )
        self.gru = nn.GRU(token_size, hidden_size, batch_first=True, bidirectional=bidirectional)

    def recurrent(self) -> nn.GRU:
        """Return the GRU."""
        return self.gru


class LstmEncoder(_RecurrentEncoder):
    """An LSTM over word embeddings, pooled by the mean and the maximum over the tokens.

    Parameters
    ----------
    vocabulary_size, token_size, hidden_size, bidirectional, dropout
        See `GruEncoder`.

    Raises
    ------
    ConfigError
        If a size is too small.

    Notes
    -----
    Source: Hochreiter & Schmidhuber 1997, Long Short-Term Memory, with the forget gate of Gers et al. 2000, Learning to
    Forget, equations 4 to 9; pooled as `GruEncoder`.

    Examples
    --------
    >>> encoder = LstmEncoder(10, token_size=4, hidden_size=3).eval()
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
        super().__init__(
            vocabulary_size,
            token_size=token_size,
            hidden_size=hidden_size,
            bidirectional=bidirectional,
            dropout=dropout,
        )
        self.lstm = nn.LSTM(token_size, hidden_size, batch_first=True, bidirectional=bidirectional)

    def recurrent(self) -> nn.LSTM:
        """Return the LSTM."""
        return self.lstm
