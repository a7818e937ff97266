"""NIfTI -> Volume. Only the slices asked for are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import AmbiguousVolumeError, PixelError, VolumeError
from medfuse.io.boxes import Box, Slices, box_slices, moved
from medfuse.io.nifti_files import Stream, check_end, is_nifti, open_voxels, read_nifti_header
from medfuse.io.nifti_header import WHERE, NiftiHeader
from medfuse.io.voxel_notes import voxel_notes
from medfuse.types import Array, StoredVolume, Unit, Volume

__all__ = ["is_nifti", "nifti_geometry", "open_nifti", "read_nifti", "read_nifti_volumes"]


def read_nifti(
    path: Path,
    *,
    unit: Unit = "arbitrary",
    box_mm: Box | None = None,
    time_point: int | None = None,
    allow_nan: bool = False,
) -> Volume:
    """Read one volume of a NIfTI file.

    Parameters
    ----------
    path : Path
        .nii, .nii.gz, or the .hdr of a pair; NIfTI-1 or NIfTI-2.
    unit : {"HU", "arbitrary"}
        NIfTI does not say it.
    box_mm : ((x, y, z), (x, y, z)), optional
        Opposite corners in RAS+ mm; the voxels that cover the box are returned, and only their slices read.
    time_point : int, optional
        Which volume of a 4D file, from 0.
    allow_nan : bool
        Whether NaN and infinite voxels are let through.

    Returns
    -------
    Volume
        Voxels after scl_slope and scl_inter: whole numbers keep their type where no scaling applies, all
        others are float32.

    Raises
    ------
    AmbiguousVolumeError
        If the file holds several volumes and no time_point chooses one.
    VolumeError
        If the file is no whole NIfTI, or claims more than it can hold.
    PixelError
        If its voxels are no finite real numbers.
    GeometryError
        If its affine is singular or not finite.

    Notes
    -----
    Source: NIfTI-1 and NIfTI-2 standards.
    """
    header = read_nifti_header(path)
    if time_point is None:
        _check_single(header)
    number = time_point or 0
    if not 0 <= number < header.n_volumes:
        raise VolumeError("time_point", f"found {number} of {header.n_volumes}", expected="one that the image has")
    slices = _whole(header) if box_mm is None else box_slices(box_mm, affine=header.affine, shape=header.shape)
    notes: tuple[str, ...] = ()
    with open_voxels(path, header) as stream:
        voxels = _read(stream, header, number, slices)
        if box_mm is None and header.n_volumes == 1:
            notes = check_end(stream, header)
    return _volume(voxels, header, slices, unit=unit, allow_nan=allow_nan, notes=notes)


def open_nifti(path: Path, *, unit: Unit = "arbitrary") -> StoredVolume:
    """Tell where a NIfTI's one volume lies, and hand out a reader of its parts.

    Parameters
    ----------
    path, unit
        As for `read_nifti`.

    Returns
    -------
    StoredVolume
        Its parts hold what `read_nifti` gives of the same voxels; only the slices along K that are needed are read.

    Raises
    ------
    VolumeError
        As `read_nifti` does for its header; reading a part raises as it does for the voxels.
    """
    header = read_nifti_header(path)
    _check_single(header)
    with open_voxels(path, header):
        pass  # a file that is shorter than its header claims is refused here

    def read(part: Slices) -> NDArray[np.generic]:
        with open_voxels(path, header) as stream:
            return _checked(_read(stream, header, 0, part), allow_nan=False)

    return StoredVolume(header.shape, header.affine, read, unit, header.warnings)


def read_nifti_volumes(path: Path, *, unit: Unit = "arbitrary", allow_nan: bool = False) -> list[Volume]:
    """Read every volume of a NIfTI file: one, or one a time point.

    Parameters
    ----------
    path, unit, allow_nan
        As for `read_nifti`.

    Returns
    -------
    list of Volume
        In the file's order.

    Raises
    ------
    VolumeError
        See `read_nifti`.
    """
    header = read_nifti_header(path)
    slices = _whole(header)
    with open_voxels(path, header) as stream:
        voxels = [_read(stream, header, number, slices) for number in range(header.n_volumes)]
        notes = check_end(stream, header)
    return [_volume(part, header, slices, unit=unit, allow_nan=allow_nan, notes=notes) for part in voxels]


def nifti_geometry(path: Path) -> tuple[tuple[int, int, int], Array]:
    """Read where a NIfTI's one volume lies, not the voxels.

    Parameters
    ----------
    path : Path

    Returns
    -------
    shape : tuple of int
    affine : ndarray, shape (4, 4)
        Index to RAS+ mm.

    Raises
    ------
    VolumeError
        As `read_nifti` does for its header.
    """
    header = read_nifti_header(path)
    _check_single(header)
    with open_voxels(path, header):
        return header.shape, header.affine


def _check_single(header: NiftiHeader) -> None:
    if header.n_volumes > 1:
        found = f"found a 4D image of {header.n_volumes} volumes (time points), more than one"
        raise AmbiguousVolumeError(WHERE, found, expected="one, or a time_point that chooses it")


def _whole(header: NiftiHeader) -> Slices:
    i, j, k = header.shape
    return slice(0, i), slice(0, j), slice(0, k)


def _read(stream: Stream, header: NiftiHeader, number: int, slices: Slices) -> NDArray[np.generic]:
    """Read the slices along K that are needed, and cut them along I and J."""
    n_i, n_j, _ = header.shape
    plane = n_i * n_j * header.dtype.itemsize
    shape = tuple(s.stop - s.start for s in slices)
    voxels = np.empty(shape, dtype=header.voxel_dtype, order="F")
    stream.seek(header.offset + number * header.volume_bytes + slices[2].start * plane)
    for k in range(shape[2]):
        data = stream.read(plane)
        if len(data) < plane:
            raise EOFError
        stored = np.frombuffer(data, dtype=header.dtype).reshape((n_i, n_j), order="F")[slices[:2]]
        if header.scaling:
            slope, intercept = header.scaling
            stored = stored.astype(np.float64) * slope + intercept
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused with the rest
            voxels[:, :, k] = stored
    return voxels


def _volume(
    voxels: NDArray[np.generic],
    header: NiftiHeader,
    slices: Slices,
    *,
    unit: Unit,
    allow_nan: bool,
    notes: tuple[str, ...] = (),
) -> Volume:
    _checked(voxels, allow_nan=allow_nan)
    return Volume(voxels, moved(header.affine, slices), unit, header.warnings + notes + voxel_notes(voxels))


def _checked(voxels: NDArray[np.generic], *, allow_nan: bool) -> NDArray[np.generic]:
    if voxels.dtype.kind == "f" and not allow_nan and not np.all(np.isfinite(voxels)):
        raise PixelError(WHERE, "found NaN or infinite voxels", expected="finite numbers")
    return voxels
