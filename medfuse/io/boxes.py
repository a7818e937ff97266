"""A box in space -> the voxels that cover it."""

from __future__ import annotations

import numpy as np

from medfuse.errors import VolumeError
from medfuse.types import Array, Slices

__all__ = ["Box", "Slices", "box_slices", "moved"]

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Two opposite corners in RAS+ mm."""


def box_slices(box_mm: Box, *, affine: Array, shape: tuple[int, ...]) -> Slices:
    """Find the voxels whose centres enclose a box, as interpolation in it needs.

    Parameters
    ----------
    box_mm : ((x, y, z), (x, y, z))
        Opposite corners in RAS+ mm.
    affine : ndarray, shape (4, 4)
        Voxel index to RAS+ mm.
    shape : tuple of int
        (I, J, K).

    Returns
    -------
    tuple of three slices
        Parts of the box outside the volume are left out.

    Raises
    ------
    VolumeError
        If the box lies outside the volume, or is not six finite numbers.

    Examples
    --------
    >>> box_slices(((2.5, 0.0, 4.0), (3.5, 1.0, 8.0)), affine=np.eye(4), shape=(10, 10, 10))
    (slice(2, 5, None), slice(0, 2, None), slice(4, 9, None))
    """
    corners_mm = np.array(box_mm, dtype=np.float64)
    if corners_mm.shape != (2, 3) or not np.all(np.isfinite(corners_mm)):
        raise VolumeError("box_mm", "found no two corners of three finite numbers", expected="RAS+ mm")
    corners = np.array(np.meshgrid(*corners_mm.T, indexing="ij")).reshape(3, -1)
    # Rounding keeps a corner that lies on a voxel centre from taking one voxel more.
    index = (np.linalg.inv(affine) @ np.vstack([corners, np.ones(8)]))[:3].round(6)
    start = np.maximum(np.floor(index.min(axis=1)), 0)
    stop = np.minimum(np.ceil(index.max(axis=1)) + 1, shape)
    if np.any(stop <= start):
        raise VolumeError("box_mm", "found a box outside the volume", expected="RAS+ mm that overlap it")
    i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return i, j, k


def moved(affine: Array, slices: Slices) -> Array:
    """Return the affine of a part of a volume.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Of the whole.
    slices : tuple of three slices

    Returns
    -------
    ndarray, shape (4, 4)

    Examples
    --------
    >>> moved(np.diag([2.0, 2.0, 5.0, 1.0]), (slice(1, 3), slice(0, 2), slice(4, 9)))[:3, 3]
    array([ 2.,  0., 20.])
    """
    part = affine.copy()
    part[:3, 3] = (affine @ [*(s.start for s in slices), 1.0])[:3]
    return part
