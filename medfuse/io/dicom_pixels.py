"""One uncompressed DICOM image -> its values, each bit as the header says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import PixelError
from medfuse.io.dicom_headers import EXPLICIT_BIG, READ_ERRORS, SliceHeader, quiet_pydicom, read_dataset

__all__ = ["Plane", "read_plane"]

PIXEL_KEYWORDS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
    "PixelPaddingValue", "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One slice.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        After rescale; int16 where they are whole and fit, else float32.
    is_hu : bool
        Whether the rescale of a CT leads to HU.
    notes : tuple of str
        What is worth saying of them.
    """

    values: NDArray[np.generic]
    is_hu: bool
    notes: tuple[str, ...]


def read_plane(item: SliceHeader, *, where: str) -> Plane:
    """Read one slice.

    Parameters
    ----------
    item : SliceHeader
        Of an image that is uncompressed and grey.
    where : str
        For error messages.

    Returns
    -------
    Plane

    Raises
    ------
    PixelError
        If pixel data are absent, of the wrong size, or cannot be turned into values without guessing.

    Notes
    -----
    Source: DICOM PS3.5 8.1.1 and PS3.3 C.7.6.3.1 (pixel cells), C.11.1 (Modality LUT).
    """
    try:
        with quiet_pydicom():
            dataset = read_dataset(item.path, PIXEL_KEYWORDS)
            return _plane(dataset, item.transfer_syntax == EXPLICIT_BIG, where)
    except READ_ERRORS as error:
        found = f"its pixel data cannot be read ({type(error).__name__})"
        raise PixelError(where, found, expected="a whole image") from error


def _plane(dataset: Any, big_endian: bool, where: str) -> Plane:
    if dataset.get("ModalityLUTSequence"):
        raise PixelError(where, "found a Modality LUT Sequence", expected="RescaleSlope and RescaleIntercept")
    slope, intercept = (
        float(default if (value := dataset.get(keyword)) is None else value)
        for keyword, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise PixelError(where, "found an invalid RescaleSlope or RescaleIntercept", expected="a slope that is not 0")
    stored = _stored_values(dataset, big_endian, where)
    notes = []
    padding = _padding_value(dataset)
    if padding is not None and np.any(stored == padding):
        notes.append("some voxels hold the PixelPaddingValue: they show nothing measured")
    values = _without_stray_bits(dataset, stored)
    if values is not stored:
        notes.append("bits above BitsStored are ignored")
    is_hu = "RescaleIntercept" in dataset and str(dataset.get("RescaleType") or "HU") == "HU"
    return Plane(_rescaled(values, slope, intercept), is_hu, tuple(notes))


def _rescaled(stored: NDArray[np.generic], slope: float, intercept: float) -> NDArray[np.generic]:
    if slope == 1 and intercept == int(intercept):
        values = stored.astype(np.int64) + int(intercept)
        if values.min() >= -32768 and values.max() <= 32767:
            return values.astype(np.int16)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def _stored_values(dataset: Any, big_endian: bool, where: str) -> NDArray[np.generic]:
    """Return the stored pixel values, shape (rows, columns), each bit as the header says it."""
    rows, columns, allocated, used = (
        int(dataset[keyword].value) for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored")
    )
    if allocated not in (8, 16, 32) or not 1 <= used <= allocated or int(dataset.HighBit) != used - 1:
        found = f"found BitsAllocated {allocated}, BitsStored {used}, HighBit {dataset.HighBit}"
        raise PixelError(where, found, expected="8, 16 or 32 bits, the stored ones lowest")
    if big_endian and allocated == 8:
        raise PixelError(where, "found big endian words of 8-bit pixels", expected="little endian")
    if "PixelData" not in dataset:
        raise PixelError(where, "found no PixelData", expected="an image")
    data, size = dataset.PixelData, rows * columns * allocated // 8
    if len(data) not in (size, size + size % 2):
        kind = "truncated" if len(data) < size else "too long"
        found = f"found {kind} PixelData of {len(data)} bytes for {rows} Rows and {columns} Columns"
        raise PixelError(where, found, expected=f"{size} bytes")
    signed = int(dataset.PixelRepresentation) == 1
    kind = f"{'>' if big_endian else '<'}{'i' if signed else 'u'}{allocated // 8}"
    return np.frombuffer(data, dtype=kind, count=rows * columns).reshape(rows, columns)


def _without_stray_bits(dataset: Any, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    """Clear what lies above BitsStored, where overlays once were, and extend the sign; the same array if nothing."""
    used, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    low, high = (-(2 ** (used - 1)), 2 ** (used - 1) - 1) if signed else (0, 2**used - 1)
    if low <= int(stored.min()) and int(stored.max()) <= high:
        return stored
    kept = stored.astype(np.int64) & (2**used - 1)
    values: NDArray[np.generic] = np.where(kept > high, kept - 2**used, kept)
    return values


def _padding_value(dataset: Any) -> int | None:
    value = dataset.get("PixelPaddingValue")
    signed = int(dataset.PixelRepresentation) == 1
    if isinstance(value, bytes):  # its VR depends on PixelRepresentation, and pydicom leaves it open at times
        return int.from_bytes(value[:2], "little", signed=signed) if value else None
    if value is None or value == "":
        return None
    return (int(value) + 32768) % 65536 - 32768 if signed else int(value) % 65536
