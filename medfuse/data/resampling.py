"""One box, cropped and resampled in a single pass, on coordinates that are known exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medfuse.types import Array, Volume

__all__ = ["box_affine", "sample_box"]

ON_CENTRE = 1e-6
"""Distance from a voxel's centre, in voxels, that is taken for rounding."""


def box_affine(centre: tuple[float, float, float], *, size: tuple[int, int, int], spacing_mm: float) -> Array:
    """Return the affine of an isotropic box whose axes run along R, A and S.

    Parameters
    ----------
    centre : tuple of float
        Centre of the box in RAS+ mm.
    size : tuple of int
        Voxels along R, A and S.
    spacing_mm : float
        Distance between neighbouring voxel centres in mm.

    Returns
    -------
    ndarray, shape (4, 4)
        Voxel index to RAS+ mm; index ``(size - 1) / 2`` is the centre.

    Examples
    --------
    >>> box_affine((0.0, 0.0, 0.0), size=(3, 3, 3), spacing_mm=2.0)[:3, 3]
    array([-2., -2., -2.])
    """
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = np.asarray(centre) - spacing_mm * (np.asarray(size) - 1) / 2
    return affine


def sample_box(volume: Volume, affine: Array, *, size: tuple[int, int, int], fill: float) -> NDArray[np.float32]:
    """Sample a volume linearly on the grid of a box.

    Only the voxels that the box covers are converted to float.

    Parameters
    ----------
    volume : Volume
    affine : ndarray, shape (4, 4)
        Index in the box to RAS+ mm.
    size : tuple of int
        Shape of the box.
    fill : float
        Value of points outside the volume.

    Returns
    -------
    ndarray, shape ``size``, float32

    Examples
    --------
    >>> volume = Volume(np.arange(8.0).reshape(2, 2, 2), np.eye(4))
    >>> grid = box_affine((0.5, 0.5, 0.5), size=(1, 1, 1), spacing_mm=1.0)
    >>> float(sample_box(volume, grid, size=(1, 1, 1), fill=0.0)[0, 0, 0])
    3.5
    """
    to_index = np.linalg.inv(volume.affine) @ affine
    index = to_index[:3, :3] @ np.indices(size).reshape(3, -1) + to_index[:3, 3:]
    # A point that only rounding takes off a voxel's centre would be fill at the volume's edge.
    centres = np.rint(index)
    index = np.where(np.abs(index - centres) < ON_CENTRE, centres, index)
    low = np.clip(np.floor(index.min(axis=1)), 0, volume.voxels.shape).astype(int)
    high = np.clip(np.ceil(index.max(axis=1)) + 1, 0, volume.voxels.shape).astype(int)
    if np.any(high <= low):
        return np.full(size, fill, dtype=np.float32)
    crop = volume.voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    index -= low[:, np.newaxis]
    values: NDArray[np.float32] = ndimage.map_coordinates(crop, index, order=1, mode="constant", cval=fill)
    return values.reshape(size)
