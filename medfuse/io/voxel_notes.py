"""What is worth saying of voxels, wherever they come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["voxel_notes"]


def voxel_notes(voxels: NDArray[np.generic]) -> tuple[str, ...]:
    """Say that voxels show nothing.

    Parameters
    ----------
    voxels : ndarray, shape (I, J, K)

    Returns
    -------
    tuple of str
        Warnings for `medfuse.types.Volume`.

    Examples
    --------
    >>> voxel_notes(np.full((2, 2, 2), 7))
    ('every voxel has the same value: the volume is constant (blank)',)
    >>> voxel_notes(np.arange(8).reshape(2, 2, 2))
    ()
    """
    value = voxels[0, 0, 0]
    # One slice first: nearly every volume is done with it.
    if voxels.size > 1 and (voxels[:, :, 0] == value).all() and (voxels == value).all():
        return ("every voxel has the same value: the volume is constant (blank)",)
    return ()
