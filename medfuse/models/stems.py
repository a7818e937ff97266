"""How a deep image encoder takes in a box: a stem that leaves enough of it for the stages behind."""

from __future__ import annotations

from typing import Literal

from torch import nn

from medfuse.errors import ConfigError
from medfuse.models.norms import BatchNorm
from medfuse.models.precision import Conv3d

__all__ = ["Stem", "check_edges", "make_stem", "stem_for"]

Stem = Literal["auto", "small", "large"]
LARGE_FROM = 48
"""Voxels along the shortest axis from which the stem of the papers, which divides by 4, leaves 2 or more in the end."""


def stem_for(stem: Stem, image_size: tuple[int, int, int]) -> Literal["small", "large"]:
    """Return the stem that fits a box, or the one asked for.

    Raises
    ------
    ConfigError
        If there is no such stem.

    Examples
    --------
    >>> stem_for("auto", (28, 28, 28)), stem_for("auto", (96, 96, 64)), stem_for("small", (96, 96, 96))
    ('small', 'large', 'small')
    """
    if stem not in ("auto", "small", "large"):
        raise ConfigError("model.image_encoder.stem", f"found {stem!r}", expected="auto, small or large")
    if stem == "auto":
        return "large" if min(image_size) >= LARGE_FROM else "small"
    return stem


def make_stem(kind: Literal["small", "large"], in_channels: int, width: int) -> nn.Sequential:
    """Return a stem: 7 taps and a maximum, each of stride 2, as the papers have it; or 3 taps of stride 2 alone.

    A stem of stride 1 would make everything behind it cost 8 times as much.
    """
    taps = 7 if kind == "large" else 3
    layers: list[nn.Module] = [
        Conv3d(in_channels, width, kernel_size=taps, stride=2, padding=taps // 2, bias=False),
        BatchNorm(width),
        nn.ReLU(inplace=True),
    ]
    if kind == "large":
        layers.append(nn.MaxPool3d(kernel_size=3, stride=2, padding=1))
    return nn.Sequential(*layers)


def check_edges(image_size: tuple[int, int, int], *, smallest: int) -> None:
    """Refuse a box that is too small along an axis.

    Raises
    ------
    ConfigError
        Naming the box and the smallest edge.
    """
    if min(image_size) < smallest:
        raise ConfigError(
            "model.image_encoder",
            f"found a box of {tuple(image_size)} voxels",
            expected=f"{smallest} voxels or more along each axis",
        )
