"""Any path -> the volumes in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medfuse.errors import AmbiguousVolumeError, DataError, VolumeError
from medfuse.io.dicom import read_series
from medfuse.io.dicom_headers import SliceHeader, group_headers
from medfuse.io.files import walk_files
from medfuse.io.nifti import is_nifti, read_nifti
from medfuse.types import Unit, Volume

__all__ = ["Box", "ImageSource", "crop", "read_source", "read_volume", "read_volumes"]

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Two opposite corners in RAS+ mm."""

ImageSource = Path | tuple[SliceHeader, ...]
"""Where one volume lies: a NIfTI file or a folder, or the slices of a series whose headers were read already."""


def read_volumes(path: Path | str, *, unit: Unit = "arbitrary") -> list[Volume]:
    """Read every volume in a path.

    Parameters
    ----------
    path : Path or str
        A NIfTI file, a DICOM file, or a folder of either (its subfolders included).
    unit : {"HU", "arbitrary"}
        Unit of NIfTI voxels; DICOM says its own.

    Returns
    -------
    list of Volume
        One a DICOM series, ordered by SeriesInstanceUID, then one a NIfTI file. Series of localizers or
        secondary captures are set aside where there is another volume.

    Raises
    ------
    VolumeError
        If there is none, or one of them cannot be read truthfully.
    """
    sources = _sources(Path(path))
    return [_read(source, unit, number) for number, source in enumerate(sources, start=1)]


def read_volume(
    path: Path | str, *, series_uid: str | None = None, box_mm: Box | None = None, unit: Unit = "arbitrary"
) -> Volume:
    """Read exactly one volume.

    Parameters
    ----------
    path : Path or str
        As for `read_volumes`.
    series_uid : str, optional
        SeriesInstanceUID to choose among several.
    box_mm : ((x, y, z), (x, y, z)), optional
        Opposite corners in RAS+ mm; the voxels that cover the box are returned.
    unit : {"HU", "arbitrary"}
        Unit of NIfTI voxels.

    Returns
    -------
    Volume

    Raises
    ------
    AmbiguousVolumeError
        If there is more than one, listing what is there.
    VolumeError
        If there is none, or it cannot be read truthfully.
    """
    sources = _sources(Path(path), series_uid=series_uid)
    if len(sources) > 1:
        listed = "; ".join(_describe(source) for source in sources)
        found = f"found more than one volume or series: {listed}"
        raise AmbiguousVolumeError("image path", found, expected="exactly one, or a series_uid that chooses it")
    volume = _read(sources[0], unit, 1)
    return volume if box_mm is None else crop(volume, box_mm)


def read_source(source: ImageSource, *, unit: Unit = "arbitrary") -> Volume:
    """Read the one volume of a source.

    Parameters
    ----------
    source : Path or tuple of SliceHeader
    unit : {"HU", "arbitrary"}
        Unit of NIfTI voxels.

    Returns
    -------
    Volume

    Raises
    ------
    VolumeError
        See `read_volume`.
    """
    return read_volume(source, unit=unit) if isinstance(source, Path) else read_series(source)


def crop(volume: Volume, box_mm: Box) -> Volume:
    """Cut out the voxels that cover a box: their centres enclose it, as interpolation in it needs.

    Parameters
    ----------
    volume : Volume
    box_mm : ((x, y, z), (x, y, z))
        Opposite corners in RAS+ mm.

    Returns
    -------
    Volume
        With its own affine; parts of the box outside the volume are left out.

    Raises
    ------
    VolumeError
        If the box lies outside the volume.

    Examples
    --------
    >>> whole = Volume(np.arange(1000).reshape(10, 10, 10), np.eye(4))
    >>> part = crop(whole, ((2.5, 0.0, 4.0), (3.5, 1.0, 8.0)))
    >>> part.voxels.shape, part.affine[:3, 3].tolist()
    ((3, 2, 5), [2.0, 0.0, 4.0])
    """
    low, high = np.minimum(*box_mm), np.maximum(*box_mm)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1)
    # Rounding keeps a corner that lies on a voxel centre from taking one voxel more.
    index = (np.linalg.inv(volume.affine) @ np.vstack([corners, np.ones(8)]))[:3].round(6)
    start = np.clip(np.floor(index.min(axis=1)).astype(int), 0, None)
    stop = np.minimum(np.ceil(index.max(axis=1)).astype(int) + 1, volume.voxels.shape)
    if np.any(stop <= start):
        raise VolumeError("box_mm", "found a box outside the volume", expected="RAS+ mm that overlap it")
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ [*start, 1.0])[:3]
    voxels = volume.voxels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].copy(order="K")
    return Volume(voxels, affine, volume.unit, volume.warnings, volume.source)


def _sources(path: Path, *, series_uid: str | None = None) -> list[ImageSource]:
    if path.is_dir():
        problems: list[tuple[Path, DataError]] = []
        files = list(walk_files(path, problems=problems))
        if problems:
            raise VolumeError("image path", f"found {problems[0][1]}", expected="a folder that can be read whole")
    elif path.is_file():
        files = [path]
    else:
        raise VolumeError("image path", "found no such file or folder", expected="a NIfTI file or DICOM files")
    series = group_headers(file for file in files if not is_nifti(file))
    if series_uid is not None:
        if series_uid not in series:
            raise VolumeError("series_uid", "found no such series", expected="a SeriesInstanceUID in the path")
        return [tuple(series[series_uid])]
    sources: list[ImageSource] = [tuple(slices) for slices in series.values()]
    sources += [file for file in files if is_nifti(file)]
    if not sources:
        kinds = sorted({file.suffix.lower() for file in files} & {".hdr", ".img"})
        found = f"found no image that can be read{' (.hdr and .img pairs are not)' if kinds else ''}"
        raise VolumeError("image path", found, expected="a NIfTI file or DICOM files")
    return [source for source in sources if not _is_auxiliary(source)] or sources


def _is_auxiliary(source: ImageSource) -> bool:
    return isinstance(source, tuple) and all(item.is_auxiliary for item in source)


def _read(source: ImageSource, unit: Unit, number: int) -> Volume:
    if isinstance(source, Path):
        return read_nifti(source, unit=unit)
    return read_series(source, where=f"series {number}")


def _describe(source: ImageSource) -> str:
    if isinstance(source, Path):
        return "a NIfTI file"
    first = source[0]
    size = f"{first.text('Columns')} x {first.text('Rows')}"
    return f"a {first.text('Modality') or 'DICOM'} series of {len(source)} images of {size}"
