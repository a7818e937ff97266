"""DICOM file -> the few header values that say what it is and where its slice lies. No pixels are read."""

from __future__ import annotations

import struct
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.config
from pydicom.errors import BytesLengthException

from medfuse.errors import GeometryError, VolumeError
from medfuse.types import Array

__all__ = [
    "READ_ERRORS",
    "UNCOMPRESSED",
    "SliceHeader",
    "group_headers",
    "quiet_pydicom",
    "read_dataset",
    "read_header",
]

READ_ERRORS = (
    OSError, ValueError, TypeError, AttributeError, KeyError, IndexError, EOFError, OverflowError, MemoryError,
    NotImplementedError, RecursionError, struct.error, BytesLengthException,
)  # fmt: skip
"""What pydicom raises on bytes that are no valid DICOM."""

IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNCOMPRESSED = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG})
"""Transfer syntaxes that are read. Source: DICOM PS3.5 section 10."""

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SLICE_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "2.1", "4", "4.1", "128", "130"))
"""CT, MR and PET images, plain and enhanced: one without Rows is damaged, not of another kind."""

SNIFFED_BYTES = 1024
KEYWORDS = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "FrameOfReferenceUID", "Modality",
    "ImageType", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness",
    "EchoTime", "EchoNumbers", "TemporalPositionIdentifier", "DiffusionBValue", "TriggerTime", "AcquisitionNumber",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class SliceHeader:
    """The header values of one image. Real ids stay in it: it is never shown, logged or written.

    Parameters
    ----------
    path : Path
    transfer_syntax : str
        UID.
    values : mapping of str to str
        By DICOM keyword; several values are joined by a backslash; absent ones are left out.
    """

    path: Path = field(repr=False)
    transfer_syntax: str
    values: Mapping[str, str] = field(repr=False)

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

    @property
    def is_auxiliary(self) -> bool:
        """True for a localizer or a secondary capture: beside the slices of a volume, it is none itself."""
        localizer = "LOCALIZER" in self.text("ImageType").upper().split("\\")
        return localizer or self.text("SOPClassUID").startswith(SECONDARY_CAPTURE)


def read_header(path: Path) -> SliceHeader | None:
    """Read the header of a DICOM image, with or without the preamble.

    Parameters
    ----------
    path : Path

    Returns
    -------
    SliceHeader or None
        None if the file is no DICOM file, or one of another kind than an image.

    Raises
    ------
    VolumeError
        If it is an image that cannot be read, or is deflated: inflating could fill the memory.
    """
    try:
        with path.open("rb") as file:
            head = file.read(SNIFFED_BYTES)
        if not _looks_like_dicom(head):
            return None
        if DEFLATED.encode() in head:
            raise VolumeError("DICOM file", "found the deflated transfer syntax", expected="an uncompressed one")
        with quiet_pydicom():
            dataset = read_dataset(path, KEYWORDS, stop_before_pixels=True)
            meta = dataset.file_meta
            syntax = str(meta.get("TransferSyntaxUID", "")) or _guessed_syntax(dataset)
            kind = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID", ""))
            values = {keyword: _as_text(dataset, keyword) for keyword in KEYWORDS}
    except READ_ERRORS as error:
        found = f"its header cannot be read ({type(error).__name__})"
        raise VolumeError("DICOM file", found, expected="a whole, readable file") from error
    if not values["Rows"]:
        if kind and kind not in SLICE_CLASSES:
            return None
        raise VolumeError("DICOM file", "found an image without Rows", expected="a header that is not cut or damaged")
    return SliceHeader(path, syntax, {keyword: text for keyword, text in values.items() if text})


def read_dataset(path: Path, keywords: Iterable[str], *, stop_before_pixels: bool = False) -> Any:
    """Read some attributes of a DICOM file.

    Returns
    -------
    pydicom.Dataset
    """
    tags = ["TransferSyntaxUID", "MediaStorageSOPClassUID", *keywords]
    return pydicom.dcmread(path, force=True, stop_before_pixels=stop_before_pixels, specific_tags=tags)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings and log back: they show values and paths; what matters is checked here."""
    was_disabled = pydicom.config.logger.disabled
    pydicom.config.logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom.config.logger.disabled = was_disabled


def group_headers(files: Iterable[Path]) -> dict[str, list[SliceHeader]]:
    """Group DICOM images by SeriesInstanceUID; other files are passed over.

    Parameters
    ----------
    files : iterable of Path

    Returns
    -------
    dict of str to list of SliceHeader
        Sorted by SeriesInstanceUID.

    Raises
    ------
    VolumeError
        If a DICOM file cannot be read or names no series.
    """
    series: dict[str, list[SliceHeader]] = defaultdict(list)
    for file in files:
        header = read_header(file)
        if header is None:
            continue
        if not header.text("SeriesInstanceUID"):
            raise VolumeError("DICOM file", "found no SeriesInstanceUID", expected="one in each image")
        series[header.text("SeriesInstanceUID")].append(header)
    return dict(sorted(series.items()))


def _looks_like_dicom(head: bytes) -> bool:
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16:
        return False
    # Without a preamble a file starts with an element of group 0002 or 0008, in explicit or implicit VR.
    group, element, length = struct.unpack("<HHI", head[:8])
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return group in (2, 8) and element <= 0x20 and (explicit or length <= 64)


def _guessed_syntax(dataset: Any) -> str:
    implicit, little = dataset.original_encoding
    if implicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if little else EXPLICIT_BIG


def _as_text(dataset: Any, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
    except READ_ERRORS:
        return "unreadable"  # an attribute that is there but no valid value; it fails where it is needed
    if value is None:
        return ""
    several = not isinstance(value, (str, bytes)) and hasattr(value, "__iter__")
    return "\\".join(str(part) for part in value) if several else str(value)
