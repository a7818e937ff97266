"""DICOM file -> the few header values that say what it is and where its slice lies. No pixels are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medfuse.errors import GeometryError, VolumeError
from medfuse.io.dicom_elements import (
    UNDEFINED_LENGTH,
    Found,
    NotWalkableError,
    TooDeepError,
    Wanted,
    tag_of,
    vr_of,
    walk_elements,
)
from medfuse.io.dicom_kinds import aside_reason, is_volume_class
from medfuse.io.dicom_start import FileStart, read_start
from medfuse.io.inflating import Inflated, open_with_head
from medfuse.io.pydicom_reading import READ_ERRORS, read_values
from medfuse.io.transfer_syntaxes import DEFLATED
from medfuse.types import Array

__all__ = [
    "HEADER_KEYWORDS",
    "UNDEFINED_LENGTH",
    "SliceHeader",
    "Tile",
    "file_place",
    "group_headers",
    "read_elements",
    "read_header",
]

HEADER_KEYWORDS = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID",
    "Modality", "Manufacturer", "ImageType", "ComplexImageComponent", "InstanceNumber",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices",
    "SliceLocation", "ConvolutionKernel", "KVP", "RepetitionTime", "FlipAngle",
    "EchoTime", "EchoNumbers", "InversionTime", "DiffusionBValue", "DiffusionGradientOrientation",
    "TemporalPositionIdentifier", "FrameReferenceTime", "NominalPercentageOfCardiacPhase", "TriggerTime",
    "AcquisitionNumber", "AcquisitionTime", "ContentTime", "BodyPartExamined",
    "Laterality", "ImageLaterality",
)  # fmt: skip
"""Top-level attributes that reading needs; none of them is private. All but the first six may be absent."""

WHERE = "DICOM file"
Tile = tuple[int, int, int, int]
"""Of a mosaic: first row, first column, rows, columns of one slice."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceHeader:
    """The header values of one slice. Real ids stay in it: it is never shown, logged or written.

    It may come from pydicom or from any reader of tags: it is a plain mapping. An image that holds several slices
    (enhanced multi-frame, mosaic) is one SliceHeader until `medfuse.io.dicom_frames.expand` turns it into one a
    slice, with the values of that slice.

    Parameters
    ----------
    path : Path
    transfer_syntax : str
        UID.
    values : mapping of str to str
        By DICOM keyword (see `HEADER_KEYWORDS`): numbers as text, several values joined by a backslash, padding
        removed, a sequence as "present"; absent and empty ones are left out, a broken one is "unreadable".
    pixel_offset : int
        Where the value of PixelData starts in the (inflated) file; 0 if there is none.
    pixel_length : int
        Its length in bytes; UNDEFINED_LENGTH if encapsulated.
    frame : int, optional
        Index of the slice's frame in a file of several; None if it has one, or until `expand` has looked.
    tile : (int, int, int, int), optional
        Where the slice lies in a mosaic.
    """

    path: Path = field(repr=False)
    transfer_syntax: str
    values: Mapping[str, str] = field(repr=False)
    pixel_offset: int = 0
    pixel_length: int = 0
    frame: int | None = None
    tile: Tile | None = None

    def text(self, keyword: str) -> str:
        """Return an attribute as text, empty if absent."""
        return self.values.get(keyword, "")

    def numbers(self, keyword: str, n: int, *, where: str) -> Array:
        """Return an attribute's n finite numbers.

        Raises
        ------
        GeometryError
            If it is absent or not n finite numbers.
        """
        text = self.text(keyword)
        if not text:
            raise GeometryError(where, f"found no {keyword}", expected=f"{n} numbers")
        try:
            numbers = np.array([float(part) for part in text.split("\\")], dtype=np.float64)
        except ValueError:
            numbers = np.empty(0)
        if len(numbers) != n or not np.all(np.isfinite(numbers)):
            raise GeometryError(where, f"found an invalid {keyword}", expected=f"{n} finite numbers")
        return numbers

    def size(self, *, where: str) -> tuple[int, int]:
        """Return the slice's rows and columns; of a mosaic, those of its tile.

        Raises
        ------
        GeometryError
            If they are no whole numbers above 0.
        """
        if self.tile is not None:
            return self.tile[2:]
        rows, columns = (float(self.numbers(keyword, 1, where=where)[0]) for keyword in ("Rows", "Columns"))
        if rows < 1 or columns < 1 or rows % 1 or columns % 1:
            raise GeometryError(where, "found invalid Rows or Columns", expected="whole numbers above 0")
        return int(rows), int(columns)

    def n_frames(self, *, where: str) -> int:
        """Return how many frames the file holds.

        Raises
        ------
        GeometryError
            If it is no whole number above 0.
        """
        text = self.text("NumberOfFrames") or "1"
        if not text.isdecimal() or int(text) < 1:
            raise GeometryError(where, "found an invalid NumberOfFrames", expected="a whole number above 0")
        return int(text)

    @property
    def aside_reason(self) -> str:
        """Why it is set aside beside the slices of volumes (a localizer, a projection image), else empty."""
        return aside_reason(self.values)

    @property
    def is_auxiliary(self) -> bool:
        """True for what is set aside: beside the slices of a volume, it is none itself."""
        return bool(self.aside_reason)


def read_header(path: Path, *, more: tuple[str, ...] = ()) -> SliceHeader | None:
    """Read the header of a DICOM image, with or without the preamble.

    Parameters
    ----------
    path : Path
    more : tuple of str
        Keywords to read beside HEADER_KEYWORDS.

    Returns
    -------
    SliceHeader or None
        None if the file is no DICOM file, or one of another kind than an image.

    Raises
    ------
    VolumeError
        If it is an image that cannot be read.
    """
    try:
        file, head = open_with_head(path)
        with file:
            start = read_start(head)
            if start is None:
                return None
            values, offset, length = _read_values(file, start, head, more)
            syntax = DEFLATED if isinstance(file, Inflated) else start.syntax
    except TooDeepError as error:
        raise VolumeError(WHERE, f"its header cannot be read ({error})", expected="an image's header") from error
    except READ_ERRORS as error:
        cause = "sequences nested too deep" if isinstance(error, RecursionError) else type(error).__name__
        raise VolumeError(WHERE, f"its header cannot be read ({cause})", expected="a whole, readable file") from error
    if kind := values.get("SOPClassUID") or start.sop_class:
        values["SOPClassUID"] = kind
    if "Rows" not in values:
        if kind and not is_volume_class(kind):
            return None
        raise VolumeError(WHERE, "found an image without Rows", expected="a header that is not cut or damaged")
    return SliceHeader(path, syntax, values, offset, length)


def _read_values(
    file: BinaryIO, start: FileStart, head: bytes, more: tuple[str, ...]
) -> tuple[dict[str, str], int, int]:
    """Return the values by keyword, and offset and length of PixelData."""
    names, wanted = _names_and_vrs(more)
    try:
        found, offset, length = walk_elements(
            file, start.offset, explicit=start.is_explicit, wanted=wanted, big=start.is_big, head=head
        )
        return {names[tag]: text for tag, text in found.items() if isinstance(text, str)}, offset, length
    except TooDeepError:
        raise
    except NotWalkableError:
        file.seek(0)
    return read_values(file, names.values())


@lru_cache(maxsize=8)
def _names_and_vrs(more: tuple[str, ...]) -> tuple[dict[int, str], dict[int, str]]:
    names = {tag_of(keyword): keyword for keyword in (*HEADER_KEYWORDS, *more)}
    return names, {tag: vr_of(tag) for tag in names}


def read_elements(path: Path, wanted: Wanted, *, where: str) -> Found:
    """Read some elements of a DICOM file, those within sequences too.

    Parameters
    ----------
    path : Path
    wanted : Wanted
        See `medfuse.io.dicom_elements.walk_elements`.
    where : str
        For error messages.

    Returns
    -------
    Found

    Raises
    ------
    VolumeError
        If they cannot be read with certainty.
    """
    try:
        file, head = open_with_head(path)
        with file:
            start = read_start(head)
            if start is None:
                raise NotWalkableError("no DICOM file")
            found, _, _ = walk_elements(
                file, start.offset, explicit=start.is_explicit, wanted=wanted, big=start.is_big, head=head
            )
            return found
    except (OSError, NotWalkableError) as error:
        found_text = f"found a header whose sequences cannot be read ({type(error).__name__})"
        raise VolumeError(where, found_text, expected="a whole, readable file") from error


def file_place(path: Path) -> str:
    """Say which file of its folder it is, for error messages: its name may be a patient's.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
    """
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
        return f"DICOM file {names.index(path.name) + 1} of {len(names)} by name"
    except (OSError, ValueError):  # a member of a zip or tar
        return WHERE


def group_headers(
    files: Iterable[Path], *, read: Callable[[Path], SliceHeader | None] = read_header
) -> dict[str, list[SliceHeader]]:
    """Group DICOM images by SeriesInstanceUID; other files are passed over.

    Parameters
    ----------
    files : iterable of Path
    read : callable
        Reads a header as `read_header` does, for example a `medfuse.io.tag_walker.HeaderReader`.

    Returns
    -------
    dict of str to list of SliceHeader
        Sorted by SeriesInstanceUID.

    Raises
    ------
    VolumeError
        If a DICOM file cannot be read or, unless it is the only one, names no series.
    """
    series: dict[str, list[SliceHeader]] = defaultdict(list)
    for file in files:
        try:
            header = read(file)
        except VolumeError as error:
            raise VolumeError(file_place(file), error.found, expected=error.expected) from error
        if header is None:
            continue
        series[header.text("SeriesInstanceUID")].append(header)
    nameless = series.get("", [])
    if nameless and sum(map(len, series.values())) > 1:
        raise VolumeError(file_place(nameless[0].path), "found no SeriesInstanceUID", expected="one in each image")
    return dict(sorted(series.items()))
