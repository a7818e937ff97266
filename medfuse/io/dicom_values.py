"""Stored pixels -> values: rescale, unit, and what is worth saying of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import PixelError
from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.dicom_pixels import Layout

__all__ = ["Rescale", "rescale_of", "write_values"]

INT16 = np.iinfo(np.int16)
PADDING_NOTE = "some voxels hold the PixelPaddingValue: they show nothing measured and are not in the volume's unit"
STRAY_BITS_NOTE = "bits above BitsStored are ignored"
LOSSY_NOTE = "the pixels were compressed with loss"
"""For the reader: the transfer syntax says it, not the pixels."""


@dataclass(frozen=True, slots=True)
class Rescale:
    """How a slice's stored values become real ones.

    Parameters
    ----------
    slope, intercept : float
    is_hu : bool
        Whether a CT's rescale leads to HU.
    padding : (int, int), optional
        Lowest and highest stored value that stand for nothing measured.
    """

    slope: float
    intercept: float
    is_hu: bool
    padding: tuple[int, int] | None = None

    @property
    def keeps_whole(self) -> bool:
        """Whether whole numbers stay whole."""
        return self.slope == 1 and self.intercept == int(self.intercept)


def rescale_of(item: SliceHeader, layout: Layout, *, where: str) -> Rescale:
    """Read a slice's rescale from its header.

    Parameters
    ----------
    item : SliceHeader
    layout : Layout
    where : str
        For error messages.

    Returns
    -------
    Rescale

    Raises
    ------
    PixelError
        If the slope is 0, or values would need a Modality LUT.

    Notes
    -----
    Source: DICOM PS3.3 C.11.1 (Modality LUT), C.8.2.1.1 (RescaleType of CT), C.7.5.1.1.2 (padding).
    """
    if item.text("ModalityLUTSequence"):
        raise PixelError(where, "found a Modality LUT Sequence", expected="RescaleSlope and RescaleIntercept")
    try:
        slope, intercept = float(item.text("RescaleSlope") or 1), float(item.text("RescaleIntercept") or 0)
    except ValueError:
        slope, intercept = 0.0, 0.0
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise PixelError(where, "found an invalid RescaleSlope or RescaleIntercept", expected="a slope that is not 0")
    is_ct = item.text("Modality") == "CT" and bool(item.text("RescaleIntercept"))
    is_hu = is_ct and (item.text("RescaleType") or "HU").strip() == "HU"
    return Rescale(slope, intercept, is_hu, _padding(item, layout))


def write_values(
    stored: NDArray[np.integer], rescale: Rescale, layout: Layout, out: NDArray[np.generic]
) -> set[str] | None:
    """Write a slice's values.

    Parameters
    ----------
    stored : ndarray of int, shape (rows, columns)
    rescale : Rescale
    layout : Layout
    out : ndarray of int16 or float32, shape (rows, columns)

    Returns
    -------
    set of str or None
        What is worth saying of them; None, with nothing written, if int16 cannot hold them.
    """
    notes = set[str]()
    lowest, highest = int(stored.min()), int(stored.max())
    if rescale.padding is not None and _any_within(stored, lowest, highest, rescale.padding):
        notes.add(PADDING_NOTE)
    if not _fits(lowest, highest, layout):
        stored = _without_stray_bits(stored, layout)
        lowest, highest = int(stored.min()), int(stored.max())
        notes.add(STRAY_BITS_NOTE)
    if out.dtype == np.int16:
        shift = int(rescale.intercept)
        if lowest + shift < INT16.min or highest + shift > INT16.max:
            return None
        # Modulo 2^16, so that neither the stored value nor the shift need fit; their sum does.
        np.add(stored.astype(np.int16, copy=False), np.int16((shift + 2**15) % 2**16 - 2**15), out=out)
    else:
        with np.errstate(over="ignore"):  # the volume as a whole is checked
            out[...] = np.multiply(stored, rescale.slope, dtype=np.float64) + rescale.intercept
    return notes


def _fits(lowest: int, highest: int, layout: Layout) -> bool:
    half = 1 << (layout.used - 1)
    return -half <= lowest and highest < half if layout.signed else highest < 2 * half


def _without_stray_bits(stored: NDArray[np.integer], layout: Layout) -> NDArray[np.integer]:
    """Clear what lies above BitsStored, where overlays once were, and extend the sign."""
    kept = stored.astype(np.int64) & (2**layout.used - 1)
    values: NDArray[np.integer] = kept
    if layout.signed:
        values = np.where(kept >= 2 ** (layout.used - 1), kept - 2**layout.used, kept)
    return values


def _any_within(stored: NDArray[np.integer], lowest: int, highest: int, padding: tuple[int, int]) -> bool:
    if padding[1] < lowest or padding[0] > highest:
        return False
    return bool(np.any((stored >= padding[0]) & (stored <= padding[1])))


def _padding(item: SliceHeader, layout: Layout) -> tuple[int, int] | None:
    values = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        try:
            value = int(float(item.text(keyword)))
        except (ValueError, OverflowError):
            continue
        # Its VR depends on PixelRepresentation, and is written wrongly at times.
        value %= 2**layout.allocated
        values.append(value - 2**layout.allocated if layout.signed and value >= 2 ** (layout.allocated - 1) else value)
    return (min(values), max(values)) if item.text("PixelPaddingValue") and values else None
