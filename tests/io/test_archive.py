from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medfuse.errors import ManifestError, UsageError
from medfuse.io import Pseudonymizer, find_studies, index_archive, read_rois, read_study, write_nifti
from medfuse.types import ReportText, Volume

NAMES = Pseudonymizer(bytes(32))


@pytest.fixture
def archive(tmp_path: Path, write_series) -> Path:
    root = tmp_path / "archive"
    for study, patient in ((1, "Ann^Real"), (2, "Bob^Real")):
        write_series(root / f"s{study}" / "dicom", study=study, patient=patient)
        (root / f"s{study}" / "report.txt").write_text(f"Report {study}.")
    return root


def test_index_has_a_row_a_series(archive: Path) -> None:
    (archive / "README").write_text("junk")
    index = index_archive(archive)
    row = index.series.iloc[0]
    assert index.series["study_uid"].tolist() == ["2.25.1", "2.25.2"] and index.n_ignored == 1
    assert (row["n_files"], row["rows"], row["columns"], row["modality"]) == (5, "6", "7", "CT")
    assert (row["row_spacing_mm"], row["column_spacing_mm"], row["slice_step_mm"]) == pytest.approx((0.8, 0.7, 2.5))
    assert row["is_volume"] and row["transfer_syntax"] == "1.2.840.10008.1.2.1" and row["report"] == "s1/report.txt"
    assert index.refused.empty


def test_entries_read_as_studies(archive: Path, volume: Volume) -> None:
    study = read_study(index_archive(archive).entries()[1], pseudonymizer=NAMES)
    assert study.study_key == NAMES.study("2.25.2") and study.patient_key == NAMES.patient("Bob^Real")
    assert np.array_equal(study.volumes["image"].voxels, volume.voxels)
    assert study.report is not None and study.report.text == "Report 2."


def test_saved_files_hold_pseudonyms_only(archive: Path, tmp_path: Path) -> None:
    (archive / "s1" / "dicom" / "0003.dcm").unlink()
    (archive / "Ann_Real").mkdir()
    (archive / "Ann_Real" / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    for out in ("one", "two"):
        index_archive(archive).save(tmp_path / out, pseudonymizer=NAMES)
    table = pd.read_parquet(tmp_path / "one" / "index.parquet")
    refused = [json.loads(line) for line in (tmp_path / "one" / "refused.jsonl").read_text().splitlines()]
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert table["study_key"].tolist() == [NAMES.study("2.25.1"), NAMES.study("2.25.2")]
    assert len(refused) == 2 and any("missing slices" in row["reason"] for row in refused)
    assert summary["series"] == 2 and summary["volumes"] == 1 and summary["studies_with_report"] == 2
    for path in (tmp_path / "one").iterdir():
        data = path.read_bytes()
        assert data == (tmp_path / "two" / path.name).read_bytes()
        assert b"Real" not in data and b"2.25." not in data and b"dicom" not in data


def test_bad_series_is_refused_by_name_and_the_rest_goes_on(archive: Path) -> None:
    (archive / "s1" / "dicom" / "0003.dcm").unlink()
    index = index_archive(archive)
    bad, good = index.entries()
    assert bad.refusal is not None and "missing slices" in str(bad.refusal) and good.refusal is None
    assert index.refused["series_uid"].tolist() == ["2.25.11"]


def test_unreadable_file_refuses_the_series_that_it_may_belong_to(archive: Path) -> None:
    (archive / "s1" / "dicom" / "0005.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    bad, good = index_archive(archive).entries()
    assert "cannot be read" in str(bad.refusal) and good.refusal is None


def test_slice_cut_within_its_header_refuses_its_series(archive: Path) -> None:
    path = archive / "s1" / "dicom" / "0005.dcm"  # the last one: without it no gap would show
    path.write_bytes(path.read_bytes()[:600])
    bad, good = index_archive(archive).entries()
    assert "cannot be read" in str(bad.refusal) and good.refusal is None


def test_dicom_objects_of_another_kind_are_ignored(archive: Path, change) -> None:
    shutil.copy(archive / "s1" / "dicom" / "0001.dcm", archive / "s1" / "dicom" / "sr.dcm")
    change(archive / "s1" / "dicom" / "sr.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Rows=None, PixelData=None)
    index = index_archive(archive)
    assert index.n_ignored == 1 and index.refused.empty


def test_folder_without_one_readable_image_is_an_entry_of_its_own(archive: Path, change) -> None:
    for path in (archive / "s1" / "dicom").iterdir():
        change(path, StudyInstanceUID=None)
    index = index_archive(archive)
    entries = index.entries()
    assert len(entries) == 2 and entries[0].refusal is None and "StudyInstanceUID" in str(entries[1].refusal)
    assert len(index.refused) == 5


def test_two_patients_in_one_study_are_refused(archive: Path, change, write_series) -> None:
    change(archive / "s1" / "dicom" / "0002.dcm", PatientID="Cy")
    write_series(archive / "s2" / "more", study=2, series=2, patient="Dee")
    first, second = index_archive(archive).entries()
    assert "PatientID" in str(first.refusal) and "2 patients" in str(second.refusal)


def test_report_that_two_studies_share_is_given_to_none(archive: Path) -> None:
    for study in ("s1", "s2"):
        (archive / study / "report.txt").unlink()
    (archive / "report.txt").write_text("Whose?")
    index = index_archive(archive)
    assert all("one report shared by 2 studies" in str(entry.refusal) for entry in index.entries())
    assert len(index.refused) == 2 and set(index.series["report"]) == {""}


def test_two_reports_for_one_study_are_refused(archive: Path, write_series) -> None:
    write_series(archive / "s1b" / "dicom", study=1, series=2)
    (archive / "s1b" / "report.txt").write_text("Another.")
    assert "2 reports for one study" in str(index_archive(archive).entries()[0].refusal)


def test_reports_come_from_a_folder_or_a_table(archive: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "2.25.1.txt").write_text("From the folder.")
    first, second = index_archive(archive, reports=reports).entries()
    assert first.report == reports / "2.25.1.txt" and second.report is None
    (reports / "r.csv").write_text("study_uid,report_text,report_path\n2.25.1,In the table.,\n2.25.2,,2.25.1.txt\n")
    first, second = index_archive(archive, reports=reports / "r.csv").entries()
    assert isinstance(first.report, ReportText) and first.report.text == "In the table."
    assert second.report == reports / "2.25.1.txt"
    (reports / "r.csv").write_text("study_uid,report_text\n2.25.1,a\n2.25.1,b\n2.25.2,c\n")
    first, second = index_archive(archive, reports=reports / "r.csv").entries()
    assert "2 reports for one study" in str(first.refusal) and second.refusal is None


def test_links_pipes_and_folders_named_dcm_do_no_harm(archive: Path, tmp_path: Path, write_series) -> None:
    write_series(tmp_path / "outside", study=3)
    (archive / "out").symlink_to(tmp_path / "outside")
    (archive / "loop").symlink_to(archive)
    os.mkfifo(archive / "s1" / "dicom" / "pipe.dcm")
    (archive / "s1" / "dicom" / "IM9999.dcm").mkdir()
    index = index_archive(archive)
    assert len(index.series) == 2 and [e.refusal for e in index.entries()] == [None, None]
    assert "leaves the folder" in index.refused["reason"].item()


def test_localizer_is_neither_volume_nor_refused(archive: Path, write_series, change) -> None:
    for path in write_series(archive / "s1" / "scout", study=1, series=2):
        change(path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    index = index_archive(archive)
    assert index.series["is_volume"].tolist() == [True, False, True] and index.refused.empty
    assert list(index.entries()[0].images) == ["image"]


def test_rois_place_lesions_on_their_series(archive: Path, tmp_path: Path, write_series) -> None:
    write_series(archive / "s1" / "second", study=1, series=2)
    rois = tmp_path / "rois.csv"
    rois.write_text(
        "study_uid,series_uid,lesion_id,x_mm,y_mm,z_mm,space,diameter_mm,report_text\n"
        "2.25.1,2.25.12,1,-9.3,-19.2,-27.5,LPS,8,Own text.\n"
        "2.25.1,,2,9.3,19.2,-27.5,,,\n"
        "2.25.1,2.25.99,3,9.3,19.2,-27.5,RAS,,\n"
        ",2.25.21,1,9.3,19.2,-27.5,,,\n"
        "2.25.77,,1,0,0,0,,,\n"
    )
    first, second = index_archive(archive).entries(rois=read_rois(rois))
    refusals: list = []
    study = read_study(first, pseudonymizer=NAMES, refusals=refusals)
    assert study.lesions[0].centre == (9.3, 19.2, -27.5) and study.lesions[0].diameter_mm == 8.0
    assert study.lesions[0].channels == {"image": "series-2"} and list(study.volumes) == ["series-2"]
    assert [lesion_id for lesion_id, _ in refusals] == ["2", "3"]
    assert "2 series" in str(refusals[0][1]) and "no such series" in str(refusals[1][1])
    assert read_study(second, pseudonymizer=NAMES).lesions[0].channels == {"image": "image"}


def test_several_series_without_a_position_are_refused(archive: Path, write_series) -> None:
    write_series(archive / "s1" / "second", study=1, series=2)
    assert "2 series that are volumes, more than one" in str(index_archive(archive).entries()[0].refusal)


def test_rois_of_another_archive_are_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "rois.csv").write_text("study_uid,lesion_id,x_mm,y_mm,z_mm\n2.25.77,1,0,0,0\n")
    with pytest.raises(ManifestError, match="no row of a study"):
        find_studies(archive, rois=tmp_path / "rois.csv")


def test_nifti_study_folders_with_masks(tmp_path: Path, volume: Volume) -> None:
    for name in ("x", "y"):
        write_nifti(volume, tmp_path / "all" / name / "image.nii.gz")
    mask = np.zeros(volume.voxels.shape, bool)
    mask[3, 3, 3] = True
    write_nifti(Volume(mask, volume.affine), tmp_path / "all" / "x" / "mask.nii.gz")
    (tmp_path / "all" / "x" / "report.txt").write_text("A nodule.")
    entries, refused = find_studies(tmp_path / "all", unit="HU")
    x, y = (read_study(entry, pseudonymizer=NAMES) for entry in entries)
    assert refused.empty and x.volumes["image"].unit == "HU" and len(x.lesions) == 1 and y.lesions == ()
    assert x.report is not None and y.report is None
    (alone,), _ = find_studies(tmp_path / "all" / "x")
    assert alone.study_uid == entries[0].study_uid == "x"


def test_broken_nifti_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "image.nii").write_bytes(b"")
    (entry,), refused = find_studies(tmp_path)
    assert "empty file" in str(entry.refusal) and len(refused) == 1


def test_manifest_is_an_input_and_brings_its_own_positions(tmp_path: Path, volume: Volume) -> None:
    write_nifti(volume, tmp_path / "a.nii.gz")
    (tmp_path / "m.csv").write_text("patient_id,study_uid,image_path\nAnn,S1,a.nii.gz\n")
    entries, refused = find_studies(tmp_path / "m.csv")
    assert len(entries) == 1 and list(refused.columns) == ["study_uid", "series_uid", "path", "reason"]
    with pytest.raises(UsageError, match="--rois"):
        find_studies(tmp_path / "m.csv", rois=tmp_path / "r.csv")


def test_manifest_in_a_folder_without_studies_is_its_input(tmp_path: Path, volume: Volume) -> None:
    write_nifti(volume, tmp_path / "img" / "a.nii.gz")
    (tmp_path / "manifest.csv").write_text("patient_id,study_uid,image_path\nAnn,S1,img/a.nii.gz\n")
    entries, _ = find_studies(tmp_path)
    assert [entry.study_uid for entry in entries] == ["S1"]


def test_nothing_to_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no study"):
        find_studies(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        find_studies(tmp_path / "absent")
    with pytest.raises(UsageError, match="no such folder"):
        index_archive(tmp_path / "absent")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list and read everything")
def test_unreadable_folder_is_named(archive: Path) -> None:
    (archive / "s1" / "dicom").chmod(0)
    try:
        index = index_archive(archive)
    finally:
        (archive / "s1" / "dicom").chmod(0o700)
    assert "cannot be listed" in index.refused["reason"].item()


def test_one_series_uid_in_two_studies_is_refused_in_both(archive: Path, change) -> None:
    shutil.copytree(archive / "s1" / "dicom", archive / "s3")
    for path in (archive / "s3").iterdir():
        change(path, StudyInstanceUID="2.25.3")
    reasons = [str(entry.refusal) for entry in index_archive(archive).entries()]
    assert sum("in several studies" in reason for reason in reasons) == 2
