from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medfuse.inference import Predictor
from medfuse.io import LesionEntry, Pseudonymizer, SeriesIdentity, StudyEntry, write_dicom_series, write_nifti
from medfuse.scoring.flags import laterality_doubt
from medfuse.scoring.scorer import Scorer
from medfuse.scoring.work import to_works
from medfuse.types import ReportText, Volume

REPORT = ReportText("EXAM: CT CHEST. FINDINGS: A nodule with a smooth margin in the left upper lobe.")


def row_of(entry: StudyEntry, predictor: Predictor, names: Pseudonymizer) -> dict[str, Any]:
    ((_, _, (row,)),) = Scorer(predictor, position="require", study_seconds=60).run(to_works([entry], names))
    return row


def series(folder: Path, voxels: np.ndarray, **elements: str) -> StudyEntry:
    from pydicom import dcmread

    identity = SeriesIdentity("SMITH", "1.2.3", "1.2.3.4", "1.2.3.5")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    write_dicom_series(Volume(voxels.astype(np.int16), affine, "HU"), folder, identity=identity)
    for path in folder.iterdir():
        data = dcmread(path)
        for keyword, value in elements.items():
            setattr(data, keyword, value)
        data.save_as(path)
    centre = tuple(float(x) for x in (affine @ [*[(n - 1) / 2 for n in voxels.shape], 1.0])[:3])
    lesion = LesionEntry("1", centre=centre)  # type: ignore[arg-type]
    return StudyEntry("1.2.3", "SMITH", {"image": folder}, report=REPORT, lesions=(lesion,))


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 100, (20, 20, 20))


@pytest.mark.parametrize(
    ("text", "side", "conflict"),
    [
        ("MRI RIGHT KNEE. FINDINGS: Tear.", "L", True),
        ("MRI RIGHT KNEE. FINDINGS: Tear.", "R", False),
        ("XR RT HAND. No fracture.", "L", True),
        ("FINDINGS: There is a nodule in the left breast.", "R", True),
        ("FINDINGS: There is no nodule in the left breast.", "R", False),  # says nothing of where it looked
        ("MRI LEFT AND RIGHT KNEE. FINDINGS: Tear.", "L", False),
        ("MRI RIGHT KNEE. FINDINGS: Tear.", "B", False),
        ("MRI RIGHT KNEE. FINDINGS: Tear.", "", False),
        ("", "L", False),
    ],
)
def test_a_report_of_the_other_side_is_noticed(text: str, side: str, conflict: bool) -> None:
    assert bool(laterality_doubt(text, side)) == conflict


def test_header_and_report_of_two_sides_are_flagged(
    toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path, voxels: np.ndarray
) -> None:
    entry = series(tmp_path / "a", voxels, Laterality="R", BodyPartExamined="CHEST")
    row = row_of(replace(entry, report=ReportText("CT LEFT CHEST. FINDINGS: A nodule.")), toy_predictor, names)
    assert row["status"] == "scored"
    assert "laterality conflict" in row["flags"].split("; ")
    assert "the report is of the left, its images are of the right" in row["warnings"]
    assert "laterality conflict" not in row_of(series(tmp_path / "b", voxels), toy_predictor, names)["flags"]


def test_the_report_of_another_examination_is_flagged(
    toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path, voxels: np.ndarray
) -> None:
    entry = series(tmp_path, voxels, BodyPartExamined="CHEST")
    row = row_of(replace(entry, report=ReportText("EXAM: MRI KNEE. FINDINGS: No tear.")), toy_predictor, names)
    assert "report of another examination" in row["flags"].split("; ")


@pytest.mark.parametrize(("what", "words"), [("blank", "constant"), ("outside", "lies outside the image")])
def test_an_image_too_poor_to_answer_from_is_flagged(
    toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path, voxels: np.ndarray, what: str, words: str
) -> None:
    if what == "blank":
        voxels = np.zeros_like(voxels)
    entry = series(tmp_path, voxels)
    if what == "outside":
        entry = replace(entry, lesions=(replace(entry.lesions[0], centre=(-0.3, -0.3, 0.3)),))
    row = row_of(entry, toy_predictor, names)
    assert row["status"] == "scored"
    assert "low quality" in row["flags"].split("; ")
    assert words in row["warnings"]


def test_slices_far_apart_are_flagged(toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path) -> None:
    thick = np.random.default_rng(0).normal(0, 100, (20, 20, 4)).astype(np.float32)
    write_nifti(Volume(thick, np.diag([1.0, 1.0, 9.0, 1.0]), "HU"), tmp_path / "image.nii")
    lesion = LesionEntry("1", centre=(10.0, 10.0, 13.0), report=REPORT)
    entry = StudyEntry("1", "P", {"image": tmp_path / "image.nii"}, lesions=(lesion,), unit="HU")
    row = row_of(entry, toy_predictor, names)
    assert "low quality" in row["flags"]
    assert "voxels 9.0 mm apart, for a region sampled every 1.00 mm" in row["warnings"]
