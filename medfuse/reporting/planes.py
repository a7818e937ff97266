"""Three orthogonal planes through a voxel, as a radiologist looks at them: the patient's right on the left."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from medfuse.types import Array

__all__ = ["OBLIQUE_DEGREES", "Plane", "canonical_axes", "obliquity_degrees", "three_planes"]

OBLIQUE_DEGREES = 5.0
"""Above this tilt a page says that the letters name the nearest direction."""

_NAMES = ("sagittal", "coronal", "axial")  # by the canonical axis (x, y, z) that they cut
_COUNTED_FROM = ("left", "posterior", "inferior")


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One slice, rows from top to bottom, ready to draw.

    Parameters
    ----------
    name : {"axial", "coronal", "sagittal"}
    pixels : ndarray, shape (rows, columns)
    spacing_mm : tuple of float
        Distance between rows and between columns.
    left, right, top, bottom : str
        Direction letters R, L, A, P, S, I of the edges.
    at : tuple of int
        Row and column of the voxel that the planes meet in.
    number, count : int
        Which slice this is, from 1, and of how many.
    counted_from : str
        The side of slice 1.
    """

    name: str
    pixels: NDArray[np.generic]
    spacing_mm: tuple[float, float]
    left: str
    right: str
    top: str
    bottom: str
    at: tuple[int, int]
    number: int
    count: int
    counted_from: str


def canonical_axes(affine: Array) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Return which voxel axis runs along x, y and z, and whether it must be turned.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel index to RAS+ mm.

    Returns
    -------
    tuple of int, tuple of bool
        For x, y and z: the voxel axis nearest to it, and True where its index falls as the coordinate rises.

    Examples
    --------
    >>> canonical_axes(np.diag([-1.0, -1.0, 2.0, 1.0]))  # DICOM's usual axial order
    ((0, 1, 2), (True, True, False))
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    x, y, z = max(permutations(range(3)), key=lambda order: float(np.abs(directions[range(3), order]).sum()))
    turned = directions[range(3), (x, y, z)] < 0
    return (x, y, z), (bool(turned[0]), bool(turned[1]), bool(turned[2]))


def obliquity_degrees(affine: Array) -> float:
    """Return the largest angle between a voxel axis and the body axis it is named after.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel index to RAS+ mm.

    Returns
    -------
    float
        Degrees.

    Examples
    --------
    >>> obliquity_degrees(np.diag([-1.0, -1.0, 2.0, 1.0]))
    0.0
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axes, _ = canonical_axes(affine)
    along = np.array([abs(directions[w, axes[w]]) for w in range(3)])
    return float(np.degrees(np.arccos(np.clip(along, 0, 1))).max())


def three_planes(voxels: NDArray[np.generic], affine: Array, index: tuple[int, int, int]) -> tuple[Plane, ...]:
    """Return the axial, coronal and sagittal plane through a voxel.

    Parameters
    ----------
    voxels : ndarray, shape (I, J, K)
    affine : ndarray, shape (4, 4)
        Voxel index to RAS+ mm; oblique voxels are shown along their own axes.
    index : tuple of int
        The voxel, in the array's own order.

    Returns
    -------
    tuple of Plane
        Axial (right of the patient on the left, anterior on top), coronal (right on the left, superior on
        top), sagittal (anterior on the left, superior on top).

    Examples
    --------
    >>> axial, coronal, sagittal = three_planes(np.zeros((4, 5, 6)), np.diag([1.0, 2.0, 3.0, 1.0]), (0, 1, 2))
    >>> axial.pixels.shape, axial.spacing_mm, axial.left, axial.number, axial.count
    ((5, 4), (2.0, 1.0), 'R', 3, 6)
    """
    axes, turned = canonical_axes(affine)
    step = np.linalg.norm(affine[:3, :3], axis=0)[list(axes)]
    body = voxels.transpose(axes)
    body = body[tuple(slice(None, None, -1) if t else slice(None) for t in turned)]
    x, y, z = (
        body.shape[w] - 1 - index[axes[w]] if turned[w] else index[axes[w]] for w in range(3)
    )  # index rises towards R, A and S
    # Rows and columns both run against R, A and S, which puts R (or A) on the left and A (or S) on top.
    back = slice(None, None, -1)
    (nx, ny, nz), (dx, dy, dz) = body.shape, (float(s) for s in step)
    views = [
        (2, body[back, back, z].T, (dy, dx), ("R", "L", "A", "P"), (ny - 1 - y, nx - 1 - x), (z, nz)),
        (1, body[back, y, back].T, (dz, dx), ("R", "L", "S", "I"), (nz - 1 - z, nx - 1 - x), (y, ny)),
        (0, body[x, back, back].T, (dz, dy), ("A", "P", "S", "I"), (nz - 1 - z, ny - 1 - y), (x, nx)),
    ]
    planes = []
    for cut, pixels, spacing, sides, at, (number, count) in views:
        counted_from = _COUNTED_FROM[cut]
        planes.append(Plane(_NAMES[cut], pixels, spacing, *sides, at, number + 1, count, counted_from))
    return tuple(planes)
