"""Fused vector -> logits of one target."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout

__all__ = ["HEADS", "Head", "LinearHead", "MlpHead", "OrdinalHead"]


class Head(nn.Module, ABC):
    """What every head offers."""

    @abstractmethod
    def forward(self, fused: Tensor) -> Tensor:
        """Return logits, shape (B, N), of vectors, shape (B, in_size)."""


class LinearHead(Head):
    """One linear layer.

    Parameters
    ----------
    in_size, n_outputs : int
    """

    def __init__(self, in_size: int, n_outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_size, n_outputs)

    def forward(self, fused: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.layer(fused)
        return logits


class MlpHead(Head):
    """Two layers with ReLU and dropout between.

    Parameters
    ----------
    in_size, n_outputs : int
    hidden_size : int
        Length of the hidden layer.
    dropout : float
        In [0, 1].

    Raises
    ------
    ConfigError
        If the hidden size is not positive.
    """

    def __init__(self, in_size: int, n_outputs: int, *, hidden_size: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        if hidden_size < 1:
            raise ConfigError("model.head.hidden_size", f"found {hidden_size}", expected="1 or more")
        self.layers = nn.Sequential(
            nn.Linear(in_size, hidden_size),
            nn.ReLU(inplace=True),
            Dropout(dropout),
            nn.Linear(hidden_size, n_outputs),
        )

    def forward(self, fused: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.layers(fused)
        return logits


class OrdinalHead(Head):
    """One score, which rises with the class, held against a threshold between each two classes.

    So the answers never contradict each other: whatever is likely above one class is likelier above the class before.

    Parameters
    ----------
    score : Head
        Of one output.
    n_thresholds : int
        N, one less than the classes.

    Notes
    -----
    Source: Cao et al. 2020, Rank consistent ordinal regression for neural networks (CORAL): one weight
    vector, a bias for each threshold. Its biases are ordered once the loss is smallest (theorem 1); here they are by
    construction, each a softplus below the one before.

    Examples
    --------
    >>> head = OrdinalHead(LinearHead(2, 1), 3)
    >>> logits = head(torch.ones(1, 2))[0].detach()
    >>> [round(float(logits[k] - logits[k + 1]), 4) for k in range(2)]  # one logit apart, to start with
    [1.0, 1.0]
    """

    def __init__(self, score: Head, n_thresholds: int) -> None:
        super().__init__()
        self.score = score
        self.first = nn.Parameter(torch.full((1,), (n_thresholds - 1) / 2))
        self.steps = nn.Parameter(torch.ones(n_thresholds - 1).expm1().log())  # whose softplus is 1

    def forward(self, fused: Tensor) -> Tensor:
        """Return the logits of lying above each class but the last, shape (B, N)."""
        biases = torch.cat([self.first, -F.softplus(self.steps)]).cumsum(dim=0)
        logits: Tensor = self.score(fused) + biases
        return logits


HEADS: dict[str, type[Head]] = {"linear": LinearHead, "mlp": MlpHead}
