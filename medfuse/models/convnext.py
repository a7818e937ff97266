"""A convolutional network in 3D that is built as transformers are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError
from medfuse.models.dropout import Dropout
from medfuse.models.image_encoder import PooledEncoder
from medfuse.models.precision import Conv3d
from medfuse.models.stems import check_edges

__all__ = ["ConvNext"]

LAYER_SCALE = 1e-6
SMALL_BELOW = 64
"""Voxels along the shortest axis below which patches of 2 voxels leave more than one behind three halvings."""


class ConvNext(PooledEncoder):
    """Patches of voxels, then blocks of one wide convolution a channel and a small network a voxel.

    Parameters
    ----------
    in_channels : int
        C.
    image_size : tuple of int
        (I, J, K) of the box, at least 16 along each axis. Patches have 4 voxels along each axis, as in the paper, or
        2 in boxes of fewer than 64.
    width : int
        Channels of the first stage; each other has twice as many as the one before.
    depths : sequence of int
        Blocks of each of the four stages.
    drop_path : float
        Chance that a case skips the last block in training; those before it have smaller ones, from 0 on.
    dropout : float
        Of whole feature maps before pooling, in [0, 1].

    Raises
    ------
    ConfigError
        If a size does not fit.

    Notes
    -----
    Source: Liu et al. 2022, A ConvNet for the 2020s, section 2 and figure 4 (7 taps, layer norm, GELU, layer scale,
    stochastic depth), with 3D kernels; default widths and depths are those of ConvNeXt V2-A (Woo et al. 2023,
    table 14). What is left is pooled as by every encoder here.

    Examples
    --------
    >>> encoder = ConvNext(1, (28, 28, 28), width=4, depths=(1, 1, 2, 1)).eval()
    >>> encoder.feature_map(torch.zeros(2, 1, 28, 28, 28)).shape
    torch.Size([2, 32, 1, 1, 1])
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        width: int = 40,
        depths: Sequence[int] = (2, 2, 6, 2),
        drop_path: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        for name, value in (("width", width), ("depths", min(depths, default=0))):
            if value < 1:
                raise ConfigError(f"model.image_encoder.{name}", f"found {value}", expected="numbers above 0")
        if len(depths) != 4:
            raise ConfigError("model.image_encoder.depths", f"found {len(depths)} stages", expected="4")
        check_edges(image_size, smallest=16)
        edge = 2 if min(image_size) < SMALL_BELOW else 4
        super().__init__(8 * width, dropout=dropout)
        rates = torch.linspace(0.0, drop_path, sum(depths)).tolist()
        stages: list[nn.Module] = [
            Conv3d(in_channels, width, kernel_size=edge, stride=edge),
            _ChannelNorm(width, eps=1e-6),
        ]
        for number, depth in enumerate(depths):
            channels = width * 2**number
            if number:
                halve = Conv3d(channels // 2, channels, kernel_size=2, stride=2)
                stages += [_ChannelNorm(channels // 2, eps=1e-6), halve]
            stages += [_Block(channels, drop=rates.pop(0)) for _ in range(depth)]
        self.stages = nn.Sequential(*stages)

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last stage's output."""
        features: Tensor = self.stages(image)
        return features


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each voxel."""

    def forward(self, features: Tensor) -> Tensor:
        """Return normalised features, of the same shape (B, D, i, j, k)."""
        last = features.movedim(1, -1).to(self.weight.dtype)
        normed: Tensor = super().forward(last)
        return normed.movedim(-1, 1)


class _Block(nn.Module):
    """One convolution of 7 taps a channel, two layers a voxel, and what came in added."""

    def __init__(self, width: int, *, drop: float) -> None:
        super().__init__()
        self.spread = Conv3d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale = nn.Parameter(torch.full((width,), LAYER_SCALE))
        self.drop = Dropout(drop, whole_channels=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return features, of the same shape (B, D, i, j, k)."""
        spread = self.spread(features).movedim(1, -1).to(self.scale.dtype)
        branch = (self.scale * self.layers(self.norm(spread))).movedim(-1, 1)
        # Seen as a single channel, a case is dropped as a whole.
        summed: Tensor = features + self.drop(branch[:, None])[:, 0]
        return summed
