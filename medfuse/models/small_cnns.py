"""Small 3D CNNs for small boxes on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError
from medfuse.models.box_statistics import BoxStatistics
from medfuse.models.dropout import Dropout
from medfuse.models.image_encoder import PooledEncoder
from medfuse.models.norms import BatchNorm, RunningNorm
from medfuse.models.precision import Conv3d

__all__ = ["ShapeCnn", "SmallCnn"]


class SmallCnn(PooledEncoder):
    """A 3D CNN of a few blocks (convolution, batch norm, ReLU) that halve the resolution, for small boxes on a CPU.

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
    downsampling : {"stride", "pool"}
        ``"stride"``: every second place of a convolution alone is computed, ten times cheaper; ``"pool"``: all are,
        and the largest of each eight kept, which tells fine shapes better where there are a thousand cases to learn
        from (docs/log.md).

    Raises
    ------
    ConfigError
        If a width is not positive, the box is too small for that many blocks, or the downsampling unknown.

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
        downsampling: Literal["stride", "pool"] = "stride",
    ) -> None:
        if downsampling not in ("stride", "pool"):
            raise ConfigError(
                "model.image_encoder.downsampling", f"found {downsampling!r}", expected="'stride' or 'pool'"
            )
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
        stride = 2 if downsampling == "stride" else 1
        for before, width in zip((in_channels, *widths), widths, strict=False):
            blocks += [
                Conv3d(before, width, kernel_size=3, stride=stride, padding=1, bias=False),
                BatchNorm(width),
                nn.ReLU(inplace=True),
            ]
            if downsampling == "pool":
                blocks.append(nn.MaxPool3d(2))
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
