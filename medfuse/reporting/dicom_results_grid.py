"""The grid of a DICOM series: a map brought onto it, what lies on it, and whether an object's frames do."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import GeometryError
from medfuse.types import Array, Volume

__all__ = ["TOLERANCE_MM", "frame_slices", "grid_offset", "on_grid", "trimmed"]

TOLERANCE_MM = 1e-3
"""How far a voxel may lie from where the source has it."""


def on_grid(volume: Volume, affine: Array, shape: tuple[int, int, int]) -> Volume:
    """Bring a map onto the part of a grid that it covers, by trilinear interpolation.

    Parameters
    ----------
    volume : Volume
        On any grid in the same space.
    affine : ndarray, shape (4, 4)
        Of the grid: index to RAS+ mm.
    shape : tuple of int
        Of the whole grid.

    Returns
    -------
    Volume
        float32, on a box of the grid; 0 outside the map.

    Raises
    ------
    GeometryError
        If the map covers no voxel of the grid.

    Examples
    --------
    >>> fine = Volume(np.arange(64.0).reshape(4, 4, 4), np.diag([0.5, 0.5, 0.5, 1.0]))
    >>> coarse = on_grid(fine, np.eye(4), (9, 9, 9))
    >>> coarse.shape, coarse.voxels[1, 1, 1].item(), fine.voxels[2, 2, 2].item()
    ((2, 2, 2), 42.0, 42.0)
    """
    from scipy.ndimage import map_coordinates

    to_map = np.linalg.inv(volume.affine) @ affine
    corners = np.array([*product(*[(-0.5, n - 0.5) for n in volume.shape])])
    reach = _apply(np.linalg.inv(to_map), corners)
    low = np.maximum(np.ceil(reach.min(axis=0) - 1e-6), 0).astype(int)
    high = np.minimum(np.floor(reach.max(axis=0) + 1e-6) + 1, shape).astype(int)
    if np.any(high <= low):
        raise GeometryError("map", "found a map that covers no voxel of the series", expected="one inside it")
    size = tuple((high - low).tolist())
    found = np.empty(size, dtype=np.float32)
    values = np.asarray(volume.voxels, dtype=np.float32)
    inside = np.array(volume.shape)[:, None, None]
    plane = np.indices(size[:2]).astype(np.float64) + low[:2, None, None]
    for k in range(size[2]):  # by slices, so that the coordinates of a large grid need no memory
        index = np.concatenate([plane, np.full((1, *size[:2]), low[2] + k, dtype=np.float64)])
        at = np.einsum("ij,jab->iab", to_map[:3, :3], index) + to_map[:3, 3, None, None]
        # A voxel reaches half a step to each side of its centre; there the nearest value holds.
        known = np.all((at >= -0.5 - 1e-6) & (at <= inside - 0.5 + 1e-6), axis=0)
        found[:, :, k] = map_coordinates(values, at, order=1, mode="nearest") * known
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    return Volume(found, moved, source="map")


def grid_offset(volume: Volume, affine: Array, shape: tuple[int, int, int], *, where: str) -> tuple[int, int, int]:
    """Return the index in a grid of a volume's first voxel.

    Parameters
    ----------
    volume : Volume
    affine : ndarray, shape (4, 4)
        Of the grid.
    shape : tuple of int
        Of the whole grid.
    where : str
        For error messages.

    Returns
    -------
    tuple of int

    Raises
    ------
    GeometryError
        If a voxel of it lies more than `TOLERANCE_MM` from where the grid has one, or outside the grid.

    Examples
    --------
    >>> box = Volume(np.zeros((2, 2, 2)), np.array([[2.0, 0, 0, 4], [0, 2, 0, 2], [0, 0, 3, 9], [0, 0, 0, 1]]))
    >>> grid_offset(box, np.diag([2.0, 2.0, 3.0, 1.0]), (9, 9, 9), where="box")
    (2, 1, 3)
    """
    offset = np.rint(_apply(np.linalg.inv(affine), volume.affine[None, :3, 3])[0]).astype(int)
    corners = np.array([*product(*[(0, n - 1) for n in volume.shape])], dtype=np.float64)
    away = np.linalg.norm(_apply(volume.affine, corners) - _apply(affine, corners + offset), axis=1).max()
    if away > TOLERANCE_MM:
        found = f"found voxels up to {away:.3g} mm beside those of the series"
        raise GeometryError(where, found, expected=f"the series' own grid, within {TOLERANCE_MM} mm")
    if np.any(offset < 0) or np.any(offset + volume.shape > np.array(shape)):
        raise GeometryError(where, "found voxels outside the series", expected="a box inside it")
    i, j, k = offset.tolist()
    return (i, j, k)


def trimmed(volume: Volume) -> Volume | None:
    """Return the least box that holds every voxel that is not 0; None if there is none.

    Examples
    --------
    >>> voxels = np.zeros((5, 5, 5)); voxels[2, 3, 1:3] = 1
    >>> trimmed(Volume(voxels, np.eye(4))).affine[:3, 3].tolist()
    [2.0, 3.0, 1.0]
    """
    used = [np.flatnonzero(volume.voxels.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(used[0]):
        return None
    low, high = np.array([u[0] for u in used]), [int(u[-1]) + 1 for u in used]
    affine = volume.affine.copy()
    affine[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    part = tuple(slice(int(a), b) for a, b in zip(low, high, strict=True))
    return Volume(volume.voxels[part], affine, source=volume.source)


def frame_slices(dataset: Any, affine: Array, corner: tuple[int, int], *, where: str) -> list[int]:
    """Return which slice of a grid each frame of an object lies on.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Multi-frame, with functional groups.
    affine : ndarray, shape (4, 4)
        Of the grid: index (column, row, slice) to RAS+ mm.
    corner : tuple of int
        Column and row of the grid that the frames start with.
    where : str
        For error messages.

    Returns
    -------
    list of int
        From 0, one a frame.

    Raises
    ------
    GeometryError
        If a corner of a frame lies more than `TOLERANCE_MM` from where the grid has it.

    Notes
    -----
    Source: DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    shared = dataset.SharedFunctionalGroupsSequence[0]
    ends = np.array([*product((0, int(dataset.Columns) - 1), (0, int(dataset.Rows) - 1))], dtype=np.float64)
    slices = []
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        position = _numbers(groups, shared, "PlanePositionSequence", "ImagePositionPatient")
        cosines = _numbers(groups, shared, "PlaneOrientationSequence", "ImageOrientationPatient")
        between_rows, between_columns = _numbers(groups, shared, "PixelMeasuresSequence", "PixelSpacing")
        steps = np.stack([cosines[:3] * between_columns, cosines[3:] * between_rows])
        at = (position + ends @ steps) * (-1, -1, 1)
        k = int(np.rint(_apply(np.linalg.inv(affine), at[:1])[0, 2]))
        index = np.c_[ends + corner, np.full(len(ends), k)]
        away = float(np.linalg.norm(_apply(affine, index) - at, axis=1).max())
        if away > TOLERANCE_MM:
            found = f"found a frame {away:.3g} mm beside its slice"
            raise GeometryError(where, found, expected=f"at most {TOLERANCE_MM} mm")
        slices.append(k)
    return slices


def _numbers(groups: Any, shared: Any, sequence: str, keyword: str) -> NDArray[np.float64]:
    holder = groups if sequence in groups else shared
    return np.array([float(number) for number in getattr(holder[sequence][0], keyword)])


def _apply(affine: NDArray[np.floating[Any]], points: NDArray[np.floating[Any]]) -> Array:
    moved: Array = points @ affine[:3, :3].T + affine[:3, 3]
    return moved
