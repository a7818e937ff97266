"""The studies of an archive, one after another: the same as those of its index."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medfuse.config import SeriesRule
from medfuse.errors import ManifestError, UsageError
from medfuse.io import SeriesIdentity, StudyEntry, find_studies, write_dicom_series, write_nifti
from medfuse.io.inputs import FoundStudies
from medfuse.types import ReportText, Volume

FAULTS = Path(__file__).parents[3] / "shared" / "data" / "faults"
CASES = json.loads((FAULTS / "cases.json").read_text())["cases"] if FAULTS.exists() else []
ARCHIVES = sorted({case["input"]["path"] for case in CASES if case["input"]["type"] in ("study", "archive")})


def told(entry: StudyEntry) -> dict[str, Any]:
    """All that an entry says, its errors as text."""
    lesions = [
        (one.lesion_id, dict(one.channels), one.centre, one.mask, one.report, one.size_mm, str(one.refusal))
        for one in entry.lesions
    ]
    objects = None if entry.find_lesions is None else entry.find_lesions.args[0]  # type: ignore[attr-defined]
    rest = (entry.study_uid, entry.patient_id, dict(entry.images), entry.report, entry.unit, str(entry.refusal))
    return {"rest": rest, "lesions": lesions, "objects": objects}


def check_equal(path: Path, **options: Any) -> list[StudyEntry]:
    rule = SeriesRule(prefer="most_slices")
    listed, _ = find_studies(path, unit="HU", rule=rule, **options)
    found = FoundStudies(path, **options).entries(unit="HU", rule=rule)
    assert [told(entry) for entry in found] == [told(entry) for entry in listed]
    assert len(found) == len(listed)
    assert [told(entry) for entry in found] == [told(entry) for entry in listed]  # as often as one likes
    return listed


def series(folder: Path, number: int, *, patient: str = "SMITH", study: str = "", n_slices: int = 3) -> None:
    voxels = np.random.default_rng(number).integers(-100, 100, (4, 4, n_slices), dtype=np.int16)
    study = study or f"1.2.{number}"
    identity = SeriesIdentity(patient, study, f"1.2.{number}.1", f"1.2.{number}.2")
    write_dicom_series(Volume(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]), "HU"), folder, identity=identity)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    for number in range(1, 8):
        series(root / f"p{number % 3}" / f"s{number}" / "ct", number, patient=f"P{number % 3}")
    series(root / "p0" / "s3" / "more", 31, patient="P0", study="1.2.3", n_slices=5)
    for name in ("p0/s3", "p1/s1", "p1/s4/ct", "p2"):  # the last one's is nearest to two studies
        (root / name / "report.txt").write_text(f"FINDINGS: {name}.")
    write_nifti(Volume(np.zeros((2, 2, 2), np.int16), np.eye(4)), root / "n1" / "image.nii.gz")
    for name in ("mask.nii", "mask.nii.gz"):
        write_nifti(Volume(np.ones((2, 2, 2), np.uint8), np.eye(4)), root / "n1" / name)
    broken = next((root / "p1" / "s7" / "ct").glob("*.dcm"))
    broken.write_bytes(broken.read_bytes()[:400])
    (root / "lost").mkdir()
    shutil.copy(broken, root / "lost" / "only.dcm")
    return root


def test_reports_masks_refusals_and_lost_folders_are_those_of_the_index(archive: Path) -> None:
    entries = {entry.study_uid: entry for entry in check_equal(archive)}
    assert entries["1.2.4"].report == archive / "p1" / "s4" / "ct" / "report.txt"
    assert "shared by" in str(entries["1.2.2"].refusal)
    assert entries["n1"].lesions[0].mask == archive / "n1" / "mask.nii.gz"
    assert "folder lost" in entries


def test_given_reports_and_positions_are_those_of_the_index(archive: Path, tmp_path: Path) -> None:
    rois, reports = tmp_path / "rois.csv", tmp_path / "reports.jsonl"
    with rois.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["study_uid", "series_uid", "lesion_id", "x_mm", "y_mm", "z_mm", "report_text"],
                          ["1.2.1", "", "a", 1, 1, 1, "FINDINGS: A."], ["", "1.2.31.1", "b", 1, 1, 1, ""],
                          ["1.2.1", "", "c", 2, 2, 1, ""], ["9.9", "", "d", 2, 2, 1, ""]])  # fmt: skip
    lines = [{"study_uid": f"1.2.{number}", "report_text": f"FINDINGS: {number}."} for number in (1, 2, 5)]
    reports.write_text("\n".join(map(json.dumps, lines)))
    entries = {entry.study_uid: entry for entry in check_equal(archive, rois=rois, reports=reports)}
    assert [lesion.lesion_id for lesion in entries["1.2.1"].lesions] == ["a", "c"]
    assert isinstance(entries["1.2.5"].report, ReportText)
    assert entries["1.2.4"].report is None
    rois.write_text("study_uid,lesion_id,x_mm,y_mm,z_mm\n9.9,1,0,0,0\n")
    with pytest.raises(ManifestError, match="found no row of a study in the archive"):
        FoundStudies(archive, rois=rois)


def test_kept_facts_change_nothing(archive: Path, tmp_path: Path) -> None:
    cache = tmp_path / "kept.sqlite"
    first = [told(entry) for entry in FoundStudies(archive, cache=cache).entries()]
    assert [told(entry) for entry in FoundStudies(archive, cache=cache).entries()] == first
    (archive / "p0" / "s6" / "ct" / "report.txt").write_text("FINDINGS: late.")
    again = {entry.study_uid: entry for entry in FoundStudies(archive, cache=cache).entries()}
    assert again["1.2.6"].report == archive / "p0" / "s6" / "ct" / "report.txt"


def test_a_zip_is_read_as_its_folder(archive: Path, tmp_path: Path) -> None:
    check_equal(Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", archive)))


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="found no study"):
        FoundStudies(tmp_path / "empty")
    with pytest.raises(UsageError, match="found no such folder or manifest"):
        FoundStudies(tmp_path / "absent")


def test_a_folder_with_a_manifest_gives_its_studies(tmp_path: Path) -> None:
    write_nifti(Volume(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "a.nii")
    (tmp_path / "manifest.csv").write_text("patient_id,study_uid,image_path\nP,1.2,a.nii\n")
    (entry,) = check_equal(tmp_path)
    assert entry.study_uid == "1.2"
    with pytest.raises(UsageError, match="found a manifest with --reports or --rois"):
        FoundStudies(tmp_path / "manifest.csv", rois=tmp_path / "manifest.csv")


@pytest.mark.skipif(not ARCHIVES, reason="the shared fault cases are not beside the repository")
@pytest.mark.parametrize("name", ARCHIVES)
def test_every_fault_case_is_found_as_the_index_finds_it(name: str) -> None:
    try:
        listed, _ = find_studies(FAULTS / name)
    except UsageError as error:
        with pytest.raises(UsageError) as caught:
            FoundStudies(FAULTS / name)
        assert str(caught.value) == str(error)
        return
    assert [told(entry) for entry in FoundStudies(FAULTS / name).entries()] == [told(entry) for entry in listed]
