"""The contour in the PACS is the one on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from medfuse.errors import GeometryError
from medfuse.io.dicom_source import read_source_series
from medfuse.reporting.dicom_results import write_dicom_results
from medfuse.reporting.dicom_results_explained import explained_results
from medfuse.types import Explanation, Prediction

Make = Callable[..., Any]


def explained(answer: Prediction, source_affine: np.ndarray, *, against: bool = True) -> Explanation:
    """A map with a ball for the answer, and perhaps one against it, on a grid turned in the middle of the series."""
    grid = np.indices((32, 32, 32)) - 15.5
    for_it = np.exp(-((grid - np.array([-5.0, 0, 0])[:, None, None, None]) ** 2).sum(axis=0) / 18)
    against_it = np.exp(-((grid - np.array([6.0, 0, 0])[:, None, None, None]) ** 2).sum(axis=0) / 18)
    image_map = (for_it - 0.8 * against * against_it).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix() * 0.5
    middle = source_affine[:3, :3] @ (6.0, 5.0, 2.5) + source_affine[:3, 3]
    affine[:3, 3] = middle - affine[:3, :3] @ (15.5, 15.5, 15.5)
    return Explanation(answer, image_map, image_map, affine, methods={"image": "occlusion (supervoxels 60)"})


def test_each_side_is_a_segment_where_the_map_is_high(
    write_series: Make, tmp_path: Path, answer: Prediction, dicom_errors: Make
) -> None:
    import highdicom as hd

    source = read_source_series(write_series())
    explanation = explained(answer, source.affine)
    results = explained_results(explanation, source=source, predictions=[answer])
    assert len(results.predictions) == 1 and results.method == "occlusion (supervoxels 60)"
    paths = write_dicom_results(tmp_path / "out", results, source=source)
    assert dicom_errors(paths) == {}
    seg = hd.seg.segread(tmp_path / "out" / "seg.dcm")
    labels = [segment.segment_label for segment in (seg.get_segment_description(n) for n in (1, 2))]
    assert labels == ["for malignant, from 50% of the peak", "against malignant, from 50% of the peak"]
    volume = seg.get_volume(combine_segments=True)
    centres = []
    for number in (1, 2):
        index = np.argwhere(volume.array == number)
        lps = (volume.affine[:3, :3] @ index.T + volume.affine[:3, 3:]).mean(axis=1)
        centres.append(lps * (-1, -1, 1))
    affine = explanation.affine
    assert affine is not None
    for centre, at in zip(centres, ((10.5, 15.5, 15.5), (21.5, 15.5, 15.5)), strict=True):
        assert np.linalg.norm(centre - (affine @ [*at, 1])[:3]) < 1.0
    report = hd.sr.srread(tmp_path / "out" / "sr.dcm")
    regions = report.content.get_volumetric_roi_measurement_groups()
    assert [region.referenced_segment.referenced_segment_numbers for region in regions] == [[1], [2]]
    assert [region.get_qualitative_evaluations()[0].value.meaning for region in regions] == [
        "for malignant",
        "against malignant",
    ]


def test_one_side_is_one_segment(write_series: Make, tmp_path: Path, answer: Prediction, dicom_errors: Make) -> None:
    source = read_source_series(write_series())
    results = explained_results(explained(answer, source.affine, against=False), source=source)
    paths = write_dicom_results(tmp_path / "out", results, source=source)
    assert dicom_errors(paths) == {}
    seg = pydicom.dcmread(tmp_path / "out" / "seg.dcm")
    assert len(seg.SegmentSequence) == 1
    assert results.contour is not None
    # The volume of a Gaussian ball cut at half its peak.
    radius_mm = 0.5 * np.sqrt((9 + 1) * 2 * np.log(2))  # the page's smoothing adds a voxel's variance
    voxel_mm3 = abs(np.linalg.det(source.affine[:3, :3]))
    assert results.contour.voxels.sum() * voxel_mm3 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.25)


def test_a_withheld_map_leaves_the_report(write_series: Make, tmp_path: Path, answer: Prediction) -> None:
    source = read_source_series(write_series())
    results = explained_results(Explanation(answer), source=source)
    paths = write_dicom_results(tmp_path / "out", results, source=source)
    assert [path.name for path in paths] == ["sr.dcm"]


def test_a_map_of_another_place_is_refused(write_series: Make, answer: Prediction) -> None:
    source = read_source_series(write_series())
    elsewhere = source.affine.copy()
    elsewhere[:3, 3] += 500
    with pytest.raises(GeometryError, match="covers no voxel"):
        explained_results(explained(answer, elsewhere), source=source)
