"""A densely connected network in 3D."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.image_encoder import PooledEncoder
from medfuse.models.norms import BatchNorm
from medfuse.models.precision import Conv3d
from medfuse.models.stems import Stem, check_edges, make_stem, stem_for

__all__ = ["DenseNet121"]

LAYERS = (6, 12, 24, 16)
"""Of each dense block."""
BOTTLENECK = 4
"""How many times the growth a layer narrows its input to."""


class DenseNet121(PooledEncoder):
    """A network of 121 layers in 3D in which each layer reads all those before it.

    Parameters
    ----------
    in_channels : int
        C.
    image_size : tuple of int
        (I, J, K) of the box: at least 15 along each axis for the small stem, 29 for the large one, since three
        transitions halve what the stem leaves and drop an odd voxel.
    growth : int
        Channels that each layer adds; the stem gives twice as many.
    dropout : float
        Of whole feature maps before pooling, in [0, 1].
    stem : {"auto", "small", "large"}
        See `medfuse.models.residual_networks.ResNet18`.

    Raises
    ------
    ConfigError
        If the growth is not positive, the stem unknown or the box too small.

    Notes
    -----
    Source: Huang et al. 2017, Densely Connected Convolutional Networks, table 1 (DenseNet-121, so with bottlenecks
    and a compression of 0.5), equation 2.

    Examples
    --------
    >>> encoder = DenseNet121(1, (28, 28, 28), growth=2).eval()
    >>> encoder.feature_map(torch.zeros(1, 1, 28, 28, 28)).shape
    torch.Size([1, 64, 1, 1, 1])
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        growth: int = 32,
        dropout: float = 0.1,
        stem: Stem = "auto",
    ) -> None:
        if growth < 1:
            raise ConfigError("model.image_encoder.growth", f"found {growth}", expected="a number above 0")
        kind = stem_for(stem, image_size)
        check_edges(image_size, smallest=29 if kind == "large" else 15)
        width = 2 * growth
        stages: list[nn.Module] = []
        for number, n_layers in enumerate(LAYERS):
            if number:
                stages.append(_Transition(width, width // 2))
                width //= 2
            for _ in range(n_layers):
                stages.append(_DenseLayer(width, growth))
                width += growth
        super().__init__(width, dropout=dropout)
        self.stem = make_stem(kind, in_channels, 2 * growth)
        self.stages = nn.Sequential(*stages)
        self.last_norm = BatchNorm(width)

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last block's output, normalised."""
        features: Tensor = self.last_norm(self.stages(self.stem(image)))
        return F.relu(features, inplace=True)


class _DenseLayer(nn.Module):
    """Add a few channels that are made from all those before them."""

    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            BatchNorm(before),
            nn.ReLU(inplace=True),
            Conv3d(before, BOTTLENECK * growth, kernel_size=1, bias=False),
            BatchNorm(BOTTLENECK * growth),
            nn.ReLU(inplace=True),
            Conv3d(BOTTLENECK * growth, growth, kernel_size=3, padding=1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features, shape (B, before + growth, i, j, k)."""
        return torch.cat([features, self.body(features).to(features.dtype)], dim=1)


class _Transition(nn.Module):
    """Halve the channels and the edges between two dense blocks."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            BatchNorm(before), nn.ReLU(inplace=True), Conv3d(before, after, kernel_size=1, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features, shape (B, after, i, j, k)."""
        # On a CPU torch takes no means in bfloat16.
        return F.avg_pool3d(self.body(features).float(), kernel_size=2, stride=2)
