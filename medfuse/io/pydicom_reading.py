"""pydicom, kept quiet and within limits: for what is too rare or too odd to walk over by hand."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from pydicom.errors import BytesLengthException

from medfuse.io.dicom_elements import PIXEL_DATA

__all__ = ["READ_ERRORS", "as_text", "quiet_pydicom", "read_dataset", "read_values"]

READ_ERRORS = (
    OSError, ValueError, TypeError, AttributeError, KeyError, IndexError, EOFError, OverflowError, MemoryError,
    NotImplementedError, RecursionError, struct.error, BytesLengthException,
)  # fmt: skip
"""What pydicom raises on bytes that are no valid DICOM."""

MAX_READS = 300_000
"""Of elements and items of sequences of undefined length; each may cost pydicom 700 bytes and 15 microseconds."""


def read_dataset(file: BinaryIO, tags: Iterable[str | int] | None) -> Any:
    """Read some attributes of a DICOM file, up to its pixels; the file is left where their element starts.

    Parameters
    ----------
    file : BinaryIO
        As `medfuse.io.inflating.open_dicom` gives it.
    tags : iterable of str or int, optional
        Keywords or tags; by default all.

    Returns
    -------
    pydicom.Dataset

    Raises
    ------
    RecursionError
        If sequences are nested too deep, or hold more than any image needs.
    """
    import pydicom

    wanted: Any = None if tags is None else ["TransferSyntaxUID", "MediaStorageSOPClassUID", *tags]
    return pydicom.dcmread(_Counted(file), force=True, stop_before_pixels=True, specific_tags=wanted)


class _Counted:
    """A file that can be read so many times."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._n_left = file, MAX_READS
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        self._n_left -= 1
        if self._n_left < 0:
            raise RecursionError
        return self._file.read(size)


def read_values(file: BinaryIO, keywords: Iterable[str]) -> tuple[dict[str, str], int, int]:
    """Read attributes as `medfuse.io.dicom_headers.SliceHeader` holds them.

    Parameters
    ----------
    file : BinaryIO
        As `medfuse.io.inflating.open_dicom` gives it, at its start.
    keywords : iterable of str

    Returns
    -------
    values : dict of str to str
        By keyword; absent and empty ones are left out.
    pixel_offset, pixel_length : int
        Where the value of PixelData lies; zeros if there is none.
    """
    keywords = list(keywords)
    with quiet_pydicom():
        dataset = read_dataset(file, keywords)
        values = {keyword: text for keyword in keywords if (text := as_text(dataset, keyword))}
        return values, *_find_pixels(file, little=dataset.original_encoding[1])


def _find_pixels(file: BinaryIO, *, little: bool) -> tuple[int, int]:
    """Return offset and length of the value of PixelData, whose element the file stands at; zeros if there is none."""
    start, head = file.tell(), file.read(12)
    order = "<" if little else ">"
    if head[:4] != struct.pack(f"{order}HH", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF):
        return 0, 0
    # An explicit VR is followed by two reserved bytes, then the length; read as a length it would be odd.
    size = 12 if head[4:6] in (b"OB", b"OW", b"UN") else 8
    if len(head) < size:
        return 0, 0
    return start + size, int(struct.unpack(f"{order}I", head[size - 4 : size])[0])


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings and log back: they show values and paths; what matters is checked here."""
    import pydicom.config

    was_disabled = pydicom.config.logger.disabled
    pydicom.config.logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom.config.logger.disabled = was_disabled


def as_text(dataset: Any, keyword: str) -> str:
    """Return an attribute of a pydicom dataset as `medfuse.io.dicom_headers.SliceHeader.values` holds it."""
    try:
        value = dataset.get(keyword)
    except READ_ERRORS:
        return "unreadable"  # an attribute that is there but no valid value; it fails where it is needed
    if value is None:
        return ""
    if keyword.endswith("Sequence"):
        return "present"
    if isinstance(value, bytes):  # the VR of padding values depends on PixelRepresentation
        return str(int.from_bytes(value[:2], "little")) if value else ""
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    return "\\".join(str(part).strip(" \0") for part in (value if several else (value,)))
