"""What every image encoder offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from medfuse.models.dropout import Dropout
from medfuse.models.norms import BatchNorm

__all__ = ["ImageEncoder", "PooledEncoder"]


class ImageEncoder(nn.Module, ABC):
    """What every image encoder offers, in two steps, so that a class activation map can start between them.

    Attributes
    ----------
    feature_size : int
        Length of the features that ``forward`` gives.
    """

    feature_size: int

    @abstractmethod
    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last feature map, shape (B, D, i, j, k), of an image of shape (B, C, I, J, K)."""

    @abstractmethod
    def pool(self, feature_map: Tensor) -> Tensor:
        """Return the features of a feature map, shape (B, n): the first n that ``forward`` gives."""

    def describe(self, image: Tensor) -> Tensor:
        """Return what needs no learning, shape (B, S), of an image of shape (B, C, I, J, K); S may be 0.

        Neither a parameter nor a turn by right angles nor a flip changes it: training computes it once a case.
        """
        return image.new_zeros(len(image), 0)

    def finish(self, feature_map: Tensor, image: Tensor, described: Tensor | None = None) -> Tensor:
        """Return what ``forward`` does, of an image whose last feature map is known already."""
        return self.pool(feature_map)

    def forward(self, image: Tensor, described: Tensor | None = None) -> Tensor:
        """Return features, shape (B, feature_size).

        Parameters
        ----------
        image : Tensor, shape (B, C, I, J, K), in [0, 1]
        described : Tensor, shape (B, S), optional
            What ``describe`` gives of these images, where it is known already.
        """
        return self.finish(self.feature_map(image), image, described)


class PooledEncoder(ImageEncoder):
    """An encoder that describes its last feature map by the mean and the maximum of each channel.

    Parameters
    ----------
    width : int
        D, channels of the last feature map.
    dropout : float
        Of whole channels before pooling, in [0, 1].
    """

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout, whole_channels=True)
        self.feature_size = 2 * width
        # Means over a box that is mostly empty hardly differ between cases; without this norm training stands
        # still at chance for hundreds of steps (docs/log.md).
        self.pooled_norm = BatchNorm(self.feature_size)

    def pool(self, feature_map: Tensor) -> Tensor:
        """Return the mean and the maximum of each channel, normalised."""
        flat = self.dropout(feature_map.flatten(start_dim=2).to(self.pooled_norm.weight.dtype))
        normed: Tensor = self.pooled_norm(torch.cat([flat.mean(dim=2), flat.amax(dim=2)], dim=1))
        return normed
