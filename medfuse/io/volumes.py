"""Any path -> the volumes in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from medfuse.errors import AmbiguousVolumeError, VolumeError
from medfuse.io.boxes import Box, box_slices, moved
from medfuse.io.containers import Problems, container_of
from medfuse.io.dicom import only_volume, open_stack, read_series, read_stack
from medfuse.io.dicom_headers import SliceHeader, group_headers
from medfuse.io.dicom_split import Stack, split_series
from medfuse.io.files import input_files
from medfuse.io.nifti import is_nifti, open_nifti, read_nifti, read_nifti_volumes
from medfuse.io.nifti_files import voxel_file
from medfuse.io.series_files import SeriesFiles
from medfuse.io.tag_walker import HeaderReader
from medfuse.types import StoredVolume, Unit, Volume

__all__ = [
    "Box",
    "ImageSource",
    "crop",
    "open_source",
    "read_source",
    "read_volume",
    "read_volumes",
    "source_files",
    "source_stack",
]

ImageSource = Path | Stack | SeriesFiles | tuple[SliceHeader, ...]
"""Where one volume lies: a NIfTI file or a folder, the slices of a volume, or the files or slices of a series."""

MAX_LISTED = 8


def read_volumes(path: Path | str, *, unit: Unit = "arbitrary") -> list[Volume]:
    """Read every volume in a path.

    Parameters
    ----------
    path : Path or str
        A NIfTI file, a DICOM file, or a folder, zip or tar of either (subfolders included), or a DICOMDIR.
    unit : {"HU", "arbitrary"}
        Unit of NIfTI voxels; DICOM says its own.

    Returns
    -------
    list of Volume
        Of each DICOM series, ordered by SeriesInstanceUID, one an orientation, echo, phase and time point; then those
        of each NIfTI file. Localizers, secondary captures, projection images and the like are set aside, with a
        warning, where there is another volume.

    Raises
    ------
    VolumeError
        If there is none, or one of them cannot be read truthfully.
    """
    volumes: list[Volume] = []
    for number, source in enumerate(_sources(Path(path)), start=1):
        if isinstance(source, Path):
            volumes += read_nifti_volumes(source, unit=unit)
        else:
            volumes.append(read_stack(source, where=f"volume {number}"))
    return volumes


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
        Opposite corners in RAS+ mm; the voxels that cover the box are returned, and only their slices are read.
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
    return read_source(_only_source(Path(path), series_uid=series_uid), unit=unit, box_mm=box_mm)


def read_source(source: ImageSource, *, unit: Unit = "arbitrary", box_mm: Box | None = None) -> Volume:
    """Read the one volume of a source.

    Parameters
    ----------
    source : Path, Stack, SeriesFiles or tuple of SliceHeader
    unit : {"HU", "arbitrary"}
        Unit of NIfTI voxels.
    box_mm : ((x, y, z), (x, y, z)), optional
        See `read_volume`.

    Returns
    -------
    Volume

    Raises
    ------
    VolumeError
        See `read_volume`.
    """
    if isinstance(source, SeriesFiles):
        source = source.stack()
    if isinstance(source, Stack):
        return read_stack(source, box_mm=box_mm)
    if isinstance(source, tuple):
        return read_series(source, box_mm=box_mm)
    if source.is_dir() or not is_nifti(source):
        return read_volume(source, unit=unit, box_mm=box_mm)
    return read_nifti(source, unit=unit, box_mm=box_mm)


def open_source(source: ImageSource, *, unit: Unit = "arbitrary") -> StoredVolume:
    """Read the headers of a source's one volume; its voxels are read part by part, when they are asked for.

    Parameters
    ----------
    source : Path, Stack, SeriesFiles or tuple of SliceHeader
    unit : {"HU", "arbitrary"}
        Unit of NIfTI voxels.

    Returns
    -------
    StoredVolume

    Raises
    ------
    VolumeError
        As `read_source` does; what is wrong with the voxels is raised where they are read.
    """
    found = source_stack(source)
    return open_stack(found) if isinstance(found, Stack) else open_nifti(found, unit=unit)


def source_stack(source: ImageSource) -> Stack | Path:
    """Return the slices of a source's one volume, by their headers, or its NIfTI file.

    Parameters
    ----------
    source : Path, Stack, SeriesFiles or tuple of SliceHeader

    Returns
    -------
    Stack or Path

    Raises
    ------
    VolumeError
        As `open_source` does.
    """
    if isinstance(source, SeriesFiles):
        return source.stack()
    if isinstance(source, tuple):
        return only_volume(split_series(source), "series")
    if isinstance(source, Stack):
        return source
    return _only_source(source) if source.is_dir() or not is_nifti(source) else source


def source_files(source: ImageSource) -> list[Path]:
    """Return the files that a source lies in, sorted; of a zip or tar the file itself.

    Parameters
    ----------
    source : Path, Stack, SeriesFiles or tuple of SliceHeader

    Returns
    -------
    list of Path

    Raises
    ------
    VolumeError
        If there is none.
    """
    if isinstance(source, SeriesFiles):
        paths = source.paths()
    elif isinstance(source, Path):
        paths = _files(source) if source.is_dir() else [source, *voxel_file(source)]
    else:
        paths = [item.path for item in (source.slices if isinstance(source, Stack) else source)]
    within = (container_of(path) for path in paths)
    return sorted({path if found is None else found[0] for path, found in zip(paths, within, strict=True)})


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
    >>> import numpy as np
    >>> whole = Volume(np.arange(1000).reshape(10, 10, 10), np.eye(4))
    >>> part = crop(whole, ((2.5, 0.0, 4.0), (3.5, 1.0, 8.0)))
    >>> part.voxels.shape, part.affine[:3, 3].tolist()
    ((3, 2, 5), [2.0, 0.0, 4.0])
    """
    part = box_slices(box_mm, affine=volume.affine, shape=volume.voxels.shape)
    return replace(volume, voxels=volume.voxels[part].copy(order="K"), affine=moved(volume.affine, part))


def _only_source(path: Path, *, series_uid: str | None = None) -> Stack | Path:
    sources = _sources(path, series_uid=series_uid)
    if len(sources) > 1:
        listed = "; ".join(_describe(source) for source in sources[:MAX_LISTED])
        found = f"found more than one volume: {len(sources)}, of one series or several: {listed}"
        raise AmbiguousVolumeError("image path", found, expected="exactly one, or a series_uid that chooses it")
    return sources[0]


def _sources(path: Path, *, series_uid: str | None = None) -> list[Stack | Path]:
    """Return the volumes of a path's DICOM series, and its NIfTI files."""
    images: list[Path] = []
    others: list[Path] = []
    for file in _files(path):
        (images if is_nifti(file) else others).append(file)
    series = group_headers(others, read=HeaderReader().read)
    if series_uid is not None:
        if series_uid not in series:
            raise VolumeError("series_uid", "found no such series", expected="a SeriesInstanceUID in the path")
        images, series = [], {series_uid: series[series_uid]}
    if not series and not images:
        raise VolumeError("image path", "found no image that can be read", expected="a NIfTI file or DICOM files")
    aside = [items for items in series.values() if all(item.is_auxiliary for item in items)]
    if len(aside) == len(series) and not images:
        aside = []  # nothing else is there: they are refused by name
    notes = _aside_notes(aside)
    stacks = [
        replace(stack, warnings=stack.warnings + notes)
        for number, items in enumerate((items for items in series.values() if items not in aside), start=1)
        for stack in split_series(items, where=f"series {number}")
    ]
    return [*stacks, *images]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise VolumeError("image path", "found no such file or folder", expected="a NIfTI file or DICOM files")
    problems: Problems = []
    files = list(input_files(path, problems=problems))
    if problems:
        raise VolumeError("image path", f"found {problems[0][1]}", expected="files that can all be read")
    return files


def _aside_notes(series: list[list[SliceHeader]]) -> tuple[str, ...]:
    reasons = Counter(items[0].aside_reason for items in series)
    return tuple(f"set aside: {count} series of {reason}" for reason, count in sorted(reasons.items()))


def _describe(source: Stack | Path) -> str:
    if isinstance(source, Path):
        return "a NIfTI file"
    first, label = source.slices[0], f" ({source.label})" if source.label else ""
    rows, columns = first.size(where="series")
    return (
        f"a {first.text('Modality')[:16] or 'DICOM'} volume of {len(source.slices)} images of {columns} x {rows}{label}"
    )
