"""The contour as a DICOM segmentation, and the map as a parametric map, on the grid of the source series."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medfuse import __version__
from medfuse.errors import PixelError
from medfuse.io.dicom_geometry import LPS_TO_RAS
from medfuse.io.dicom_objects import refer_to_source
from medfuse.reporting.dicom_results_codes import PRIVATE_SCHEME, Code, quantity_code
from medfuse.reporting.dicom_results_grid import frame_slices, grid_offset, trimmed
from medfuse.reporting.dicom_results_stamp import Stamp
from medfuse.types import Volume

__all__ = ["Contour", "Placed", "build_parametric_map", "build_segmentation"]

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SPATIAL_CONCEPT = Code("309825002", "SCT", "Spatial and Relational Concept")
MAP_REGION = Code("map-region", PRIVATE_SCHEME, "Region where an attribution map is high")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
NO_UNITS = Code("1", "UCUM", "no units")
SIDES = {1: "for {}", 2: "against {}"}
SEGMENTED = ("113076", "DCM", "Segmentation")
EXPLAINED = ("130401", "DCM", "Visual explanation")
COLOURS = {1: (255, 159, 28), 2: (94, 200, 255)}
"""R, G and B that a viewer is asked to draw each side in: those of the page."""


class Contour(NamedTuple):
    """Where a map is high.

    Parameters
    ----------
    labels : Volume
        On the source's grid or a box of it: 1 (or True) where the map speaks for a class, 2 where against it, else 0.
    share : float
        Of the map's peak, at which it was drawn.
    method : str
        That made the map.
    speaks_for : str
        Name of the class.
    """

    labels: Volume
    share: float
    method: str
    speaks_for: str

    def parts(self) -> list[int]:
        """Return the labels that are there, 1 and 2: a segment each, in this order."""
        return [label for label in SIDES if bool((self.labels.voxels == label).any())]

    def side(self, label: int) -> str:
        """Say what a label means."""
        return SIDES[label].format(self.speaks_for)


class Placed(NamedTuple):
    """A multi-frame object: the column and row of the source that its frames start with, and the slice of each."""

    dataset: Any
    corner: tuple[int, int]
    slices: list[int]


def build_segmentation(stamp: Stamp, contour: Contour) -> Placed | None:
    """Make the segmentation of a contour.

    Parameters
    ----------
    stamp : Stamp
    contour : Contour

    Returns
    -------
    Placed or None
        A binary `highdicom.seg.Segmentation` of one segment for each of `Contour.parts`, a frame for each slice with
        a voxel of it, as large as the source's; None if the contour holds no voxel.

    Raises
    ------
    GeometryError
        If the contour is not on the source's grid.
    PixelError
        If it holds other labels.

    Notes
    -----
    Its category is a spatial concept: it is where a map is high, and no reader may take it for a lesion.
    """
    import highdicom as hd

    source, labels = stamp.source, contour.labels
    i, j, k = grid_offset(labels, source.affine, source.shape, where="contour")
    parts = contour.parts()
    if not np.isin(labels.voxels, (0, *parts)).all():
        raise PixelError("contour", "found labels that are none", expected="0, 1 and 2")
    if not parts:
        return None
    used = np.flatnonzero(labels.voxels.any(axis=(0, 1)))
    columns, rows, _ = source.shape
    width, height, _ = labels.shape
    planes = np.zeros((len(used), rows, columns), dtype=np.uint8)
    for number, label in enumerate(parts, start=1):
        inside = (labels.voxels[:, :, used] == label).transpose(2, 1, 0)
        planes[:, j : j + height, i : i + width] += inside * np.uint8(number)
    segmentation = hd.seg.Segmentation(
        pixel_array=planes,
        segmentation_type="BINARY",
        segment_descriptions=[_segment(stamp, contour, number, label) for number, label in enumerate(parts, start=1)],
        content_label="MEDFUSE_CONTOUR",
        content_description="Where the attribution map is high; no outline of a lesion"[:64],
        **_geometry(stamp, (0, 0), [k + int(n) for n in used]),
        **stamp.general("seg"),
    )
    segmentation.ContentQualification = "RESEARCH"
    return _finished(segmentation, stamp, (0, 0), derivation=SEGMENTED, same_grid=True)


def _segment(stamp: Stamp, contour: Contour, number: int, label: int) -> Any:
    import highdicom as hd

    algorithm = hd.AlgorithmIdentificationSequence(
        name="medfuse",
        version=__version__,
        family=_coded(ARTIFICIAL_INTELLIGENCE),
        parameters={"model": stamp.model_id, "map": contour.method, "share of peak": f"{contour.share:g}"},
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"{contour.side(label)}, from {contour.share:.0%} of the peak"[:64],
        segmented_property_category=_coded(SPATIAL_CONCEPT),
        segmented_property_type=_coded(MAP_REGION),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=stamp.tracking_uid(),
        tracking_id=f"lesion {stamp.case.lesion_id}"[:64],
        display_color=hd.color.CIELabColor.from_rgb(*COLOURS[label]),
    )


def build_parametric_map(stamp: Stamp, saliency: Volume, method: str) -> Placed | None:
    """Make the parametric map of an attribution map.

    Parameters
    ----------
    stamp : Stamp
    saliency : Volume
        Signed attribution a voxel, on the source's grid or a box of it.
    method : str
        That made the map.

    Returns
    -------
    Placed or None
        A `highdicom.pm.ParametricMap` of float32, on the least box of the source's grid that holds every voxel that
        is not 0; None if there is none.

    Raises
    ------
    GeometryError
        If the map is not on the source's grid.
    PixelError
        If it holds a value that is no finite number.
    """
    import highdicom as hd

    source = stamp.source
    grid_offset(saliency, source.affine, source.shape, where="map")
    if not np.isfinite(np.asarray(saliency.voxels, dtype=np.float64)).all():
        raise PixelError("map", "found values that are no finite numbers", expected="finite ones")
    box = trimmed(saliency)
    if box is None:
        return None
    i, j, k = grid_offset(box, source.affine, source.shape, where="map")
    values: NDArray[np.float32] = np.ascontiguousarray(box.voxels.transpose(2, 1, 0), dtype=np.float32)
    peak = float(np.abs(values).max())
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="ATTRIBUTION",
        lut_explanation=f"signed part in the log-odds; {method}"[:64],
        unit=_coded(NO_UNITS),
        value_range=(float(values.min()), float(values.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=_coded(quantity_code(method)),
    )
    window = hd.VOILUTTransformation(
        window_center=0.0,
        window_width=2 * peak,
        window_explanation="whole range",
        voi_lut_function="LINEAR_EXACT",  # the default one is for widths of at least 1 (DICOM PS3.3 C.11.2.1.2.1)
    )
    found = hd.pm.ParametricMap(
        pixel_array=values,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        content_label="MEDFUSE_MAP",
        content_description="Attribution: what drove a model's answer",
        content_qualification="RESEARCH",
        **_geometry(stamp, (i, j), range(k, k + box.shape[2])),
        **stamp.general("pm"),
    )
    same_grid = (i, j) == (0, 0) and box.shape[:2] == source.shape[:2]
    return _finished(found, stamp, (i, j), derivation=EXPLAINED, same_grid=same_grid)


def _finished(
    dataset: Any, stamp: Stamp, corner: tuple[int, int], *, derivation: tuple[str, str, str], same_grid: bool
) -> Placed:
    """Name the sources of each frame, after a check that it lies on one, and replace the UIDs drawn at random."""
    stamp.finish(dataset)
    slices = frame_slices(dataset, stamp.source.affine, corner, where=f"{dataset.Modality} object")
    refer_to_source(dataset, stamp.source, slices, derivation=derivation, same_grid=same_grid)
    uid = stamp.uid(f"dimensions {dataset.Modality}")
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
    return Placed(dataset, corner, slices)


def _geometry(stamp: Stamp, corner: tuple[int, int], slices: Sequence[int]) -> dict[str, Any]:
    """Return where planes lie that start at a column and row of the source, and a stand-in for its images.

    highdicom takes geometry and identity from images of one frame, all of one exact orientation, and of the first;
    a source may be a multi-frame image, a mosaic, or one whose headers differ in the last digit. So it is shown one
    plain image that lies where the source's first slice does, and the references are set afterwards.
    """
    import highdicom as hd

    source, lps = stamp.source, LPS_TO_RAS @ stamp.source.affine
    between_columns, between_rows = np.linalg.norm(lps[:3, :2], axis=0).tolist()
    cosines = [*(lps[:3, 0] / between_columns), *(lps[:3, 1] / between_rows)]
    step = abs(float(np.cross(cosines[:3], cosines[3:]) @ lps[:3, 2]))
    measures = hd.PixelMeasuresSequence(
        pixel_spacing=(between_rows, between_columns),
        slice_thickness=source.thickness_mm(step),
        spacing_between_slices=step,
    )
    orientation = hd.PlaneOrientationSequence("PATIENT", cosines)
    positions = [hd.PlanePositionSequence("PATIENT", (lps @ [*corner, k, 1.0])[:3].tolist()) for k in slices]
    image = deepcopy(source.identity)
    image.SOPClassUID, image.Modality = CT_IMAGE, source.modality
    image.FrameOfReferenceUID = source.frame_of_reference_uid
    image.Columns, image.Rows, _ = source.shape
    for keyword in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
        setattr(image, keyword, getattr(measures[0], keyword))
    image.ImageOrientationPatient = orientation[0].ImageOrientationPatient
    image.ImagePositionPatient = hd.PlanePositionSequence("PATIENT", lps[:3, 3].tolist())[0].ImagePositionPatient
    if "NumberOfFrames" in image:
        del image.NumberOfFrames
    return {
        "source_images": [image],
        "pixel_measures": measures,
        "plane_orientation": orientation,
        "plane_positions": positions,
    }


def _coded(code: Code) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(*code)
