"""Fused vector -> logits of one target."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout

__all__ = ["HEADS", "Head", "LinearHead", "MlpHead"]


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


HEADS: dict[str, type[Head]] = {"linear": LinearHead, "mlp": MlpHead}
