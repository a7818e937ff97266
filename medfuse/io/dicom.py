"""The slices of a DICOM volume -> Volume, or the part of it in a box; what cannot be read truthfully is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import AmbiguousVolumeError, PixelError, VolumeError
from medfuse.io.boxes import Box, box_slices, moved
from medfuse.io.dicom_elements import Wanted
from medfuse.io.dicom_frames import PER_FRAME
from medfuse.io.dicom_headers import SliceHeader, file_place, read_elements
from medfuse.io.dicom_pixels import Layout, PixelReader, pixel_layout
from medfuse.io.dicom_split import Stack, split_series
from medfuse.io.dicom_values import LOSSY_NOTE, rescale_of, write_values
from medfuse.io.transfer_syntaxes import LOSSY
from medfuse.io.voxel_notes import voxel_notes
from medfuse.types import Array, Slices, StoredVolume, Unit, Volume

__all__ = ["check_series", "only_volume", "open_stack", "read_series", "read_stack"]

PHILIPS_SCALE = 0x2005100E
PHILIPS_FRAMES = 0x2005140F
"""Where Philips keeps its private scale: of a slice, and of the frames of an enhanced image."""

UNKNOWN_UNIT_NOTE = "a CT without a rescale to HU: its unit is unknown"


def check_series(slices: Sequence[SliceHeader], *, where: str) -> tuple[list[SliceHeader], Array, tuple[str, ...]]:
    """Check by its headers that a series is one readable volume, and order it.

    Parameters
    ----------
    slices : sequence of SliceHeader
        Of one series, in any order.
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
    AmbiguousVolumeError
        If it holds several volumes.
    VolumeError
        See `medfuse.io.dicom_split.split_series`.
    """
    stack = only_volume(split_series(slices, where=where), where)
    return list(stack.slices), stack.affine, stack.warnings


def read_series(slices: Sequence[SliceHeader], *, where: str = "series", box_mm: Box | None = None) -> Volume:
    """Read a series that is one volume.

    Parameters
    ----------
    slices : sequence of SliceHeader
        Of one series, in any order.
    where : str
        For error messages; no patient value.
    box_mm : ((x, y, z), (x, y, z)), optional
        See `read_stack`.

    Returns
    -------
    Volume

    Raises
    ------
    VolumeError
        See `check_series` and `read_stack`.
    """
    return read_stack(only_volume(split_series(slices, where=where), where), where=where, box_mm=box_mm)


def only_volume(stacks: Sequence[Stack], where: str) -> Stack:
    """Return the one volume of a series.

    Raises
    ------
    AmbiguousVolumeError
        If there are several, naming what tells them apart.
    """
    if len(stacks) > 1:
        listed = "; ".join(stack.label for stack in stacks[:8]) + ("; ..." if len(stacks) > 8 else "")
        found = f"found {len(stacks)} volumes in one series (phases, time points, echoes or others): {listed}"
        raise AmbiguousVolumeError(where, found, expected="one volume")
    return stacks[0]


def read_stack(stack: Stack, *, where: str = "series", box_mm: Box | None = None) -> Volume:
    """Read the pixels of a volume.

    Parameters
    ----------
    stack : Stack
    where : str
        For error messages; no patient value.
    box_mm : ((x, y, z), (x, y, z)), optional
        Opposite corners in RAS+ mm. Only the slices that the box touches are read and decoded, and of uncompressed
        ones only the rows.

    Returns
    -------
    Volume
        Rescaled values (slope and intercept of each slice); int16 where all are whole and fit, else float32.
        Its unit is HU if the Modality is CT and the rescale says nothing else.

    Raises
    ------
    PixelError
        If pixel data are absent, of the wrong size or cannot be decoded.
    """
    first = stack.slices[0]
    n_rows, n_columns = first.size(where=where)
    part = (slice(0, n_columns), slice(0, n_rows), slice(0, len(stack.slices)))
    if box_mm is not None:
        part = box_slices(box_mm, affine=stack.affine, shape=tuple(s.stop for s in part))
    columns, rows, chosen = part
    try:
        voxels, is_hu, notes = _read_planes(stack.slices[chosen], rows, columns, where)
    except MemoryError as error:
        raise PixelError(where, "found a volume that does not fit the memory", expected="a smaller one") from error
    warnings = stack.warnings + tuple(sorted(notes)) + _philips_note(first)
    if not is_hu and first.text("Modality") == "CT":
        warnings += (UNKNOWN_UNIT_NOTE,)
    warnings += voxel_notes(voxels)
    unit: Unit = "HU" if is_hu else "arbitrary"
    return Volume(voxels, moved(stack.affine, part), unit, warnings, where, *_told(first))


def open_stack(stack: Stack, *, where: str = "series") -> StoredVolume:
    """Tell where a volume lies by its headers, and hand out a reader of its parts.

    Parameters
    ----------
    stack : Stack
    where : str
        For error messages; no patient value.

    Returns
    -------
    StoredVolume
        Its parts hold what `read_stack` gives of the same voxels: of uncompressed slices only the rows asked for are
        read, of others only the slices.

    Raises
    ------
    PixelError
        If a header says that the values cannot be read; reading a part raises as `read_stack` does.
    """
    first = stack.slices[0]
    n_rows, n_columns = first.size(where=where)
    names = [f"{where} slice {k + 1} of {len(stack.slices)}" for k in range(len(stack.slices))]
    rescales = [rescale_of(i, pixel_layout(i, where=w), where=w) for i, w in zip(stack.slices, names, strict=True)]
    is_hu = all(rescale.is_hu for rescale in rescales)

    def read(part: Slices) -> NDArray[np.generic]:
        columns, rows, chosen = part
        return _read_planes(stack.slices[chosen], rows, columns, where)[0]

    unit: Unit = "HU" if is_hu else "arbitrary"
    shape = (n_columns, n_rows, len(stack.slices))
    warnings = stack.warnings + ((LOSSY_NOTE,) if any(i.transfer_syntax in LOSSY for i in stack.slices) else ())
    if not is_hu and first.text("Modality") == "CT":
        warnings += (UNKNOWN_UNIT_NOTE,)
    return StoredVolume(shape, stack.affine, read, unit, warnings, where, *_told(first))


def _told(item: SliceHeader) -> tuple[str, str, str]:
    """Return modality, body part and side, as `medfuse.types.Volume` keeps them."""
    side = item.text("ImageLaterality") or item.text("Laterality")
    return item.text("Modality"), item.text("BodyPartExamined"), side


def _read_planes(
    slices: Sequence[SliceHeader], rows: slice, columns: slice, where: str
) -> tuple[NDArray[np.generic], bool, set[str]]:
    """Return the voxels (column, row, slice), whether all are HU, and what is worth saying of them."""
    names = [f"{where} slice {k + 1} of {len(slices)}" for k in range(len(slices))]
    layouts = [pixel_layout(item, where=name) for item, name in zip(slices, names, strict=True)]
    rescales = [rescale_of(i, layout, where=name) for i, layout, name in zip(slices, layouts, names, strict=True)]
    shape = (columns.stop - columns.start, rows.stop - rows.start, len(slices))
    dtype = np.int16 if all(rescale.keeps_whole for rescale in rescales) else np.float32
    voxels: NDArray[np.generic] | None = None
    notes = {LOSSY_NOTE} if any(item.transfer_syntax in LOSSY for item in slices) else set[str]()
    with PixelReader() as reader:
        for k, item in enumerate(slices):
            stored = _stored(reader, item, layouts[k], (rows, columns), names[k])
            if voxels is None:  # only now is the claimed size proven; Fortran order keeps each slice in one piece
                voxels = np.empty(shape, dtype=dtype, order="F")
            said = write_values(stored, rescales[k], layouts[k], voxels[:, :, k].T)
            if said is None:
                voxels = voxels.astype(np.float32, order="F")
                said = write_values(stored, rescales[k], layouts[k], voxels[:, :, k].T) or set()
            notes |= said
    if voxels is None:
        raise VolumeError(where, "found no slice", expected="at least one")
    if voxels.dtype == np.float32 and not np.isfinite(voxels).all():
        raise PixelError(where, "found a rescale that leads out of all numbers", expected="finite values")
    return voxels, all(rescale.is_hu for rescale in rescales), notes


def _stored(
    reader: PixelReader, item: SliceHeader, layout: Layout, part: tuple[slice, slice], where: str
) -> NDArray[np.integer]:
    try:
        return reader.read(item, layout, rows=part[0], columns=part[1], where=where)
    except PixelError as error:
        raise PixelError(f"{error.where} ({file_place(item.path)})", error.found, expected=error.expected) from error


def _philips_note(item: SliceHeader) -> tuple[str, ...]:
    """Say that a private scale is there and not applied: values follow RescaleSlope alone, as the standard has it."""
    if item.text("Modality") != "MR" or not item.text("Manufacturer").upper().startswith("PHILIPS"):
        return ()
    wanted: Wanted = {PHILIPS_SCALE: "SQ", PER_FRAME: {PHILIPS_FRAMES: "SQ"}}  # whether they are there is all
    try:
        found = read_elements(item.path, wanted, where="Philips' private scale")
    except VolumeError:  # what counts was read already
        return ()
    frames = found.get(PER_FRAME)
    is_there = PHILIPS_SCALE in found or (isinstance(frames, list) and any(frames))
    return ("Philips' private scale is left alone: values are those of RescaleSlope",) if is_there else ()
