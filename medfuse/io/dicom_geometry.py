"""Where the slices of a series lie: order, spacing and affine from first principles, or a refusal by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medfuse.errors import AmbiguousVolumeError, GeometryError
from medfuse.io.dicom_headers import SliceHeader
from medfuse.types import Array

__all__ = ["LPS_TO_RAS", "series_affine"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's patient axes run to Left, Posterior, Superior (PS3.3 C.7.6.2.1.1); medfuse's to Right, Anterior, Superior."""

STEP_TOLERANCE_MM = 0.01
"""Slice steps may differ by this, or by STEP_TOLERANCE_SHARE of a step if that is more: positions are rounded."""

STEP_TOLERANCE_SHARE = 0.01

COSINE_TOLERANCE = 1e-3
"""How far the row and column directions may be from unit length and right angles, or from those of another slice."""

SPACING_TOLERANCE_SHARE = 1e-4
"""How far the PixelSpacing of two slices may differ."""

SHEAR_TOLERANCE_MM = 0.01
"""In-plane drift from slice to slice above which the volume is sheared (gantry tilt)."""

SHARED = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality", "Rows", "Columns")
"""What all slices of one volume share."""

DIMENSIONS = ("EchoTime", "EchoNumbers", "TemporalPositionIdentifier", "DiffusionBValue")
"""Where slices differ in one of these, the series holds several volumes (time points, echoes, b values)."""

WEAK_DIMENSIONS = ("TriggerTime", "AcquisitionNumber", "ImageType")
"""These may differ within one volume; they name the cause where two slices share one position."""


def series_affine(slices: Sequence[SliceHeader], *, where: str) -> tuple[list[SliceHeader], Array, tuple[str, ...]]:
    """Order a series' slices along their normal and find its affine.

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
    GeometryError
        If position, orientation or spacing is absent or wrong, or differs where it must not; if slices are
        missing, doubled or unevenly spaced.
    AmbiguousVolumeError
        If the series holds several volumes.

    Notes
    -----
    Source: DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1. InstanceNumber is never used.
    """
    row, column, spacing = _plane(slices, where)
    normal = np.cross(row, column)
    positions = np.array([item.numbers("ImagePositionPatient", 3, where=where) for item in slices])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    ordered, positions, along = [slices[i] for i in order], positions[order], along[order]
    if len(slices) == 1:
        step, notes = _single_step(slices[0], normal, where)
    else:
        _check_steps(ordered, along, where)
        step, notes = _line(positions, normal, where)
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns); the column index runs along the row direction.
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * spacing[1], column * spacing[0], step
    affine[:3, 3] = positions[0]
    return ordered, LPS_TO_RAS @ affine, notes


def _plane(slices: Sequence[SliceHeader], where: str) -> tuple[Array, Array, Array]:
    """Return the row and column directions and the PixelSpacing that all slices share."""
    for keyword in SHARED:
        if len({item.text(keyword) for item in slices}) > 1:
            raise GeometryError(where, f"found slices of different {keyword}", expected="one for the whole series")
    if differing := [keyword for keyword in DIMENSIONS if len({item.text(keyword) for item in slices}) > 1]:
        found = f"found several volumes in one series, by {', '.join(differing)}"
        raise AmbiguousVolumeError(where, found, expected="one volume")
    row, column = _directions(slices[0], where)
    spacing = slices[0].numbers("PixelSpacing", 2, where=where)
    if spacing.min() <= 0:
        raise GeometryError(where, "found a PixelSpacing that is not above 0", expected="mm between rows and columns")
    for item in slices[1:]:
        if not np.allclose(_directions(item, where), (row, column), rtol=0, atol=COSINE_TOLERANCE):
            raise GeometryError(where, "found slices of different ImageOrientationPatient", expected="one orientation")
        if not np.allclose(item.numbers("PixelSpacing", 2, where=where), spacing, rtol=SPACING_TOLERANCE_SHARE):
            raise GeometryError(where, "found slices of different PixelSpacing", expected="one spacing")
    return row, column, spacing


def _directions(item: SliceHeader, where: str) -> tuple[Array, Array]:
    values = item.numbers("ImageOrientationPatient", 6, where=where)
    row, column = values[:3], values[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > COSINE_TOLERANCE or abs(float(row @ column)) > COSINE_TOLERANCE:
        found = "found an ImageOrientationPatient that is no two unit vectors at right angles"
        raise GeometryError(where, found, expected="direction cosines")
    return row / lengths[0], column / lengths[1]


def _single_step(item: SliceHeader, normal: Array, where: str) -> tuple[Array, tuple[str, ...]]:
    thickness = float(item.numbers("SliceThickness", 1, where=where)[0])
    if thickness <= 0:
        raise GeometryError(where, "found one slice whose SliceThickness is not above 0", expected="mm")
    return normal * thickness, ("a single slice: its step is its SliceThickness",)


def _check_steps(ordered: Sequence[SliceHeader], along: Array, where: str) -> None:
    """Refuse doubled positions, missing slices and uneven steps."""
    steps = np.diff(along)
    if doubled := int((steps <= STEP_TOLERANCE_MM).sum()):
        differing = [k for k in WEAK_DIMENSIONS if len({item.text(k) for item in ordered}) > 1]
        cause = f" (they differ in {', '.join(differing)}: several phases or volumes?)" if differing else ""
        found = f"found {doubled} duplicate slice positions{cause}"
        raise GeometryError(where, found, expected="each position once")
    usual = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - usual)))
    if abs(steps[worst] - usual) > max(STEP_TOLERANCE_MM, STEP_TOLERANCE_SHARE * usual):
        kind = "missing slices (a gap)" if steps[worst] > 1.5 * usual else "unevenly spaced slices"
        found = (
            f"found {kind}: a step of {steps[worst]:.3f} mm between slices {worst + 1} and {worst + 2} "
            f"of {len(along)}, usually {usual:.3f} mm"
        )
        raise GeometryError(where, found, expected="even steps")


def _line(positions: Array, normal: Array, where: str) -> tuple[Array, tuple[str, ...]]:
    """Return the step from slice to slice, whose in-plane part is the shear of a tilted gantry."""
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    straight = positions[0] + np.outer(np.arange(len(positions)), step)
    tolerance = 2 * max(STEP_TOLERANCE_MM, STEP_TOLERANCE_SHARE * float(step @ normal))
    if np.abs(straight - positions).max() > tolerance:
        raise GeometryError(where, "found slices that are not on one line", expected="even steps along one line")
    drift = float(np.linalg.norm(step - normal * (step @ normal)))
    if drift > SHEAR_TOLERANCE_MM:
        return step, (f"slices shift by {drift:.3f} mm in their plane (gantry tilt); the affine is sheared",)
    return step, ()
