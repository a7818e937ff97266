"""The stored pixels of DICOM slices: only the slices and rows asked for, each bit as the header says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import PixelError
from medfuse.io.containers import open_bytes
from medfuse.io.decoding import decode_frame
from medfuse.io.dicom_headers import UNDEFINED_LENGTH, SliceHeader
from medfuse.io.encapsulation import Fragments, find_frames
from medfuse.io.inflating import open_dicom
from medfuse.io.pydicom_reading import READ_ERRORS
from medfuse.io.transfer_syntaxes import DEFLATED, EXPLICIT_BIG, UNCOMPRESSED

__all__ = ["Layout", "PixelReader", "pixel_layout"]

SMALL_BYTES = 512 * 2**20
MAX_RATIO = 200
"""Above SMALL_BYTES, frames that are together this much larger than their code are no images."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a frame's pixels are stored.

    Parameters
    ----------
    rows, columns : int
        Of the whole frame, even if a slice is a tile of it.
    allocated, used : int
        Bits of a pixel, and how many of them count, the lowest.
    signed : bool
    """

    rows: int
    columns: int
    allocated: int
    used: int
    signed: bool

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        return self.rows * self.columns * self.allocated // 8


def pixel_layout(item: SliceHeader, *, where: str) -> Layout:
    """Read from its header how a slice's pixels are stored.

    Parameters
    ----------
    item : SliceHeader
    where : str
        For error messages.

    Returns
    -------
    Layout

    Raises
    ------
    PixelError
        If attributes are absent or wrong, or of a kind that cannot be read.
    """
    values = []
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        text = item.text(keyword) or ("0" if keyword == "PixelRepresentation" else "")
        if not text.isdecimal():
            raise PixelError(where, f"found an absent or invalid {keyword}", expected="a whole number")
        values.append(int(text))
    rows, columns, allocated, used, high, sign = values
    if not rows or not columns:
        raise PixelError(where, f"found {rows} Rows and {columns} Columns", expected="both above 0")
    if allocated not in (8, 16, 32) or not 1 <= used <= allocated or high != used - 1 or sign not in (0, 1):
        found = f"found BitsAllocated {allocated}, BitsStored {used}, HighBit {high}, PixelRepresentation {sign}"
        raise PixelError(where, found, expected="8, 16 or 32 bits, the stored ones lowest")
    return Layout(rows, columns, allocated, used, signed=bool(sign))


class PixelReader:
    """Reads slices one by one; the file that was read last is kept open, and a frame that holds many slices too."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._frames: list[Fragments] = []
        self._decoded: tuple[int, NDArray[np.integer]] | None = None
        self._n_code, self._n_decoded = 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def read(
        self, item: SliceHeader, layout: Layout, *, rows: slice, columns: slice, where: str
    ) -> NDArray[np.integer]:
        """Read a part of a slice.

        Parameters
        ----------
        item : SliceHeader
        layout : Layout
        rows, columns : slice
            With start and stop within the slice.
        where : str
            For error messages.

        Returns
        -------
        ndarray of int, shape (rows, columns)
            Stored values, bits above BitsStored included. Read-only.

        Raises
        ------
        PixelError
            If pixel data are absent, of the wrong size or cannot be decoded.

        Notes
        -----
        Source: DICOM PS3.5 8.1.1 and A.4, PS3.3 C.7.6.3.1.
        """
        if not item.pixel_offset:
            raise PixelError(where, "found no PixelData", expected="an image")
        if item.tile is not None:
            top, left, _, _ = item.tile
            rows = slice(rows.start + top, rows.stop + top)
            columns = slice(columns.start + left, columns.stop + left)
        try:
            file = self._open(item)
            if item.transfer_syntax in UNCOMPRESSED:
                return _native_rows(file, item, layout, rows, where)[:, columns]
            return self._decode(file, item, layout, where)[rows, columns]
        except READ_ERRORS as error:
            found = f"found pixel data that cannot be read ({type(error).__name__}): damaged or truncated"
            raise PixelError(where, found, expected="a whole image") from error

    def _open(self, item: SliceHeader) -> BinaryIO:
        if self._file is None or self._path != item.path:
            self._close()
            self._file = (open_dicom if item.transfer_syntax == DEFLATED else open_bytes)(item.path)
            self._path = item.path
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._path, self._file, self._frames, self._decoded = None, None, [], None

    def _decode(self, file: BinaryIO, item: SliceHeader, layout: Layout, where: str) -> NDArray[np.integer]:
        index = item.frame or 0
        if self._decoded is None or self._decoded[0] != index:
            if item.pixel_length != UNDEFINED_LENGTH:
                found = "found a compressed transfer syntax whose PixelData are not encapsulated"
                raise PixelError(where, found, expected="frames in items")
            if not self._frames:
                self._frames = find_frames(file, item.pixel_offset, n_frames=item.n_frames(where=where))
            code = b"".join(_exactly(file, place, length, where) for place, length in self._frames[index])
            self._count(len(code), layout.frame_bytes, where)
            options = {
                "rows": layout.rows,
                "columns": layout.columns,
                "bits_allocated": layout.allocated,
                "bits_stored": layout.used,
                "pixel_representation": int(layout.signed),
            }
            frame = decode_frame(code, syntax=item.transfer_syntax, options=options, where=where)
            self._decoded = (index, frame)
        return self._decoded[1]

    def _count(self, n_code: int, n_decoded: int, where: str) -> None:
        self._n_code, self._n_decoded = self._n_code + n_code, self._n_decoded + n_decoded
        if self._n_decoded > max(SMALL_BYTES, MAX_RATIO * self._n_code):
            found = f"found {self._n_code} compressed bytes that expand to over {self._n_decoded}: too large"
            raise PixelError(where, found, expected="images")


def _native_rows(file: BinaryIO, item: SliceHeader, layout: Layout, rows: slice, where: str) -> NDArray[np.integer]:
    """Read whole rows of an uncompressed frame, shape (rows, all columns)."""
    big = item.transfer_syntax == EXPLICIT_BIG
    if big and layout.allocated == 8:
        raise PixelError(where, "found big endian words of 8-bit pixels", expected="little endian")
    _check_length(file, item, layout, where)
    width = layout.columns * layout.allocated // 8
    start = item.pixel_offset + (item.frame or 0) * layout.frame_bytes + rows.start * width
    data = _exactly(file, start, (rows.stop - rows.start) * width, where)
    kind = f"{'>' if big else '<'}{'i' if layout.signed else 'u'}{layout.allocated // 8}"
    return np.frombuffer(data, dtype=kind).reshape(-1, layout.columns)


def _check_length(file: BinaryIO, item: SliceHeader, layout: Layout, where: str) -> None:
    if item.pixel_length == UNDEFINED_LENGTH:
        found = "found an uncompressed transfer syntax whose PixelData are encapsulated"
        raise PixelError(where, found, expected="pixels as they are")
    size = item.n_frames(where=where) * layout.frame_bytes
    if item.pixel_length in (size, size + size % 2):
        return
    excess = item.pixel_length - size
    if (
        excess > 0
        and excess < layout.frame_bytes
        and not _exactly(file, item.pixel_offset + size, excess, where).strip(b"\0")
    ):
        return
    found = (
        f"found {'truncated' if excess < 0 else 'too long'} PixelData of {item.pixel_length} bytes "
        f"for {layout.rows} Rows and {layout.columns} Columns"
    )
    raise PixelError(where, found, expected=f"{size} bytes")


def _exactly(file: BinaryIO, start: int, size: int, where: str) -> bytes:
    file.seek(start)
    data = file.read(size)
    if len(data) < size:
        found = f"found truncated PixelData: the file ends {size - len(data)} bytes too early"
        raise PixelError(where, found, expected="a whole file")
    return data
