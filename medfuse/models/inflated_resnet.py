"""A residual network for photographs whose kernels were inflated to three dimensions, as pretrained on CT by others."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.image_encoder import PooledEncoder
from medfuse.models.norms import BatchNorm
from medfuse.models.precision import Conv3d
from medfuse.models.stems import check_edges

__all__ = ["InflatedResNet"]

LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
COLOURS = 3


class InflatedResNet(PooledEncoder):
    """A residual network inflated from photographs to CT: its names and shapes are those of Merlin's image encoder.

    An image of one channel is given to it three times, as the colours that its first layer expects. The first layer
    keeps the slices and halves the rows and columns.

    Parameters
    ----------
    in_channels : int
        C, 1 or 3.
    image_size : tuple of int
        (I, J, K) of the box, at least 16 along each axis.
    depth : {50, 101, 152}
        Layers; Merlin's has 152.
    width : int
        Channels of the first stage; Merlin's has 64.
    dropout : float
        Of whole feature maps before pooling, in [0, 1].

    Raises
    ------
    ConfigError
        If there is no such depth, the width is not positive, or channels or box do not fit.

    Notes
    -----
    Source: Carreira & Zisserman 2017, Quo Vadis, Action Recognition?, section 2.4 (inflation); Blankemeier et al.
    2024, Merlin: A Vision Language Foundation Model for 3D Computed Tomography, section 4.2 (I3ResNet-152); He et al.
    2016, table 1.

    Examples
    --------
    >>> import torch
    >>> encoder = InflatedResNet(1, (32, 32, 16), depth=50, width=4).eval()
    >>> encoder.feature_map(torch.zeros(1, 1, 32, 32, 16)).shape
    torch.Size([1, 128, 1, 1, 1])
    >>> sorted(name for name in encoder.state_dict() if name.startswith("layer1.0.conv"))
    ['layer1.0.conv1.weight', 'layer1.0.conv2.weight', 'layer1.0.conv3.weight']
    """

    SMALLEST: ClassVar[int] = 16

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        depth: int = 152,
        width: int = 64,
        dropout: float = 0.1,
    ) -> None:
        if depth not in LAYERS:
            raise ConfigError("model.image_encoder.depth", f"found {depth}", expected="50, 101 or 152")
        if width < 1:
            raise ConfigError("model.image_encoder.width", f"found {width}", expected="a number above 0")
        if in_channels not in (1, COLOURS):
            found = f"found an image of {in_channels} channels"
            raise ConfigError("model.image_encoder.name", found, expected="1 or 3 for inflated_resnet")
        check_edges(image_size, smallest=self.SMALLEST)
        super().__init__(8 * width * _Bottleneck.EXPANSION, dropout=dropout)
        self.conv1 = Conv3d(COLOURS, width, kernel_size=(3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        self.bn1 = BatchNorm(width)
        before = width
        for stage, n_blocks in enumerate(LAYERS[depth]):
            blocks = []
            for number in range(n_blocks):
                stride = 2 if stage and not number else 1
                blocks.append(_Bottleneck(before, width * 2**stage, stride=stride))
                before = width * 2**stage * _Bottleneck.EXPANSION
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last stage's output, its axes those of the image."""
        slices_first = image.permute(0, 1, 4, 2, 3)
        colours = slices_first.expand(-1, COLOURS, -1, -1, -1)
        features = F.relu(self.bn1(self.conv1(colours)), inplace=True)
        features = F.max_pool3d(features, kernel_size=3, stride=2, padding=1)
        for stage in range(4):
            features = self.get_submodule(f"layer{stage + 1}")(features)
        return features.permute(0, 1, 3, 4, 2)


class _Bottleneck(nn.Module):
    """One convolution of 3 taps between two of one tap; the stride is on the middle one."""

    EXPANSION: ClassVar[int] = 4

    def __init__(self, before: int, width: int, *, stride: int) -> None:
        super().__init__()
        after = width * self.EXPANSION
        self.conv1 = Conv3d(before, width, kernel_size=1, bias=False)
        self.bn1 = BatchNorm(width)
        self.conv2 = Conv3d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = BatchNorm(width)
        self.conv3 = Conv3d(width, after, kernel_size=1, bias=False)
        self.bn3 = BatchNorm(after)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            project = Conv3d(before, after, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(project, BatchNorm(after))

    def forward(self, features: Tensor) -> Tensor:
        """Return features, shape (B, after, i, j, k)."""
        hidden = F.relu(self.bn1(self.conv1(features)), inplace=True)
        hidden = F.relu(self.bn2(self.conv2(hidden)), inplace=True)
        return F.relu(self.bn3(self.conv3(hidden)) + self.downsample(features), inplace=True)
