from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from medfuse.errors import ManifestError
from medfuse.io import Pseudonymizer, read_manifest, read_study, write_nifti
from medfuse.types import Volume

NAMES = Pseudonymizer(bytes(32))
HEADER = "patient_id,study_uid,lesion_id,image_path,report_path,roi_x_mm,roi_y_mm,roi_z_mm,label_malignant,site"


@pytest.fixture
def root(tmp_path: Path, volume: Volume) -> Path:
    for name in ("a", "b"):
        write_nifti(volume, tmp_path / f"{name}.nii.gz")
        (tmp_path / f"{name}.txt").write_text(f"Nodule {name}.")
    return tmp_path


def write(root: Path, *rows: str, header: str = HEADER) -> Path:
    (root / "manifest.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return root / "manifest.csv"


GOOD = "Ann,S1,1,a.nii.gz,a.txt,9.3,19.2,-27.5,1,x"


def test_frame_is_text_and_digest_is_of_the_file(root: Path) -> None:
    path = write(root, GOOD, "Bob,S2,,b.nii.gz,,,,,,007")
    manifest = read_manifest(path)
    assert manifest.digest == hashlib.sha256(path.read_bytes()).hexdigest() and manifest.root == root
    assert manifest.frame.map(lambda cell: isinstance(cell, str)).all(axis=None)
    assert manifest.frame["lesion_id"].tolist() == ["1", "1"] and manifest.frame["site"][1] == "007"
    assert "Ann" not in repr(manifest) and "Ann" not in repr(manifest.entries())


def test_lesions_of_one_study_keep_their_own_images(root: Path) -> None:
    manifest = read_manifest(write(root, GOOD, "Ann,S1,2,b.nii.gz,b.txt,9.3,19.2,-27.5,,x", "Ann,S1,3,a.nii.gz,,,,,,x"))
    (entry,) = manifest.entries(unit="HU")
    study = read_study(entry, pseudonymizer=NAMES)
    assert sorted(study.volumes) == ["image", "image-2"] and study.volumes["image"].unit == "HU"
    assert [lesion.channels["image"] for lesion in study.lesions] == ["image", "image-2", "image"]
    assert study.lesions[1].text is not None and study.lesions[1].text.text == "Nodule b."
    assert study.lesions[0].centre == (9.3, 19.2, -27.5) and study.lesions[2].centre is None


def test_channels_come_from_their_columns(root: Path) -> None:
    path = write(
        root,
        "Ann,S1,a.nii.gz,b.nii.gz,Text here.,5",
        header="patient_id,study_uid,image_path_ct,image_path_pet,report_text,diameter_mm",
    )
    study = read_study(read_manifest(path).entries()[0], pseudonymizer=NAMES)
    assert sorted(study.volumes) == ["ct", "pet"] and study.lesions[0].diameter_mm == 5.0
    assert study.lesions[0].text is not None and study.lesions[0].text.text == "Text here."


def test_series_uid_names_a_series_under_the_folder(root: Path, write_series, volume: Volume) -> None:
    write_series(root / "dicom" / "x", series=1)
    write_series(root / "dicom" / "y", series=2)
    path = write(root, "Ann,S1,2.25.12", header="patient_id,study_uid,series_uid")
    study = read_study(read_manifest(path).entries()[0], pseudonymizer=NAMES)
    assert (study.volumes["image"].voxels == volume.voxels).all()
    with pytest.raises(ManifestError, match="row 2 column series_uid: found no such series"):
        read_manifest(write(root, "Ann,S1,2.25.99", header="patient_id,study_uid,series_uid"))


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([GOOD], HEADER.replace("study_uid", "study_ui"), "no column 'study_uid'.*did you mean 'study_ui'"),
        ([GOOD], HEADER.replace("report_path", "report_paht"), "'report_paht'; expected 'report_path'"),
        ([GOOD], HEADER.replace("site", "study_uid"), "'study_uid' twice"),
        ([], HEADER, "no row"),
        ([GOOD + ",more"], HEADER, "row 2: found 11 cells"),
        ([GOOD, GOOD], HEADER, "row 3 column lesion_id: .* second time"),
        ([GOOD, "Bob,S1,2,a.nii.gz,,,,,,x"], HEADER, "row 3 column patient_id"),
        ([",S1,1,a.nii.gz,,,,,,x"], HEADER, "row 2 column patient_id: found an empty cell"),
        ([GOOD.replace("a.nii.gz", "/etc/hosts")], HEADER, "column image_path: found an absolute path"),
        ([GOOD.replace("a.txt", "../x.txt")], HEADER, "column report_path: found a path that leaves"),
        ([GOOD.replace("a.nii.gz", "gone.nii")], HEADER, "row 2 column image_path: found no such file"),
        ([GOOD.replace("9.3", "left")], HEADER, "row 2 column roi_x_mm: found no finite number"),
        ([GOOD.replace("9.3", "nan")], HEADER, "row 2 column roi_x_mm: found no finite number"),
        ([GOOD.replace("9.3", "")], HEADER, "row 2 column roi_x_mm: found a position without it"),
        ([GOOD, "Ann,S1,2,,a.txt,,,,,x"], HEADER, "row 3 column image_path: found other image columns"),
        (["Ann,S1,HU ct"], "patient_id,study_uid,unit", "row 2 column unit"),
        (["Ann,S1,2020-13-01"], "patient_id,study_uid,report_date", "row 2 column report_date: found no date"),
        (["Ann,S1,a.txt,words"], "patient_id,study_uid,report_path,report_text", "column report_text"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_by_row_and_column(root: Path, rows, header: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(write(root, *rows, header=header))
    assert "Ann" not in str(caught.value) and "left" not in str(caught.value).replace("leaves", "")


def test_report_dated_after_the_outcome_is_refused_unless_allowed(root: Path) -> None:
    path = write(root, "Ann,S1,2020-02-02,2020-02-01", header="patient_id,study_uid,report_date,outcome_date")
    with pytest.raises(ManifestError, match="row 2 column report_date: found a report dated after the outcome"):
        read_manifest(path)
    assert len(read_manifest(path, allow_late_reports=True).frame) == 1


def test_absent_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "manifest.csv")
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path / "manifest.csv")


def test_names_of_other_programs_are_understood_where_ours_are_absent(root: Path) -> None:
    path = write(root, "S1,Ann,a.nii.gz,a.txt,0", header="study_id,patient_id,image,report,label")
    manifest = read_manifest(path)
    assert list(manifest.frame.columns) == [
        "study_uid",
        "patient_id",
        "image_path",
        "report_path",
        "label",
        "lesion_id",
    ]
    free = read_manifest(write(root, "S1,7,Ann", header="study_uid,study_id,patient_id"))
    assert free.frame["study_id"].tolist() == ["7"] and free.frame["study_uid"].tolist() == ["S1"]


@pytest.mark.parametrize("between", [";", "\t"])
def test_what_a_spreadsheet_exports_is_read(root: Path, between: str) -> None:
    path = write(root, GOOD)
    text = path.read_text(encoding="utf-8-sig").replace(",", between).replace("\n", "\r\n")
    (root / "exported.csv").write_bytes(text.encode("utf-8-sig"))
    assert read_manifest(root / "exported.csv").frame.equals(read_manifest(path).frame)
