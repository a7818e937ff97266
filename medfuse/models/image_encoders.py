"""Image -> features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.box_statistics import BoxStatistics
from medfuse.models.dropout import Dropout
from medfuse.models.norms import BatchNorm, RunningNorm
from medfuse.models.precision import Conv3d

__all__ = ["IMAGE_ENCODERS", "ImageEncoder", "ResNet18", "ShapeCnn", "SmallCnn"]


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


class SmallCnn(PooledEncoder):
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
        if not widths or min(widths) < 1:
            raise ConfigError("model.image_encoder.widths", f"found {list(widths)}", expected="numbers above 0")
        super().__init__(widths[-1], dropout=dropout)
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
            blocks += [_conv(before, width, stride=2), BatchNorm(width), nn.ReLU(inplace=True)]
        self.blocks = nn.Sequential(*blocks)

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last block's output."""
        features: Tensor = self.blocks(image)
        return features


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
        self.features_dropout = Dropout(features_dropout)
        self.feature_size += self.statistics.size

    def describe(self, image: Tensor) -> Tensor:
        """Return the statistics."""
        described: Tensor = self.statistics(image)
        return described

    def finish(self, feature_map: Tensor, image: Tensor, described: Tensor | None = None) -> Tensor:
        """Return the CNN's features, then the statistics."""
        learnt = self.features_dropout(self.pool(feature_map))
        fixed = self.describe(image) if described is None else described
        return torch.cat([learnt, self.statistics_norm(fixed)], dim=1)


class ResNet18(PooledEncoder):
    """A residual network of 18 layers in 3D, for boxes of 64 voxels and more along each axis.

    Its first convolution has stride 2: at stride 1 everything behind it would cost 8 times as much.

    Parameters
    ----------
    in_channels : int
        C.
    image_size : tuple of int
        (I, J, K) of the box, at least 16 along each axis.
    width : int
        Channels of the first stage; each of the three others has twice as many as the one before.
    dropout : float
        Of whole feature maps before pooling, in [0, 1].

    Raises
    ------
    ConfigError
        If the width is not positive or the box is too small.

    Notes
    -----
    Source: He et al. 2016, Deep Residual Learning for Image Recognition, table 1 (18 layers), with 3D kernels as in
    Hara et al. 2018, Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?, table 1.

    Examples
    --------
    >>> encoder = ResNet18(1, (32, 32, 32), width=4).eval()
    >>> encoder.feature_map(torch.zeros(2, 1, 32, 32, 32)).shape
    torch.Size([2, 32, 1, 1, 1])
    """

    SMALLEST = 16

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        width: int = 64,
        dropout: float = 0.1,
    ) -> None:
        if width < 1:
            raise ConfigError("model.image_encoder.width", f"found {width}", expected="a number above 0")
        if min(image_size) < self.SMALLEST:
            raise ConfigError(
                "model.image_encoder",
                f"found a box of {tuple(image_size)} voxels",
                expected=f"{self.SMALLEST} voxels or more along each axis",
            )
        super().__init__(8 * width, dropout=dropout)
        self.stem = nn.Sequential(
            Conv3d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=False),
            BatchNorm(width),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(kernel_size=3, stride=2, padding=1),
        )
        stages: list[nn.Module] = []
        for before, after in ((1, 1), (1, 2), (2, 4), (4, 8)):
            stages += [
                _ResidualBlock(before * width, after * width, stride=after // before),
                _ResidualBlock(after * width, after * width, stride=1),
            ]
        self.stages = nn.Sequential(*stages)

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last stage's output."""
        features: Tensor = self.stages(self.stem(image))
        return features


class _ResidualBlock(nn.Module):
    """Two convolutions, and what came in added to what they give."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(before, after, stride=stride),
            BatchNorm(after),
            nn.ReLU(inplace=True),
            _conv(after, after, stride=1),
            BatchNorm(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            project = Conv3d(before, after, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(project, BatchNorm(after))

    def forward(self, features: Tensor) -> Tensor:
        """Return features, shape (B, after, i, j, k)."""
        return F.relu(self.body(features) + self.shortcut(features), inplace=True)


def _conv(before: int, after: int, *, stride: int) -> Conv3d:
    return Conv3d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)


IMAGE_ENCODERS: dict[str, type[ImageEncoder]] = {"resnet18": ResNet18, "shape_cnn": ShapeCnn, "small_cnn": SmallCnn}
