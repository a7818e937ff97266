"""NIfTI <-> Volume."""

from __future__ import annotations

import gzip
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from medfuse.errors import GeometryError, PixelError, VolumeError
from medfuse.types import Array, Unit, Volume

__all__ = ["FORM_TOLERANCE_MM", "is_nifti", "nifti_geometry", "read_nifti", "write_nifti"]

FORM_TOLERANCE_MM = 1e-3
"""Corners placed further apart than this by sform and qform are worth a warning."""

MAX_GZIP_RATIO = 1032
"""Deflate cannot expand more than this, so that a header that claims more is wrong. Source: RFC 1951."""

REFUSED_LEVEL = 30
"""Header faults from this level of nibabel's on are refused: invalid pixdim, form codes, sizes."""

MAX_VOXEL_BYTES = 8 * 2**30
SUFFIXES = (".nii", ".nii.gz")
WHERE = "NIfTI file"


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI.

    Examples
    --------
    >>> is_nifti(Path("a.nii.gz")), is_nifti(Path("a.dcm"))
    (True, False)
    """
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path, *, unit: Unit = "arbitrary") -> Volume:
    """Read a 3D NIfTI file.

    Parameters
    ----------
    path : Path
        .nii or .nii.gz.
    unit : {"HU", "arbitrary"}
        NIfTI does not say it.

    Returns
    -------
    Volume
        Voxels after scl_slope and scl_inter: whole numbers keep their type where no scaling applies, all
        others are float32.

    Raises
    ------
    VolumeError
        If the file is no whole 3D NIfTI.
    PixelError
        If its voxels are no finite real numbers.
    GeometryError
        If its affine is singular or not finite.

    Notes
    -----
    Source: NIfTI-1 standard, method 3 (sform) before method 2 (qform).
    """
    image, affine, notes = _open(path)
    try:
        with _strict_nibabel():
            voxels = np.asarray(image.dataobj)
    except (EOFError, OSError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        found = f"found truncated or broken voxels ({type(error).__name__})"
        raise VolumeError(WHERE, found, expected="a whole file") from error
    if np.issubdtype(voxels.dtype, np.floating):
        with np.errstate(over="ignore"):
            voxels = voxels.astype(np.float32, copy=False)
        if not np.all(np.isfinite(voxels)):
            raise PixelError(WHERE, "found NaN or infinite voxels", expected="finite numbers")
    return Volume(voxels, affine, unit, notes)


def nifti_geometry(path: Path) -> tuple[tuple[int, int, int], Array]:
    """Read where a NIfTI's voxels lie, not the voxels.

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
    image, affine, _ = _open(path)
    i, j, k = image.shape
    return (int(i), int(j), int(k)), affine


def _open(path: Path) -> tuple[Any, Array, tuple[str, ...]]:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        if path.stat().st_size == 0:
            raise VolumeError(WHERE, "found an empty file", expected="a whole NIfTI file")
        with _strict_nibabel():
            image: Any = nibabel.load(path)
        shape = tuple(int(n) for n in image.shape)
        if len(shape) > 3 and set(shape[3:]) == {1}:
            image, shape = image.slicer[(..., *[0] * (len(shape) - 3))], shape[:3]
        dtype = image.get_data_dtype()
        _check_voxels(shape, dtype, path)
        return image, *_affine(image)
    except (ImageFileError, HeaderDataError, EOFError, OSError, ValueError, OverflowError, zlib.error) as error:
        found = f"its header cannot be read: dim, pixdim or a form is invalid, or no NIfTI ({type(error).__name__})"
        raise VolumeError(WHERE, found, expected="a whole NIfTI file") from error


@contextmanager
def _strict_nibabel() -> Iterator[None]:
    """Let nibabel refuse what it would mend and log: a mended geometry (a pixdim of 0 becomes 1) is a guess."""
    from nibabel import imageglobals

    levels: Any = imageglobals
    was_disabled = levels.logger.disabled
    levels.logger.disabled = True
    try:
        with levels.ErrorLevel(REFUSED_LEVEL), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        levels.logger.disabled = was_disabled


def _check_voxels(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise VolumeError(WHERE, f"found {len(shape)} dimensions of size {shape}", expected="three non-empty axes")
    if np.issubdtype(dtype, np.complexfloating) or dtype.names:
        raise PixelError(WHERE, f"found voxels of data type {dtype}", expected="real numbers, not complex or colour")
    claimed = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
    ratio = MAX_GZIP_RATIO if path.name.lower().endswith(".gz") else 1
    if claimed > min(path.stat().st_size * ratio, MAX_VOXEL_BYTES):
        found = f"found a file of {path.stat().st_size} bytes, truncated or too large: its header claims {claimed}"
        raise VolumeError(WHERE, found, expected="a whole file with at most 8 GiB of voxels")


def _affine(image: Any) -> tuple[Array, tuple[str, ...]]:
    sform, s_code = image.get_sform(coded=True)
    try:
        qform, q_code = image.get_qform(coded=True)
    except ValueError as error:  # a quaternion that is none
        qform, q_code = None, 0
        if not s_code:
            raise GeometryError(WHERE, "found an invalid qform and no sform", expected="one valid form") from error
    affine = np.asarray(sform if s_code else qform if q_code else image.affine, dtype=np.float64)
    if not np.all(np.isfinite(affine)) or abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        found = "found a singular affine (zero pixdim, or equal axes) or one that is not finite"
        raise GeometryError(WHERE, found, expected="an invertible sform or qform")
    if not s_code and not q_code:
        return affine, ("neither sform nor qform: position and orientation are unknown, spacing is from pixdim",)
    if s_code and q_code and qform is not None:
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
        corners[:, :3] *= np.array(image.shape[:3]) - 1
        apart = float(np.abs((affine - qform) @ corners.T)[:3].max())
        if not apart <= FORM_TOLERANCE_MM:
            return affine, (f"sform and qform disagree by up to {apart:.3g} mm; the sform is used",)
    return affine, ()


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a volume, whole or not at all. Equal volumes give equal files.

    Parameters
    ----------
    volume : Volume
        A sheared affine is written as sform alone, since a qform cannot hold it. Masks become uint8.
    path : Path
        .nii or .nii.gz.
    """
    import nibabel

    voxels = volume.voxels.astype(np.uint8) if volume.voxels.dtype == bool else volume.voxels
    image: Any = nibabel.Nifti1Image(voxels, volume.affine, dtype=voxels.dtype)  # type: ignore[no-untyped-call]
    image.set_sform(volume.affine, code="scanner")
    axes = volume.affine[:3, :3] / np.array(volume.spacing_mm)
    if np.allclose(axes.T @ axes, np.eye(3), atol=1e-5):
        image.set_qform(volume.affine, code="scanner")
    else:
        image.set_qform(None, code="unknown")
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    data = image.to_bytes()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    # mtime=0 makes equal volumes equal files.
    partial.write_bytes(gzip.compress(data, compresslevel=4, mtime=0) if path.name.endswith(".gz") else data)
    partial.replace(path)
