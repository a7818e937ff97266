"""Image -> features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.box_statistics import BoxStatistics, RunningNorm

__all__ = ["IMAGE_ENCODERS", "ImageEncoder", "ShapeCnn", "SmallCnn"]


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

    def forward(self, image: Tensor) -> Tensor:
        """Return features, shape (B, feature_size), of an image of shape (B, C, I, J, K) with values in [0, 1]."""
        return self.pool(self.feature_map(image))


class SmallCnn(ImageEncoder):
    """A 3D CNN of a few strided blocks (convolution, batch norm, ReLU), for small boxes on a CPU.

    Every block halves the resolution by its stride, which makes it ten times cheaper than pooling after a
    convolution at full resolution.

    Parameters
    ----------
    in_channels : int
        C.
    image_size : tuple of int
        (I, J, K) of the box, at least ``2 ** len(widths)`` along each axis.
    widths : sequence of int
        Channels of each block.
    dropout : float
        Of whole feature maps before pooling, in [0, 1].

    Raises
    ------
    ConfigError
        If a width is not positive or the box is too small for that many blocks.

    Notes
    -----
    Source: Ioffe & Szegedy 2015, Batch Normalization, algorithm 1; global average pooling from Lin et al.
    2014, Network in Network, section 3.2.

    Examples
    --------
    >>> encoder = SmallCnn(1, (16, 16, 16), widths=(4, 8)).eval()
    >>> encoder.feature_map(torch.zeros(2, 1, 16, 16, 16)).shape
    torch.Size([2, 8, 4, 4, 4])
    >>> encoder(torch.zeros(2, 1, 16, 16, 16)).shape[1] == encoder.feature_size
    True
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        widths: Sequence[int] = (16, 32, 64),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ConfigError("model.image_encoder.widths", f"found {list(widths)}", expected="numbers above 0")
        # One voxel left of a single case would give batch norm nothing to take a variance of.
        smallest = 2 ** len(widths)
        if min(image_size) < smallest:
            raise ConfigError(
                "model.image_encoder.widths",
                f"found {len(widths)} blocks for a box of {tuple(image_size)} voxels",
                expected=f"fewer blocks, or {smallest} voxels or more along each axis",
            )
        blocks: list[nn.Module] = []
        for before, width in zip((in_channels, *widths), widths, strict=False):
            blocks += [
                nn.Conv3d(before, width, kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm3d(width),
                nn.ReLU(inplace=True),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout3d(dropout)
        self.feature_size = 2 * widths[-1]
        # Means over a box that is mostly empty hardly differ between cases; without this norm training stands
        # still at chance for hundreds of steps (docs/log.md).
        self.pooled_norm = nn.BatchNorm1d(self.feature_size)

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last block's output."""
        features: Tensor = self.blocks(image)
        return features

    def pool(self, feature_map: Tensor) -> Tensor:
        """Return the mean and the maximum of each channel."""
        flat = self.dropout(feature_map).flatten(start_dim=2)
        pooled = torch.cat([flat.mean(dim=2), flat.amax(dim=2)], dim=1)
        norm = self.pooled_norm
        # One case has no variance: it is normalised by the running statistics.
        use_batch = self.training and len(pooled) > 1
        return F.batch_norm(pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=use_batch)


class ShapeCnn(SmallCnn):
    """A `SmallCnn` beside fixed statistics of the whole box, for cohorts of a few hundred lesions.

    Parameters
    ----------
    in_channels, image_size, widths, dropout
        See `SmallCnn`.
    features_dropout : float
        Chance that a pooled feature of the CNN is left out in training, in [0, 1): the statistics, which need
        no learning, then carry the answer as far as they reach.

    Notes
    -----
    See `medfuse.models.box_statistics.BoxStatistics`. The statistics bypass the feature map.

    Examples
    --------
    >>> encoder = ShapeCnn(1, (16, 16, 16), widths=(4, 8)).eval()
    >>> encoder(torch.zeros(2, 1, 16, 16, 16)).shape[1] == encoder.feature_size
    True
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        widths: Sequence[int] = (8, 16, 32),
        dropout: float = 0.1,
        features_dropout: float = 0.5,
    ) -> None:
        super().__init__(in_channels, image_size, widths=widths, dropout=dropout)
        self.statistics = BoxStatistics(in_channels, image_size)
        self.statistics_norm = RunningNorm(self.statistics.size)
        self.features_dropout = nn.Dropout(features_dropout)
        self.feature_size += self.statistics.size

    def forward(self, image: Tensor) -> Tensor:
        """Return the CNN's features, then the statistics."""
        learnt = self.features_dropout(super().forward(image))
        return torch.cat([learnt, self.statistics_norm(self.statistics(image))], dim=1)


IMAGE_ENCODERS: dict[str, type[ImageEncoder]] = {"shape_cnn": ShapeCnn, "small_cnn": SmallCnn}
