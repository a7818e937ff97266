"""Residual networks in 3D, of 10 to 50 layers, with or without gates on their channels."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.image_encoder import PooledEncoder
from medfuse.models.norms import BatchNorm
from medfuse.models.precision import Conv3d
from medfuse.models.stems import Stem, check_edges, make_stem, stem_for

__all__ = ["ResNet10", "ResNet18", "ResNet34", "ResNet50", "SeResNet"]

LAYERS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
"""Blocks of each stage by number of layers; 50 layers have blocks of three convolutions."""


class _Layout(NamedTuple):
    """Layers of a network, and how many times narrower its gates are than what they weigh; 0 for no gates."""

    depth: int
    reduction: int = 0


class _ResNet(PooledEncoder):
    """A stem and four stages of residual blocks, each with twice the channels and half the edges of the one before."""

    SMALLEST: ClassVar[int] = 16

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        layout: _Layout,
        width: int,
        dropout: float,
        stem: Stem = "auto",
    ) -> None:
        if width < 1:
            raise ConfigError("model.image_encoder.width", f"found {width}", expected="a number above 0")
        check_edges(image_size, smallest=self.SMALLEST)
        block: type[_BasicBlock | _Bottleneck] = _Bottleneck if layout.depth >= 50 else _BasicBlock
        super().__init__(8 * width * block.EXPANSION, dropout=dropout)
        self.stem = make_stem(stem_for(stem, image_size), in_channels, width)
        blocks: list[nn.Module] = []
        before = width
        for stage, n_blocks in enumerate(LAYERS[layout.depth]):
            for number in range(n_blocks):
                stride = 2 if stage and not number else 1
                blocks.append(block(before, width * 2**stage, stride=stride, reduction=layout.reduction))
                before = width * 2**stage * block.EXPANSION
        self.stages = nn.Sequential(*blocks)

    def feature_map(self, image: Tensor) -> Tensor:
        """Return the last stage's output."""
        features: Tensor = self.stages(self.stem(image))
        return features


class ResNet10(_ResNet):
    """A residual network of 10 layers in 3D, the lightest of the family.

    Parameters
    ----------
    in_channels, image_size, width, dropout, stem
        See `ResNet18`.

    Notes
    -----
    Source: He et al. 2016, as `ResNet18`, with one block a stage as in Chen et al. 2019, Med3D, table 1.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        width: int = 64,
        dropout: float = 0.1,
        stem: Stem = "auto",
    ) -> None:
        super().__init__(in_channels, image_size, layout=_Layout(10), width=width, dropout=dropout, stem=stem)


class ResNet18(_ResNet):
    """A residual network of 18 layers in 3D.

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
    stem : {"auto", "small", "large"}
        The papers' (7 taps and a maximum: a quarter of the box is left) or 3 taps alone (half of it); by default the
        papers' from 48 voxels on.

    Raises
    ------
    ConfigError
        If the width is not positive, the stem unknown or the box too small.

    Notes
    -----
    Source: He et al. 2016, Deep Residual Learning for Image Recognition, table 1 (18 layers), with 3D kernels as in
    Hara et al. 2018, Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?, table 1.

    Examples
    --------
    >>> import torch
    >>> encoder = ResNet18(1, (32, 32, 32), width=4).eval()
    >>> encoder.feature_map(torch.zeros(2, 1, 32, 32, 32)).shape
    torch.Size([2, 32, 2, 2, 2])
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        width: int = 64,
        dropout: float = 0.1,
        stem: Stem = "auto",
    ) -> None:
        super().__init__(in_channels, image_size, layout=_Layout(18), width=width, dropout=dropout, stem=stem)


class ResNet34(_ResNet):
    """A residual network of 34 layers in 3D.

    Parameters
    ----------
    in_channels, image_size, width, dropout, stem
        See `ResNet18`.

    Notes
    -----
    Source: He et al. 2016, Deep Residual Learning for Image Recognition, table 1 (34 layers).
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        width: int = 64,
        dropout: float = 0.1,
        stem: Stem = "auto",
    ) -> None:
        super().__init__(in_channels, image_size, layout=_Layout(34), width=width, dropout=dropout, stem=stem)


class ResNet50(_ResNet):
    """A residual network of 50 layers in 3D, of blocks that narrow their channels in between.

    Parameters
    ----------
    in_channels, image_size, width, dropout, stem
        See `ResNet18`; the stages give four times their width.

    Notes
    -----
    Source: He et al. 2016, Deep Residual Learning for Image Recognition, table 1 (50 layers) and figure 5; the stride
    is on the middle convolution, as in Goyal et al. 2017, Accurate, Large Minibatch SGD, section 5.1.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        width: int = 64,
        dropout: float = 0.1,
        stem: Stem = "auto",
    ) -> None:
        super().__init__(in_channels, image_size, layout=_Layout(50), width=width, dropout=dropout, stem=stem)


class SeResNet(_ResNet):
    """A residual network in 3D whose blocks weigh their channels by what they show as a whole.

    Parameters
    ----------
    in_channels, image_size, width, dropout
        See `ResNet18`; the stem is what fits the box.
    depth : {10, 18, 34, 50}
        Layers.
    reduction : int
        How many times narrower the gate is than what it weighs; it keeps one channel at least.

    Raises
    ------
    ConfigError
        As for `ResNet18`, and if there are no such depth or reduction.

    Notes
    -----
    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, equations 2 to 4 and figure 3.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int, int],
        *,
        depth: int = 18,
        width: int = 64,
        reduction: int = 16,
        dropout: float = 0.1,
    ) -> None:
        if depth not in LAYERS:
            raise ConfigError("model.image_encoder.depth", f"found {depth}", expected="10, 18, 34 or 50")
        if reduction < 1:
            raise ConfigError("model.image_encoder.reduction", f"found {reduction}", expected="a number above 0")
        layout = _Layout(depth, reduction)
        super().__init__(in_channels, image_size, layout=layout, width=width, dropout=dropout)


class _ResidualBlock(nn.Module):
    """A few convolutions, and what came in added to what they give."""

    EXPANSION: ClassVar[int] = 1

    def __init__(self, body: nn.Sequential, before: int, after: int, *, stride: int, reduction: int) -> None:
        super().__init__()
        self.body = body
        self.gate: nn.Module = _ChannelGate(after, reduction=reduction) if reduction else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            project = Conv3d(before, after, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(project, BatchNorm(after))

    def forward(self, features: Tensor) -> Tensor:
        """Return features, shape (B, after, i, j, k)."""
        return F.relu(self.gate(self.body(features)) + self.shortcut(features), inplace=True)


class _BasicBlock(_ResidualBlock):
    """Two convolutions of 3 taps."""

    def __init__(self, before: int, width: int, *, stride: int, reduction: int) -> None:
        body = nn.Sequential(
            *_conv(before, width, taps=3, stride=stride),
            nn.ReLU(inplace=True),
            *_conv(width, width, taps=3),
        )
        super().__init__(body, before, width, stride=stride, reduction=reduction)


class _Bottleneck(_ResidualBlock):
    """One convolution of 3 taps between two of one tap, which narrow and widen."""

    EXPANSION: ClassVar[int] = 4

    def __init__(self, before: int, width: int, *, stride: int, reduction: int) -> None:
        after = width * self.EXPANSION
        body = nn.Sequential(
            *_conv(before, width, taps=1),
            nn.ReLU(inplace=True),
            *_conv(width, width, taps=3, stride=stride),
            nn.ReLU(inplace=True),
            *_conv(width, after, taps=1),
        )
        super().__init__(body, before, after, stride=stride, reduction=reduction)


class _ChannelGate(nn.Module):
    """Weigh channels by two layers on their means."""

    def __init__(self, width: int, *, reduction: int) -> None:
        super().__init__()
        narrow = max(width // reduction, 1)
        self.layers = nn.Sequential(
            nn.Linear(width, narrow), nn.ReLU(inplace=True), nn.Linear(narrow, width), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return weighed features, of the same shape (B, D, i, j, k)."""
        weights: Tensor = self.layers(features.mean(dim=(2, 3, 4), dtype=torch.float32))
        return features * weights[:, :, None, None, None].to(features.dtype)


def _conv(before: int, after: int, *, taps: int, stride: int = 1) -> tuple[Conv3d, BatchNorm]:
    conv = Conv3d(before, after, kernel_size=taps, stride=stride, padding=taps // 2, bias=False)
    return conv, BatchNorm(after)
