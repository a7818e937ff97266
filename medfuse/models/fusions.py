"""Embeddings of the modalities -> one fused vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["FUSIONS", "Concatenation", "Fusion"]


class Fusion(nn.Module, ABC):
    """What every fusion offers.

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


class Concatenation(Fusion):
    """Put the modalities side by side; a learned vector stands for an absent one.

    Parameters
    ----------
    modalities : tuple of str
        Names of the columns of ``present``.
    embedding_size : int
        E.

    Notes
    -----
    Source: Baltrusaitis et al. 2019, Multimodal Machine Learning: A Survey and Taxonomy, section 3.1 (joint
    representation by concatenation).

    Examples
    --------
    >>> fusion = Concatenation(("image", "text"), 2)
    >>> fusion({"image": torch.ones(1, 2), "text": torch.ones(1, 2)}, torch.tensor([[True, True]])).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.absent = nn.Parameter(torch.randn(len(modalities), embedding_size) * 0.02)
        self.fused_size = len(modalities) * embedding_size

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        parts = [
            torch.where(present[:, m, None], embeddings[name], self.absent[m]) for m, name in enumerate(self.modalities)
        ]
        return torch.cat(parts, dim=1)


FUSIONS: dict[str, type[Fusion]] = {"concatenation": Concatenation}
