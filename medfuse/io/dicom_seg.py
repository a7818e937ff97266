"""DICOM SEG -> the lesions that it marks, one a segment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import LesionPositionError
from medfuse.io.decoding import decode_frame
from medfuse.io.dicom_geometry import LPS_TO_RAS
from medfuse.io.marked_lesions import MarkedLesion, greatest_diameter, numbers_of, read_object
from medfuse.io.pydicom_reading import READ_ERRORS
from medfuse.io.transfer_syntaxes import COMPRESSED, EXPLICIT_BIG, UNCOMPRESSED
from medfuse.types import Array, Volume

__all__ = ["SEG_CLASSES", "read_seg_lesions"]

SEG_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""Segmentation and Label Map Segmentation Storage."""

NO_LESION_CATEGORIES = frozenset(
    {"123037004", "T-D000A", "260787004", "A-00004", "91720002", "T-D0080", "246464006", "309825002"}
)
"""Anatomical structure, physical object, body substance, function, spatial concept: SCT and SRT codes of CID 7150."""

PRESENT = 0.5
"""Share of MaximumFractionalValue from which on a voxel of a fractional segment counts."""

EVEN_MM = 0.01
WHERE = "DICOM SEG"

Plane = tuple[Array, Array, Array, Array, NDArray[np.bool_]]
"""Position, row direction, column direction (LPS), PixelSpacing, mask (rows, columns)."""


def read_seg_lesions(path: Path) -> list[MarkedLesion]:
    """Read the lesions of a segmentation.

    Parameters
    ----------
    path : Path
        A SEG: BINARY, FRACTIONAL (present from a half on) or LABELMAP.

    Returns
    -------
    list of MarkedLesion
        One a segment with at least one voxel, by segment number. Segments whose category is an anatomical
        structure, a physical object or a body substance are no lesions and are left out.

    Raises
    ------
    LesionPositionError, PixelError
        If it cannot be read truthfully.

    Notes
    -----
    Source: DICOM PS3.3 A.51, C.8.20.2 (Segmentation Image), C.7.6.16 (functional groups).
    """
    dataset = read_object(path, SEG_CLASSES, where=WHERE)
    try:
        wanted = {int(item.SegmentNumber) for item in dataset.SegmentSequence if not _is_no_lesion(item)}
        planes: dict[int, list[Plane]] = defaultdict(list)
        for number, plane in _planes(dataset, wanted):
            planes[number].append(plane)
        lesions = [_lesion(dataset, number, planes[number]) for number in sorted(planes)]
    except READ_ERRORS as error:
        found = f"found a malformed segmentation ({type(error).__name__})"
        raise LesionPositionError(WHERE, found, expected="segments with frames and their positions") from error
    return lesions


def _is_no_lesion(segment: Any) -> bool:
    category = segment.get("SegmentedPropertyCategoryCodeSequence")
    return bool(category) and str(category[0].get("CodeValue", "")) in NO_LESION_CATEGORIES


def _planes(dataset: Any, wanted: set[int]) -> Iterator[tuple[int, Plane]]:
    """Yield (segment number, plane) of each frame in which a wanted segment is present."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
    frames = dataset.PerFrameFunctionalGroupsSequence
    for frame, stored in zip(frames, _frames(dataset, len(frames)), strict=True):
        groups = (frame, shared[0])
        if str(dataset.SegmentationType) == "LABELMAP":
            numbers = sorted(wanted & set(np.unique(stored).tolist()))
            masks = [stored == number for number in numbers]
        else:
            numbers = [int(_group(groups, "SegmentIdentificationSequence").ReferencedSegmentNumber)]
            masks = [stored >= PRESENT]
        for number, mask in zip(numbers, masks, strict=True):
            if number in wanted and mask.any():
                yield number, (*_place(groups), mask)


def _frames(dataset: Any, n_frames: int) -> Iterator[NDArray[Any]]:
    """Yield each frame: shares for BINARY (0 or 1) and FRACTIONAL, segment numbers for LABELMAP."""
    kind, bits = str(dataset.SegmentationType), int(dataset.BitsAllocated)
    if (kind, bits) not in (("BINARY", 1), ("FRACTIONAL", 8), ("LABELMAP", 8), ("LABELMAP", 16)):
        found = f"found SegmentationType {kind[:16]!r} with BitsAllocated {bits}"
        raise LesionPositionError(WHERE, found, expected="BINARY, FRACTIONAL or LABELMAP")
    syntax, shape = str(dataset.file_meta.TransferSyntaxUID), (int(dataset.Rows), int(dataset.Columns))
    if syntax in UNCOMPRESSED:
        stored = _plain_frames(dataset, n_frames, shape, big_endian=syntax == EXPLICIT_BIG)
    elif syntax in COMPRESSED and bits > 1:
        stored = _decoded_frames(dataset, n_frames, shape, syntax)
    else:
        found = f"found transfer syntax {syntax[:64]} with BitsAllocated {bits}"
        raise LesionPositionError(WHERE, found, expected="one that there is a codec for")
    share = float(dataset.MaximumFractionalValue) if kind == "FRACTIONAL" else None
    for values in stored:
        yield (values if share is None else values / share).reshape(shape)


def _plain_frames(dataset: Any, n_frames: int, shape: tuple[int, int], *, big_endian: bool) -> Iterator[NDArray[Any]]:
    size, bits, data = shape[0] * shape[1], int(dataset.BitsAllocated), dataset.PixelData
    if size == 0 or len(data) < -(-size * n_frames * bits // 8):
        raise LesionPositionError(WHERE, "found truncated PixelData", expected=f"{n_frames} frames")
    for index in range(n_frames):
        if bits == 1:  # frames follow each other without padding: one may start within a byte
            first, last = index * size // 8, -(-(index + 1) * size // 8)
            packed = np.frombuffer(data, np.uint8, count=last - first, offset=first)
            yield np.unpackbits(packed, bitorder="little")[index * size - first * 8 :][:size]
        else:
            kind = f"{'>' if big_endian else '<'}u{bits // 8}"
            yield np.frombuffer(data, kind, count=size, offset=index * size * bits // 8)


def _decoded_frames(dataset: Any, n_frames: int, shape: tuple[int, int], syntax: str) -> Iterator[NDArray[Any]]:
    from pydicom.encaps import generate_frames

    bits = int(dataset.BitsAllocated)
    options = {"rows": shape[0], "columns": shape[1], "bits_allocated": bits, "bits_stored": bits}
    for code in generate_frames(dataset.PixelData, number_of_frames=n_frames):
        yield decode_frame(code, syntax=syntax, options={**options, "pixel_representation": 0}, where=WHERE)


def _group(groups: tuple[Any, Any], keyword: str) -> Any:
    for item in groups:
        if sequence := item.get(keyword):
            return sequence[0]
    raise LesionPositionError(WHERE, f"found no {keyword}", expected="one a frame, or one for all")


def _place(groups: tuple[Any, Any]) -> tuple[Array, Array, Array, Array]:
    position = numbers_of(_group(groups, "PlanePositionSequence"), "ImagePositionPatient", 3, where=WHERE)
    directions = numbers_of(_group(groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6, where=WHERE)
    spacing = numbers_of(_group(groups, "PixelMeasuresSequence"), "PixelSpacing", 2, where=WHERE)
    row, column = directions[:3], directions[3:]
    if abs(row @ column) > 1e-3 or np.abs([row @ row - 1, column @ column - 1]).max() > 2e-3 or spacing.min() <= 0:
        found = "found an ImageOrientationPatient or PixelSpacing that is invalid"
        raise LesionPositionError(WHERE, found, expected="unit vectors at right angles, spacing above 0")
    return position, row, column, spacing


def _lesion(dataset: Any, number: int, planes: list[Plane]) -> MarkedLesion:
    total, n_voxels, diameter = np.zeros(3), 0, 0.0
    for position, row, column, spacing, mask in planes:
        indices = np.argwhere(mask).astype(np.float64)  # (row, column)
        places = indices * spacing
        total += (position + np.outer(places[:, 1], row) + np.outer(places[:, 0], column)).sum(axis=0)
        n_voxels += len(indices)
        edges = np.concatenate(
            [places + spacing * corner for corner in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5))]
        )
        diameter = max(diameter, greatest_diameter(edges))
    x, y, z = (LPS_TO_RAS[:3, :3] @ (total / n_voxels)).tolist()
    series = dataset.get("ReferencedSeriesSequence") or []
    return MarkedLesion(
        str(number),
        (x, y, z),
        diameter,
        study_uid=str(dataset.get("StudyInstanceUID", "")),
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID", "")),
        series_uids=tuple(str(item.SeriesInstanceUID) for item in series if "SeriesInstanceUID" in item),
        mask=_mask(dataset, planes),
    )


def _mask(dataset: Any, planes: list[Plane]) -> Volume | None:
    """Stack the planes of one segment, empty ones between them included; None if their steps are uneven."""
    position, row, column, spacing, mask = planes[0]
    normal = np.cross(row, column)
    positions = np.array([plane[0] for plane in planes])
    along = (positions - position) @ normal
    step = _step(dataset, along)
    if step is None or any(np.abs(np.subtract(plane[1:3], (row, column))).max() > 1e-3 for plane in planes):
        return None
    index = np.round((along - along.min()) / step).astype(int)
    first, last = int(np.argmin(along)), int(np.argmax(along))
    shift = normal * step if first == last else (positions[last] - positions[first]) / index.max()
    straight = positions[first] + np.outer(index, shift)
    if np.abs(straight - positions).max() > max(EVEN_MM, EVEN_MM * step):
        return None
    voxels = np.zeros((mask.shape[1], mask.shape[0], index.max() + 1), dtype=np.bool_)
    for k, plane in zip(index, planes, strict=True):
        voxels[:, :, k] |= plane[4].T
    used = [np.flatnonzero(voxels.any(axis=other)) for other in ((1, 2), (0, 2))]
    low, high = [int(u[0]) for u in used], [int(u[-1]) + 1 for u in used]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * spacing[1], column * spacing[0], shift
    affine[:3, 3] = positions[first] + affine[:3, 0] * low[0] + affine[:3, 1] * low[1]
    return Volume(voxels[low[0] : high[0], low[1] : high[1]].copy(), LPS_TO_RAS @ affine)


def _step(dataset: Any, along: Array) -> float | None:
    """Return the distance of neighbouring planes in mm: the least one, or of a single plane the stated one."""
    steps = np.diff(np.unique(along.round(4)))
    if len(steps):
        return float(steps.min())
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
    measures = (shared[0].get("PixelMeasuresSequence") or [{}])[0]
    value = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0
    return float(value) if float(value) > 0 else None
