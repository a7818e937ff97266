"""What every fusion offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from medfuse.models.heads import Head

__all__ = ["Fusion", "NullTokenFusion", "present_only"]


class Fusion(nn.Module, ABC):
    """Embeddings of the modalities -> one fused vector.

    Attributes
    ----------
    fused_size : int
        F, the length of the fused vector.
    reads_local : bool
        Whether ``forward`` takes a third argument, a mapping of str to `medfuse.tensors.LocalFeatures` by modality.
    """

    fused_size: int
    reads_local: bool = False

    @abstractmethod
    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse.

        Parameters
        ----------
        embeddings : mapping of str to Tensor of shape (B, E)
            What stands in an absent modality's place changes nothing.
        present : Tensor, shape (B, M), bool

        Returns
        -------
        Tensor, shape (B, F)
        """

    def weigh(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor | None:
        """Return how far each modality shapes the fused vector, shape (B, M), 0 or more; None if there is no saying."""
        return None

    def make_head(self, make: Callable[[int], Head]) -> Head:
        """Return what reads the fused vector for one target.

        Parameters
        ----------
        make : callable
            Builds the configured head for an input of so many numbers.
        """
        return make(self.fused_size)


class NullTokenFusion(Fusion):
    """A fusion in which a learned vector, the null token, stands for an absent modality.

    Parameters
    ----------
    modalities : tuple of str
        Names of the columns of ``present``.
    embedding_size : int
        E.
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.absent = nn.Parameter(torch.randn(len(modalities), embedding_size) * 0.02)

    def filled(self, embeddings: Mapping[str, Tensor], present: Tensor) -> list[Tensor]:
        """Return each modality's embedding, shape (B, E), or its null token where it is absent."""
        return [
            torch.where(present[:, m, None], embeddings[name], self.absent[m]) for m, name in enumerate(self.modalities)
        ]


def present_only(modalities: tuple[str, ...], embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
    """Return the embeddings side by side, shape (B, M, E), zeros where a modality is absent.

    Examples
    --------
    >>> given = {"image": torch.ones(1, 2), "text": torch.full((1, 2), float("nan"))}
    >>> present_only(("image", "text"), given, torch.tensor([[True, False]])).tolist()
    [[[1.0, 1.0], [0.0, 0.0]]]
    """
    together = torch.stack([embeddings[name] for name in modalities], dim=1)
    return torch.where(present[..., None], together, 0.0)
