"""Values of a volume -> the even grid from 0 to 1 that every model reads, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medfuse.image_config import WINDOWS, ChannelConfig
from medfuse.types import StoredVolume, Volume

__all__ = ["N_STEPS", "Z_LIMIT", "Scale", "otsu_threshold", "quantise", "restore", "scale_of", "shown_window"]

N_STEPS = 65535
"""A prepared image is rounded to whole steps of 1 / N_STEPS, stored or not: 0.02 HU of a window of 1400 HU."""

Z_LIMIT = 5.0
"""Standard deviations to each side of the mean that a z-score keeps."""

Z_VOXELS = 2**22
BINS = 256


@dataclass(frozen=True, slots=True)
class Scale:
    """What becomes 0 and 1, and what stands outside the volume, all in the volume's unit."""

    low: float
    high: float
    fill: float


def scale_of(channel: ChannelConfig, volume: Volume | StoredVolume) -> Scale:
    """Return how a channel scales a volume's values.

    Parameters
    ----------
    channel : ChannelConfig
    volume : Volume or StoredVolume
        For a z-score the whole is read: its mean and standard deviation are those of the voxels above Otsu's
        threshold, of an even grid of `Z_VOXELS` at most, whichever part is prepared.

    Returns
    -------
    Scale
        Outside a windowed volume lies the window's lowest value, outside a z-scored one the volume's.

    Examples
    --------
    >>> scale_of(ChannelConfig(intensity="brain"), Volume(np.zeros((1, 1, 1)), np.eye(4)))
    Scale(low=0.0, high=80.0, fill=0.0)
    """
    if channel.intensity != "zscore":
        low, high = shown_window(channel)
        return Scale(low, high, fill=low)
    if volume not in _ZSCORES:  # once for all lesions of a study
        _ZSCORES[volume] = _zscore(volume)
    return _ZSCORES[volume]


_ZSCORES: WeakKeyDictionary[Volume | StoredVolume, Scale] = WeakKeyDictionary()


def _zscore(volume: Volume | StoredVolume) -> Scale:
    i, j, k = (slice(0, n) for n in volume.shape)
    # An even grid of so many voxels tells mean and spread as well as all of them do.
    step = max(1, math.ceil((math.prod(volume.shape) / Z_VOXELS) ** (1 / 3)))
    voxels = volume.read((i, j, k))[::step, ::step, ::step].astype(np.float32)
    foreground = voxels[voxels > otsu_threshold(voxels)]
    chosen = foreground if foreground.size else voxels
    mean, deviation = float(chosen.mean(dtype=np.float64)), float(chosen.std(dtype=np.float64)) or 1.0
    return Scale(mean - Z_LIMIT * deviation, mean + Z_LIMIT * deviation, fill=float(voxels.min()))


def shown_window(channel: ChannelConfig) -> tuple[float, float]:
    """Return what 0 and 1 stand for: values in the volume's unit, or standard deviations for a z-score.

    Examples
    --------
    >>> shown_window(ChannelConfig(intensity="lung")), shown_window(ChannelConfig(intensity="zscore"))
    ((-1350.0, 150.0), (-5.0, 5.0))
    """
    if isinstance(channel.intensity, tuple):
        return channel.intensity
    return WINDOWS.get(channel.intensity, (-Z_LIMIT, Z_LIMIT))


def otsu_threshold(voxels: NDArray[np.generic]) -> float:
    """Return the value that parts voxels into two classes of the largest variance between them.

    Parameters
    ----------
    voxels : ndarray

    Returns
    -------
    float
        An edge of one of 256 even bins from the lowest to the highest value.

    Notes
    -----
    Source: Otsu 1979, A Threshold Selection Method from Gray-Level Histograms, equation 14.

    Examples
    --------
    >>> 1.0 <= otsu_threshold(np.array([0.0, 1.0, 0.5, 9.0, 10.0, 9.5])) < 9.0
    True
    """
    counts, edges = np.histogram(voxels, bins=BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
        between = np.nan_to_num(below * above * apart**2)
    return float(edges[1 + int(between.argmax())])


def quantise(values: NDArray[np.float32], scale: Scale) -> NDArray[np.uint16]:
    """Scale values to the grid from 0 to 1, in steps of 1 / N_STEPS.

    Parameters
    ----------
    values : ndarray of float32
    scale : Scale

    Returns
    -------
    ndarray of uint16, of the same shape

    Examples
    --------
    >>> quantise(np.array([-9.0, 0.0, 20.0, 80.0, 99.0], dtype=np.float32), Scale(0.0, 80.0, 0.0)).tolist()
    [0, 0, 16384, 65535, 65535]
    """
    steps = values - np.float32(scale.low)
    steps *= np.float32(N_STEPS / (scale.high - scale.low))
    np.clip(steps, 0, N_STEPS, out=steps)
    np.rint(steps, out=steps)
    return steps.astype(np.uint16)


def restore(steps: NDArray[np.uint16]) -> Tensor:
    """Return the values that whole steps stand for.

    Parameters
    ----------
    steps : ndarray of uint16

    Returns
    -------
    Tensor, of the same shape, float32, in [0, 1]

    Examples
    --------
    >>> restore(np.array([0, N_STEPS], dtype=np.uint16)).tolist()
    [0.0, 1.0]
    """
    return torch.from_numpy(steps).to(torch.float32).mul_(1 / N_STEPS)
