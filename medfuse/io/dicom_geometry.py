"""Where the slices of one volume lie: order, spacing and affine from first principles, or a refusal by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medfuse.errors import GeometryError
from medfuse.io.dicom_headers import SliceHeader
from medfuse.types import Array

__all__ = [
    "COSINE_TOLERANCE",
    "LPS_TO_RAS",
    "SAME_PLACE_MM",
    "DuplicateSliceError",
    "along_normal",
    "directions",
    "volume_affine",
]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's patient axes run to Left, Posterior, Superior (PS3.3 C.7.6.2.1.1); medfuse's to Right, Anterior, Superior."""

SAME_PLACE_MM = 0.01
"""Slices nearer to each other than this lie at one position; no position need be more exact than it."""

STEP_TOLERANCE_SHARE = 0.01
"""How far a slice may lie from its place on even steps, as a share of a step."""

ROUNDED_TOLERANCE_SHARE = 0.1
"""The same where positions were written with so few decimals that this is their rounding."""

COSINE_TOLERANCE = 1e-3
"""How far the row and column directions may be from unit length and right angles."""

SHEAR_TOLERANCE_MM = 0.01
"""In-plane drift from slice to slice above which the volume is sheared (gantry tilt)."""


class DuplicateSliceError(GeometryError):
    """Several slices lie at one position."""


def volume_affine(slices: Sequence[SliceHeader], *, where: str) -> tuple[list[SliceHeader], Array, tuple[str, ...]]:
    """Order the slices of one volume along their normal and find its affine.

    Parameters
    ----------
    slices : sequence of SliceHeader
        Of one ImageOrientationPatient and PixelSpacing, in any order.
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
    DuplicateSliceError
        If several slices lie at one position.
    GeometryError
        If position, orientation or spacing is absent or wrong; if slices are missing or unevenly spaced.

    Notes
    -----
    Source: DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1. InstanceNumber is never used.
    """
    row, column = directions(slices[0], where)
    spacing = slices[0].numbers("PixelSpacing", 2, where=where)
    if spacing.min() <= 0:
        raise GeometryError(where, "found a PixelSpacing that is not above 0", expected="mm between rows and columns")
    positions, along = along_normal(slices, where=where)
    order = np.argsort(along, kind="stable")
    ordered, positions, along = [slices[i] for i in order], positions[order], along[order]
    normal = np.cross(row, column)
    if len(slices) == 1:
        step, notes = _single_step(slices[0], normal, where)
    else:
        step, notes = _even_step(ordered, positions, along, normal, where)
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns); the column index runs along the row direction.
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * spacing[1], column * spacing[0], step
    affine[:3, 3] = positions[0]
    return ordered, LPS_TO_RAS @ affine, notes


def directions(item: SliceHeader, where: str) -> tuple[Array, Array]:
    """Return the unit directions of a slice's rows and columns, LPS.

    Raises
    ------
    GeometryError
        If its ImageOrientationPatient is absent or no two unit vectors at right angles.
    """
    values = item.numbers("ImageOrientationPatient", 6, where=where)
    row, column = values[:3], values[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > COSINE_TOLERANCE or abs(float(row @ column)) > COSINE_TOLERANCE:
        found = "found an ImageOrientationPatient that is no two unit vectors at right angles"
        raise GeometryError(where, found, expected="direction cosines")
    return row / lengths[0], column / lengths[1]


def along_normal(slices: Sequence[SliceHeader], *, where: str) -> tuple[Array, Array]:
    """Return the slices' positions, shape (slices, 3), LPS mm, and how far each lies along the first one's normal.

    Raises
    ------
    GeometryError
        If a position or the first one's orientation is absent or wrong.
    """
    positions = _numbers([item.text("ImagePositionPatient") for item in slices])
    if positions is None:  # one by one, so that the fault is named
        positions = np.array([item.numbers("ImagePositionPatient", 3, where=where) for item in slices])
    return positions, positions @ np.cross(*directions(slices[0], where))


def _numbers(texts: Sequence[str]) -> Array | None:
    """Return three numbers a text, shape (texts, 3), if they are that; much faster than one by one."""
    try:
        numbers = np.array([[float(part) for part in text.split("\\")] for text in texts])
    except ValueError:
        return None
    return numbers if numbers.shape == (len(texts), 3) and np.isfinite(numbers).all() else None


def _single_step(item: SliceHeader, normal: Array, where: str) -> tuple[Array, tuple[str, ...]]:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        if item.text(keyword) and (step := float(item.numbers(keyword, 1, where=where)[0])) > 0:
            return normal * step, (f"a single slice: its step is its {keyword}",)
    return normal, ("a single slice without SliceThickness: its step of 1 mm stands for an unknown one",)


def _even_step(
    ordered: Sequence[SliceHeader], positions: Array, along: Array, normal: Array, where: str
) -> tuple[Array, tuple[str, ...]]:
    """Return the step from slice to slice, whose in-plane part is the shear of a tilted gantry."""
    steps = np.diff(along)
    if doubled := int((steps <= SAME_PLACE_MM).sum()):
        raise DuplicateSliceError(where, f"found {doubled} duplicate slice positions", expected="each position once")
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    between = float(step @ normal)
    off = np.abs(positions[0] + np.outer(np.arange(len(positions)), step) - positions).max(axis=1)
    tolerance = max(SAME_PLACE_MM, STEP_TOLERANCE_SHARE * between)
    notes = []
    if off.max() > tolerance:
        rounding = min(_rounding_mm(ordered), ROUNDED_TOLERANCE_SHARE * between)
        if off.max() > rounding:
            raise GeometryError(where, _unevenness(steps, tolerance), expected="even steps along one line")
        notes.append(f"positions are rounded: slices lie up to {off.max():.3f} mm beside their even steps")
    drift = float(np.linalg.norm(step - normal * between))
    if drift > SHEAR_TOLERANCE_MM:
        notes.append(f"slices shift by {drift:.3f} mm in their plane (gantry tilt); the affine is sheared")
    return step, tuple(notes)


def _unevenness(steps: Array, tolerance: float) -> str:
    usual = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - usual)))
    if abs(steps[worst] - usual) <= tolerance:
        return "found slices that are not on one line"
    kind = "missing slices (a gap)" if steps[worst] > 1.5 * usual else "unevenly spaced slices"
    return (
        f"found {kind}: a step of {steps[worst]:.3f} mm between slices {worst + 1} and {worst + 2} "
        f"of {len(steps) + 1}, usually {usual:.3f} mm"
    )


def _rounding_mm(slices: Sequence[SliceHeader]) -> float:
    """Return the unit of the last decimal that any position was written with, 0 if that tells nothing."""
    decimals = 0
    for item in slices:
        for number in item.text("ImagePositionPatient").split("\\"):
            if "e" in number.lower():
                return 0.0
            decimals = max(decimals, len(number.strip().partition(".")[2].rstrip("0")))
    return 10.0**-decimals if decimals else 0.0
