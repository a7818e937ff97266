"""Images with their geometry, in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import GeometryError
from medfuse.types.arrays import Array, Slices, Unit

__all__ = ["StoredVolume", "Volume"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Volume:
    """One image volume with its true geometry.

    Parameters
    ----------
    voxels : ndarray, shape (I, J, K)
        Stored values after rescale.
    affine : ndarray, shape (4, 4), float64
        Voxel index to RAS+ millimetres.
    unit : {"HU", "arbitrary"}
        Unit of the voxel values.
    warnings : tuple of str
        What the reader noticed but could read safely.
    source : str
        A pseudonymous name of the origin; never a path with patient data.
    modality, body_part : str
        DICOM Modality and BodyPartExamined; empty if unknown.
    laterality : str
        DICOM ImageLaterality, else Laterality: R, L, B or U; empty if unknown.

    Raises
    ------
    GeometryError
        If the voxels are not 3D or the affine is not a finite, invertible 4 x 4 matrix.

    Examples
    --------
    >>> Volume(np.zeros((4, 4, 2)), np.diag([0.7, 0.7, 2.5, 1.0])).spacing_mm
    (0.7, 0.7, 2.5)
    """

    voxels: NDArray[np.generic]
    affine: Array
    unit: Unit = "arbitrary"
    warnings: tuple[str, ...] = ()
    source: str = ""
    modality: str = ""
    body_part: str = ""
    laterality: str = ""

    def __post_init__(self) -> None:
        _check_grid(self.voxels.shape, self.affine, self.source)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(I, J, K)."""
        i, j, k = self.voxels.shape
        return (i, j, k)

    def read(self, part: Slices) -> NDArray[np.generic]:
        """Return the voxels of a part; not a copy."""
        return self.voxels[part]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along I, J and K."""
        i, j, k = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return (float(i), float(j), float(k))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class StoredVolume:
    """A volume whose voxels lie on disk: its headers are read, and any part of its voxels can be.

    Parameters
    ----------
    shape : tuple of int
        (I, J, K).
    affine : ndarray, shape (4, 4), float64
        Voxel index to RAS+ millimetres.
    read : callable
        Reads the voxels of a part, as `Volume.read` gives them; of any real type.
    unit, warnings, source, modality, body_part, laterality
        As of `Volume`; what only the voxels tell is not among the warnings.

    Raises
    ------
    GeometryError
        As `Volume` does.
    """

    shape: tuple[int, int, int]
    affine: Array
    read: Callable[[Slices], NDArray[np.generic]] = field(repr=False)
    unit: Unit = "arbitrary"
    warnings: tuple[str, ...] = ()
    source: str = ""
    modality: str = ""
    body_part: str = ""
    laterality: str = ""

    def __post_init__(self) -> None:
        _check_grid(self.shape, self.affine, self.source)


def _check_grid(shape: tuple[int, ...], affine: Array, source: str) -> None:
    where = source or "volume"
    if len(shape) != 3 or 0 in shape:
        raise GeometryError(where, f"found an array of shape {shape}", expected="three non-empty axes (I, J, K)")
    if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
        raise GeometryError(where, "found an affine that is not a finite 4 x 4 matrix", expected="index to RAS+ mm")
    if abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise GeometryError(where, "found a singular affine", expected="an invertible one")
