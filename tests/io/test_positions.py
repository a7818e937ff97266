from __future__ import annotations

from pathlib import Path

import pytest

from medfuse.errors import ManifestError
from medfuse.io import read_rois

HEADER = "study_uid,series_uid,lesion_id,x_mm,y_mm,z_mm,space,diameter_mm,report_text"


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    (folder / "rois.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "rois.csv"


def test_lps_is_turned_into_ras_and_ras_is_kept(tmp_path: Path) -> None:
    frame = read_rois(write(tmp_path, "S,,1,1,2,3,LPS,,", "S,,2,1,2,3,,,", "S,,3,1,2,3,ras,,"))
    assert frame[["x_mm", "y_mm", "z_mm"]].to_numpy().tolist() == [[-1, -2, 3], [1, 2, 3], [1, 2, 3]]
    assert "space" not in frame and set(frame["report_path"]) == {""}


def test_report_path_is_found_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("x")
    frame = read_rois(write(tmp_path, "S,1,1,2,3,r.txt", header="study_uid,lesion_id,x_mm,y_mm,z_mm,report_path"))
    assert frame["report_path"].item() == str((tmp_path / "r.txt").resolve())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",,1,1,2,3,,,", "row 2 column study_uid"),
        ("S,,,1,2,3,,,", "row 2 column lesion_id"),
        ("S,,1,one,2,3,,,", "row 2 column x_mm"),
        ("S,,1,1,2,inf,,,", "row 2 column z_mm"),
        ("S,,1,1,2,3,MNI,,", "row 2 column space"),
        ("S,,1,1,2,3,,big,", "row 2 column diameter_mm"),
        ("S,,1,1,2,3,,,\nS,,1,4,5,6,,,", "row 3 column lesion_id"),
    ],
)
def test_each_mistake_is_named_by_row_and_column(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_rois(write(tmp_path, row))


@pytest.mark.parametrize("header", ["lesion_id,x_mm,y_mm,z_mm", "study_uid,lesion_id,x_mm,y_mm"])
def test_missing_column_is_named(tmp_path: Path, header: str) -> None:
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(ManifestError, match=r"found (neither study_uid nor series_uid|no column 'z_mm')"):
        read_rois(write(tmp_path, row, header=header))
