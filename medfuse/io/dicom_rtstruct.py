"""DICOM RTSTRUCT -> the lesions that it marks, one a region of interest (ROI)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medfuse.errors import LesionPositionError
from medfuse.io.dicom_geometry import LPS_TO_RAS
from medfuse.io.marked_lesions import MarkedLesion, greatest_diameter, read_object
from medfuse.io.pydicom_reading import READ_ERRORS
from medfuse.types import Array

__all__ = ["RTSTRUCT_CLASSES", "read_rtstruct_lesions"]

RTSTRUCT_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.481.3"})
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
GROSS_TUMOUR = "GTV"
NO_LESION_TYPES = frozenset(
    {
        "EXTERNAL", "PTV", "CTV", "TREATED_VOLUME", "IRRAD_VOLUME", "BOLUS", "AVOIDANCE", "ORGAN", "MARKER",
        "REGISTRATION", "ISOCENTER", "CONTRAST_AGENT", "CAVITY", "BRACHY_CHANNEL", "BRACHY_ACCESSORY",
        "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD", "SUPPORT", "FIXATION", "DOSE_REGION", "CONTROL", "DOSE_MEASUREMENT",
    }
)  # fmt: skip
"""RT ROI Interpreted Types that are no lesion. Source: DICOM PS3.3 C.8.8.8."""

PLANE_MM = 0.01
WHERE = "DICOM RTSTRUCT"


@dataclass(frozen=True, slots=True, eq=False)
class _Polygon:
    """A closed contour: its vertices on the axes of its plane, area, centroid (LPS), and offset along the normal."""

    vertices: Array
    area: float
    centroid: Array
    offset: float


def read_rtstruct_lesions(path: Path) -> list[MarkedLesion]:
    """Read the lesions of a structure set.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of MarkedLesion
        One an ROI with a contour, by ROI number: those of interpreted type GTV where there are any, else
        those whose type is blank or unknown. Their centre is the centroid of the contours' areas, a contour
        within another being a hole; of points it is their mean.

    Raises
    ------
    LesionPositionError
        If it cannot be read truthfully.

    Notes
    -----
    Source: DICOM PS3.3 A.19, C.8.8.5 (Structure Set), C.8.8.6 (ROI Contour), C.8.8.8 (RT ROI Observations).
    """
    dataset = read_object(path, RTSTRUCT_CLASSES, where=WHERE)
    try:
        frames = {
            int(item.ROINumber): str(item.get("ReferencedFrameOfReferenceUID", ""))
            for item in dataset.StructureSetROISequence
        }
        series = _referenced_series(dataset)
        wanted = _lesion_numbers(dataset, set(frames))
        lesions = [
            _lesion(dataset, item, frames[number], series)
            for item in sorted(dataset.ROIContourSequence, key=lambda roi: int(roi.ReferencedROINumber))
            if (number := int(item.ReferencedROINumber)) in wanted and item.get("ContourSequence")
        ]
    except READ_ERRORS as error:
        found = f"found a malformed structure set ({type(error).__name__})"
        raise LesionPositionError(WHERE, found, expected="ROIs with contours") from error
    return lesions


def _lesion_numbers(dataset: Any, numbers: set[int]) -> set[int]:
    types = dict.fromkeys(numbers, "")
    for item in dataset.get("RTROIObservationsSequence") or []:
        types[int(item.ReferencedROINumber)] = str(item.get("RTROIInterpretedType") or "").upper()
    tumours = {number for number, kind in types.items() if kind == GROSS_TUMOUR}
    return (tumours or {number for number, kind in types.items() if kind not in NO_LESION_TYPES}) & numbers


def _referenced_series(dataset: Any) -> dict[str, tuple[str, ...]]:
    """Return the SeriesInstanceUIDs by FrameOfReferenceUID."""
    return {
        str(frame.get("FrameOfReferenceUID", "")): tuple(
            str(series.SeriesInstanceUID)
            for study in frame.get("RTReferencedStudySequence") or []
            for series in study.get("RTReferencedSeriesSequence") or []
        )
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []
    }


def _lesion(dataset: Any, roi: Any, frame_uid: str, series: dict[str, tuple[str, ...]]) -> MarkedLesion:
    contours = [(str(c.get("ContourGeometricType", "")).upper(), _points(c)) for c in roi.ContourSequence]
    polygons = _polygons([points for kind, points in contours if kind in CLOSED and len(points) > 2])
    diameter: float | None = None
    if total := sum(p.area for p in polygons):
        signs = [(-1) ** _depth(polygon, polygons) for polygon in polygons]
        weights = np.array([sign * polygon.area for sign, polygon in zip(signs, polygons, strict=True)])
        if weights.sum() <= 1e-6 * total:
            raise LesionPositionError(WHERE, "found contours that enclose no area", expected="a lesion with an area")
        centre = weights @ np.array([polygon.centroid for polygon in polygons]) / weights.sum()
        diameter = max(greatest_diameter(polygon.vertices) for polygon in polygons)
    else:
        centre = np.concatenate([points for _, points in contours]).mean(axis=0)
    x, y, z = (LPS_TO_RAS[:3, :3] @ centre).tolist()
    return MarkedLesion(
        str(int(roi.ReferencedROINumber)),
        (x, y, z),
        diameter,
        study_uid=str(dataset.get("StudyInstanceUID", "")),
        frame_of_reference_uid=frame_uid,
        series_uids=series.get(frame_uid, ()),
    )


def _points(contour: Any) -> Array:
    points = np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3)
    if not len(points) or not np.all(np.isfinite(points)):
        raise LesionPositionError(WHERE, "found an invalid ContourData", expected="finite x, y, z in mm")
    return points


def _polygons(contours: Sequence[Array]) -> list[_Polygon]:
    """Lay closed contours out on the axes of one plane, that of the largest."""
    vectors = [_area_vector(points) for points in contours]
    normal = max(vectors, key=np.linalg.norm, default=np.zeros(3))
    if not normal.any():  # lines, or points drawn as contours
        return []
    normal = normal / np.linalg.norm(normal)
    u = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    u /= np.linalg.norm(u)
    axes = np.column_stack([u, np.cross(normal, u)])
    return [
        _Polygon(points @ axes, float(np.linalg.norm(vector)), _centroid(points), float(points[0] @ normal))
        for points, vector in zip(contours, vectors, strict=True)
    ]


def _triangles(points: Array) -> tuple[Array, Array]:
    """Return the triangles that a polygon's edges make with its first vertex: their area vectors and centroids."""
    edges = points - points[0]
    return 0.5 * np.cross(edges[1:-1], edges[2:]), points[0] + (edges[1:-1] + edges[2:]) / 3


def _area_vector(points: Array) -> Array:
    vector: Array = _triangles(points)[0].sum(axis=0)
    return vector


def _centroid(points: Array) -> Array:
    vectors, centroids = _triangles(points)
    whole = vectors.sum(axis=0)
    area_squared = float(whole @ whole)
    centroid: Array = points.mean(axis=0) if area_squared == 0 else (vectors @ whole / area_squared) @ centroids
    return centroid


def _depth(polygon: _Polygon, others: Sequence[_Polygon]) -> int:
    """Count the larger polygons of its plane that it lies in: an odd number makes it a hole."""
    return sum(
        other.area > polygon.area
        and abs(other.offset - polygon.offset) < PLANE_MM
        and _contains(other.vertices, polygon.vertices[0])
        for other in others
    )


def _contains(vertices: Array, point: Array) -> bool:
    """Tell by the even-odd rule whether a point lies in a polygon."""
    (x, y), start, end = point, vertices, np.roll(vertices, -1, axis=0)
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    run, rise = end[crosses] - start[crosses], start[crosses]
    at = rise[:, 0] + (y - rise[:, 1]) / run[:, 1] * run[:, 0]
    return bool(np.count_nonzero(at > x) % 2)
