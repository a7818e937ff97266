"""One box, cropped and resampled in a single pass, on coordinates that are known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medfuse.types import Array, Slices, StoredVolume, Volume

__all__ = ["Sampling", "box_affine", "plan_sampling", "sample_box"]

ON_CENTRE = 1e-6
"""Distance in voxels that is taken for rounding."""

Size = tuple[int, int, int]
Index = NDArray[np.intp]


def box_affine(centre: tuple[float, float, float], *, size: Size, spacing_mm: float) -> Array:
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


def sample_box(volume: Volume | StoredVolume, affine: Array, *, size: Size, fill: float) -> NDArray[np.float32]:
    """Sample a volume linearly on the grid of a box; only the voxels that the box covers are read.

    Parameters
    ----------
    volume : Volume or StoredVolume
    affine : ndarray, shape (4, 4)
        Index in the box to RAS+ mm.
    size : tuple of int
        Shape of the box.
    fill : float
        Value of points outside the volume, which reaches half a step beyond its outer voxels' centres; between
        centre and edge the outer voxel's value holds.

    Returns
    -------
    ndarray, shape ``size``, float32

    Notes
    -----
    Source: ITK Software Guide, LinearInterpolateImageFunction: the same points are inside, with the same values.

    Examples
    --------
    >>> volume = Volume(np.arange(8.0).reshape(2, 2, 2), np.eye(4))
    >>> grid = box_affine((0.5, 0.5, 0.5), size=(1, 1, 1), spacing_mm=1.0)
    >>> float(sample_box(volume, grid, size=(1, 1, 1), fill=0.0)[0, 0, 0])
    3.5
    """
    plan = plan_sampling(volume.affine, volume.shape, box=affine, size=size)
    if plan.part is None:
        return np.full(size, fill, dtype=np.float32)
    return plan.sample(volume.read(plan.part), fill=fill)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which part of a volume a box needs, and where in it each point of the box lies.

    Parameters
    ----------
    size : tuple of int
        Of the box.
    part : Slices, optional
        Of the volume; None if the box lies outside it.
    order : tuple of int
        Axis of the volume that each axis of the box runs along; empty if they run obliquely.
    index : tuple of ndarray
        Along each axis of the volume the box's places, in voxels from the start of the part; of an oblique box one
        place a point.
    inside : tuple of ndarray of bool
        Which of them lie in the volume.
    """

    size: Size
    part: Slices | None
    order: tuple[int, ...]
    index: tuple[Array, ...]
    inside: tuple[NDArray[np.bool_], ...]

    def sample(self, voxels: NDArray[np.generic], *, fill: float) -> NDArray[np.float32]:
        """Return the values of the box.

        Parameters
        ----------
        voxels : ndarray
            The volume's ``part``.
        fill : float
            Value of points outside the volume.

        Returns
        -------
        ndarray, shape ``size``, float32
        """
        return self._along_axes(voxels, fill) if self.order else self._point_by_point(voxels, fill)

    def _along_axes(self, voxels: NDArray[np.generic], fill: float) -> NDArray[np.float32]:
        along_i, along_j, along_k = (_Neighbours.of(a, n) for a, n in zip(self.index, voxels.shape, strict=True))
        values = np.empty(tuple(len(a) for a in reversed(self.index)), dtype=np.float32)
        planes = voxels.transpose()  # as readers lay them out in memory: plane by plane, row by row
        # Plane by plane: what is in between is a plane, whatever the size of the volume.
        for number, (low, high, share) in enumerate(zip(*along_k, strict=True)):
            plane = _blend(planes[low].astype(np.float32), planes[high].astype(np.float32), share)
            rows = _blend(plane[along_j.low], plane[along_j.high], along_j.share[:, np.newaxis])
            values[number] = _blend(rows.take(along_i.low, axis=1), rows.take(along_i.high, axis=1), along_i.share)
        values = values.transpose()
        for axis in range(3):
            if not self.inside[axis].all():
                values[(slice(None),) * axis + (~self.inside[axis],)] = fill
        return np.ascontiguousarray(values.transpose(self.order))

    def _point_by_point(self, voxels: NDArray[np.generic], fill: float) -> NDArray[np.float32]:
        index = np.stack(self.index)
        values: NDArray[np.float32] = ndimage.map_coordinates(voxels.astype(np.float32), index, order=1, mode="nearest")
        values[~np.logical_and.reduce(self.inside)] = fill
        return values.reshape(self.size)


def plan_sampling(affine: Array, shape: Size, *, box: Array, size: Size) -> Sampling:
    """Find out what a box needs of a volume.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        The volume's, index to RAS+ mm.
    shape : tuple of int
        The volume's.
    box : ndarray, shape (4, 4)
        Index in the box to RAS+ mm.
    size : tuple of int
        Shape of the box.

    Returns
    -------
    Sampling

    Examples
    --------
    >>> plan_sampling(np.diag([2.0, 2, 2, 1]), (9, 9, 9), box=np.eye(4), size=(4, 4, 4)).part
    (slice(0, 3, None), slice(0, 3, None), slice(0, 3, None))
    """
    to_index = np.linalg.inv(affine) @ box
    turn, start = to_index[:3, :3], to_index[:3, 3]
    # Along each axis of the box one of the volume's leads; what it moves along the others must be rounding alone.
    leads = np.abs(turn).argmax(axis=0)
    rest = np.abs(turn) * np.array(size)
    rest[leads, range(3)] = 0.0
    is_aligned = len(set(leads.tolist())) == 3 and rest.sum(axis=1).max() < ON_CENTRE
    if is_aligned:
        order = tuple(int(axis) for axis in leads)
        along = [turn[axis, b] * np.arange(size[b]) + start[axis] for b, axis in enumerate(order)]
        index = [along[order.index(axis)] for axis in range(3)]
    else:
        order = ()
        index = list(turn @ np.indices(size).reshape(3, -1) + start[:, np.newaxis])
    index = [_on_centre(places) for places in index]
    inside = [(a >= -0.5 - ON_CENTRE) & (a <= n - 0.5 + ON_CENTRE) for a, n in zip(index, shape, strict=True)]
    if not (all(a.any() for a in inside) and (is_aligned or np.logical_and.reduce(inside).any())):
        return Sampling(size, None, order, (), ())
    places = [np.clip(a, 0, n - 1) for a, n in zip(index, shape, strict=True)]
    low = [int(np.floor(a.min())) for a in places]
    high = [min(int(np.floor(a.max())) + 2, n) for a, n in zip(places, shape, strict=True)]
    i, j, k = (slice(a, b) for a, b in zip(low, high, strict=True))
    moved = tuple(a - start for a, start in zip(places, low, strict=True))
    return Sampling(size, (i, j, k), order, moved, tuple(inside))


def _on_centre(index: Array) -> Array:
    """Put a point that only rounding takes off a voxel's centre onto it, lest it be blended with its neighbour."""
    centres = np.rint(index)
    return np.where(np.abs(index - centres) < ON_CENTRE, centres, index)


class _Neighbours(NamedTuple):
    """The two voxels that each place along an axis lies between, and how far it is from the first to the second."""

    low: Index
    high: Index
    share: NDArray[np.float32]

    @classmethod
    def of(cls, index: Array, n_voxels: int) -> Self:
        low = np.floor(index).astype(np.intp)
        return cls(low, np.minimum(low + 1, n_voxels - 1), (index - low).astype(np.float32))


def _blend(
    low: NDArray[np.float32], high: NDArray[np.float32], share: NDArray[np.float32] | np.float32
) -> NDArray[np.float32]:
    """Move ``low`` by a share of the way to ``high``; both are used up."""
    high -= low
    high *= share
    low += high
    return low
