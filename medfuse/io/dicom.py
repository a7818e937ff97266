"""Uncompressed DICOM series -> Volume; what cannot be read truthfully is refused by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import GeometryError, PixelError, VolumeError
from medfuse.io.dicom_geometry import series_affine
from medfuse.io.dicom_headers import UNCOMPRESSED, SliceHeader
from medfuse.io.dicom_pixels import read_plane
from medfuse.types import Array, Unit, Volume

__all__ = ["check_series", "read_series"]


def check_series(slices: Sequence[SliceHeader], *, where: str) -> tuple[list[SliceHeader], Array, tuple[str, ...]]:
    """Check by its headers that a series is one readable volume, and order it.

    Parameters
    ----------
    slices : sequence of SliceHeader
        Of one series, in any order. Localizers and secondary captures are set aside where there are others.
    where : str
        For error messages.

    Returns
    -------
    ordered : list of SliceHeader
    affine : ndarray, shape (4, 4)
        Index (column, row, slice) to RAS+ mm.
    warnings : tuple of str

    Raises
    ------
    VolumeError
        Naming what cannot be read: localizers alone, a mosaic, a multi-frame or colour image, compressed pixels.
    GeometryError
        See `medfuse.io.dicom_geometry.series_affine`.
    """
    images = [item for item in slices if not item.is_auxiliary]
    if not images:
        raise VolumeError(where, "found localizers or secondary captures only", expected="slices of one volume")
    for item in images:
        if item.transfer_syntax not in UNCOMPRESSED:
            found = f"found transfer syntax {item.transfer_syntax or 'none'}, which is compressed or unknown"
            raise PixelError(where, found, expected="an uncompressed one")
        if item.text("NumberOfFrames") not in ("", "1"):
            found = "found a multi-frame image (ImagePositionPatient in functional groups)"
            raise VolumeError(where, found, expected="single-frame images")
        if "MOSAIC" in item.text("ImageType").upper().split("\\"):
            raise VolumeError(where, "found a mosaic image", expected="one slice an image")
        kind = item.text("PhotometricInterpretation")
        if item.text("SamplesPerPixel") not in ("", "1") or kind not in ("MONOCHROME1", "MONOCHROME2"):
            raise PixelError(
                where, f"found a colour image or PhotometricInterpretation {kind[:16]!r}", expected="grey values"
            )
    ordered, affine, notes = series_affine(images, where=where)
    if len(images) < len(slices):
        notes += (f"{len(slices) - len(images)} localizers or secondary captures are set aside",)
    if any(item.text("PhotometricInterpretation") == "MONOCHROME1" for item in images):
        notes += ("MONOCHROME1 concerns display only; no value is inverted",)
    return ordered, affine, notes


def read_series(slices: Sequence[SliceHeader], *, where: str = "series") -> Volume:
    """Read a series of single-frame, uncompressed images.

    Parameters
    ----------
    slices : sequence of SliceHeader
        Of one series, in any order.
    where : str
        For error messages; no patient value.

    Returns
    -------
    Volume
        Rescaled values (slope and intercept of each slice); int16 where all are whole and fit, else float32.
        Its unit is HU if the Modality is CT and the rescale says nothing else.

    Raises
    ------
    GeometryError, VolumeError
        See `check_series`.
    PixelError
        See `medfuse.io.dicom_pixels.read_plane`.
    """
    ordered, affine, notes = check_series(slices, where=where)
    shape = tuple(_size(ordered[0], keyword, where) for keyword in ("Columns", "Rows"))
    voxels: NDArray[np.generic] | None = None
    is_hu, seen = ordered[0].text("Modality") == "CT", set[str]()
    for k, item in enumerate(ordered):
        plane = read_plane(item, where=f"{where} slice {k + 1} of {len(ordered)}")
        if voxels is None:  # only now is the claimed size proven; Fortran order keeps each slice in one piece
            voxels = np.empty((*shape, len(ordered)), dtype=plane.values.dtype, order="F")
        if voxels.dtype == np.int16 != plane.values.dtype:
            voxels = voxels.astype(np.float32, order="F")
        voxels[:, :, k] = plane.values.T  # pixels are (row, column); the first axis is the column index
        is_hu = is_hu and plane.is_hu
        seen.update(plane.notes)
    if voxels is None:
        raise VolumeError(where, "found no image", expected="at least one")
    notes += tuple(sorted(seen))
    if not is_hu and ordered[0].text("Modality") == "CT":
        notes += ("a CT without a rescale to HU: its unit is unknown",)
    unit: Unit = "HU" if is_hu else "arbitrary"
    return Volume(voxels, affine, unit, notes, where)


def _size(item: SliceHeader, keyword: str, where: str) -> int:
    value = item.numbers(keyword, 1, where=where)[0]
    if value < 1 or value != int(value):
        raise GeometryError(where, f"found an invalid {keyword}", expected="a whole number above 0")
    return int(value)
