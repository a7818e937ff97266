"""What a prepared image is made of: the part of each channel's volume that its box covers, and how it becomes values.

All that the values depend on is in a `SourcePart`, so that its digest names them: the digest of its bytes is the key of
the cache (`medfuse.data.store`), whatever the files are called and wherever they lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medfuse.data.intensity import Scale, quantise, scale_of
from medfuse.data.resampling import Sampling, plan_sampling
from medfuse.image_config import ChannelConfig
from medfuse.types import Array, StoredVolume, Volume

__all__ = ["VERSION", "SourcePart", "digest_of", "prepare_steps", "read_part"]

VERSION = "1"
"""Raise it with every change of `plan_sampling`'s, `Sampling`'s or `quantise`'s results: no box kept before is used."""


@dataclass(frozen=True, slots=True, eq=False)
class SourcePart:
    """The source of one channel of a prepared image.

    Parameters
    ----------
    sampling : Sampling
        Where the box lies in the part.
    voxels : ndarray, optional
        The part; None if the box lies outside the volume.
    scale : Scale
    """

    sampling: Sampling
    voxels: NDArray[np.generic] | None
    scale: Scale


def read_part(
    volume: Volume | StoredVolume, channel: ChannelConfig, *, box: Array, size: tuple[int, int, int]
) -> SourcePart:
    """Read the part of a volume that a box covers.

    Parameters
    ----------
    volume : Volume or StoredVolume
    channel : ChannelConfig
    box : ndarray, shape (4, 4)
        Index in the box to RAS+ mm.
    size : tuple of int
        Shape of the box.

    Returns
    -------
    SourcePart

    Raises
    ------
    VolumeError
        If the voxels of a StoredVolume cannot be read.
    """
    sampling = plan_sampling(volume.affine, volume.shape, box=box, size=size)
    voxels = None if sampling.part is None else volume.read(sampling.part)
    return SourcePart(sampling, voxels, scale_of(channel, volume))


def prepare_steps(parts: Sequence[SourcePart]) -> NDArray[np.uint16]:
    """Resample and scale the channels of an image.

    Parameters
    ----------
    parts : sequence of SourcePart
        One a channel.

    Returns
    -------
    ndarray of uint16, shape (C, I, J, K)
        In steps of 1 / 65535; see `medfuse.data.intensity.restore`.

    Examples
    --------
    >>> volume = Volume(np.full((2, 2, 2), 400.0), np.eye(4))
    >>> part = read_part(volume, ChannelConfig(), box=np.eye(4), size=(2, 2, 2))
    >>> prepare_steps([part]).shape, int(prepare_steps([part]).min())
    ((1, 2, 2, 2), 65535)
    """
    steps = np.empty((len(parts), *parts[0].sampling.size), dtype=np.uint16)
    for channel, part in enumerate(parts):
        if part.voxels is None:
            steps[channel] = quantise(np.full(part.sampling.size, part.scale.fill, np.float32), part.scale)
        else:
            steps[channel] = quantise(part.sampling.sample(part.voxels, fill=part.scale.fill), part.scale)
    return steps


def digest_of(parts: Sequence[SourcePart]) -> bytes:
    """Return the SHA-256 of all that `prepare_steps` depends on: voxels, places and scale of each channel, and VERSION.

    Parameters
    ----------
    parts : sequence of SourcePart

    Returns
    -------
    bytes
        32 of them. Names, dates and whatever else a file says of a patient have no part in it.
    """
    digest = hashlib.sha256(f"medfuse {VERSION}".encode())
    for part in parts:
        told = (part.sampling.size, part.sampling.order, part.scale)
        digest.update(repr(told).encode())
        arrays = (*part.sampling.index, *part.sampling.inside, *(() if part.voxels is None else (part.voxels,)))
        for array in arrays:
            digest.update(f"{array.shape} {array.dtype.str}".encode())
            digest.update(np.ascontiguousarray(array.transpose()).data)  # of what readers give, no copy
    return digest.digest()
