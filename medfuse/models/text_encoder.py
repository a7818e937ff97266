"""What every text encoder offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["TextEncoder"]


class TextEncoder(nn.Module, ABC):
    """Token ids -> features, in steps, so that saliency can start from the embedded tokens.

    ``token_mask``, shape (B, L), bool, is True at real tokens: they come first, and each case has at least one.
    What stands at the others changes nothing.

    Attributes
    ----------
    feature_size : int
        Length of the features that ``forward`` gives.
    learning_rate : float or None
        Highest rate that its weights are trained with; None if that of everything else suits them.
    """

    feature_size: int
    learning_rate: float | None = None

    @abstractmethod
    def embed(self, token_ids: Tensor) -> Tensor:
        """Return embedded tokens, shape (B, L, D), of token ids, shape (B, L), int64."""

    @abstractmethod
    def token_states(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Return each token in its context, shape (B, L, S), of embedded tokens, shape (B, L, D)."""

    @abstractmethod
    def pool(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """Return features, shape (B, feature_size), of tokens in their context."""

    def forward(self, embedded: Tensor, token_mask: Tensor) -> Tensor:
        """Return features, shape (B, feature_size), of embedded tokens, shape (B, L, D)."""
        return self.pool(self.token_states(embedded, token_mask), token_mask)

    def read(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Return features, shape (B, feature_size), of token ids, shape (B, L), int64."""
        features: Tensor = self(self.embed(token_ids), token_mask)
        return features

    @classmethod
    def tokenizer_json(cls, options: Mapping[str, Any]) -> str | None:  # noqa: ARG003
        """Return the tokenizer that an encoder of these options was trained with; None if it learns its own words.

        Parameters
        ----------
        options : mapping
            As the configuration gives them.
        """
        return None

    def saved_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that rebuild this encoder from a saved model alone, without any other file.

        Parameters
        ----------
        options : mapping
            That it was built from.
        """
        return dict(options)
