"""Opening a DICOM file, a deflated one as if it were not: inflated within limits, so that no bomb goes off."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from medfuse.errors import DataError, VolumeError
from medfuse.io.containers import open_bytes
from medfuse.io.dicom_start import START_BYTES, read_start
from medfuse.io.transfer_syntaxes import DEFLATED, EXPLICIT_LITTLE

__all__ = ["Inflated", "open_dicom", "open_with_head"]

MAX_BYTES = 512 * 2**20
"""Of a deflated file, and of what it inflates to."""

SMALL_BYTES = 64 * 2**20
MAX_RATIO = 20
"""Images shrink to a half or a third; above SMALL_BYTES an expansion beyond this is no image."""

NAMED, RENAMED = DEFLATED.encode(), EXPLICIT_LITTLE.encode().ljust(len(DEFLATED), b"\0")
WHERE = "DICOM file"


class Inflated(BytesIO):
    """A deflated DICOM file after inflation."""


def open_dicom(path: Path) -> BinaryIO:
    """Open a DICOM file at its start; what a deflated one holds is inflated and marked as explicit little endian.

    Parameters
    ----------
    path : Path

    Returns
    -------
    BinaryIO
        An `Inflated` one if the file is deflated.

    Raises
    ------
    VolumeError
        If it would inflate to more than an image can, or cannot be inflated.

    Notes
    -----
    Source: DICOM PS3.5 A.5: all after the file meta information is one raw deflate stream (RFC 1951).
    """
    file, _ = open_with_head(path)
    file.seek(0)
    return file


def open_with_head(path: Path) -> tuple[BinaryIO, bytes]:
    """Open a DICOM file as `open_dicom` does, and read its first START_BYTES.

    Returns
    -------
    file : BinaryIO
        At any place.
    head : bytes
    """
    try:
        file = open_bytes(path)
    except DataError as error:  # the zip or tar that it lies in
        raise VolumeError(error.where, error.found, expected=error.expected) from error
    try:
        head = file.read(START_BYTES)
        # Most files are not deflated, and few of those name the syntax by chance.
        start = read_start(head) if NAMED in head else None
        if start is None or start.syntax != DEFLATED:
            return file, head
        file.seek(start.offset)
        data = file.read(MAX_BYTES + 1)
        file.close()
        whole = head[: start.offset].replace(NAMED, RENAMED) + _inflated(data)
    except BaseException:
        file.close()
        raise
    return Inflated(whole), whole[:START_BYTES]


def _inflated(data: bytes) -> bytes:
    limit = min(MAX_BYTES, max(SMALL_BYTES, MAX_RATIO * len(data)))
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        whole = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise VolumeError(WHERE, "found deflated data that are damaged", expected="a whole file") from error
    if len(whole) > limit or len(data) > MAX_BYTES:
        found = f"found {len(data)} deflated bytes that inflate to more than {limit}: too large (an expansion bomb?)"
        raise VolumeError(WHERE, found, expected="an image")
    if not stream.eof:
        raise VolumeError(WHERE, "found deflated data that are truncated", expected="a whole file")
    return whole
