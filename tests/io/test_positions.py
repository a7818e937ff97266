from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medfuse.errors import LesionPositionError, ManifestError
from medfuse.io import read_rois
from medfuse.io.positions import lesions_by_study, lesions_of_objects

SEG, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"
MASK = np.zeros((6, 5, 4), dtype=bool)
MASK[2:4, 1:3, 1:3] = True
Write = Callable[..., Path]

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
        ("S,,1,1,2,3,,,A nodule.,r.txt", "row 2 column report_text"),
    ],
)
def test_each_mistake_is_named_by_row_and_column(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_rois(write(tmp_path, row, header=HEADER + ",report_path" * row.endswith("r.txt")))


@pytest.mark.parametrize("header", ["lesion_id,x_mm,y_mm,z_mm", "study_uid,lesion_id,x_mm,y_mm"])
def test_missing_column_is_named(tmp_path: Path, header: str) -> None:
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(ManifestError, match=r"found (neither study_uid nor series_uid|no column 'z_mm')"):
        read_rois(write(tmp_path, row, header=header))


ARCHIVE = pd.DataFrame({"series_uid": ["1.1", "1.2", "2.1"], "study_uid": ["1", "1", "2"]})


def test_rows_go_to_the_study_that_they_or_their_series_name_and_others_are_passed_over(tmp_path: Path) -> None:
    path = write(
        tmp_path, "9,,z,1,2,3,,,", "2,,a,1,2,3,,4.5,A nodule.", ",1.2,b,4,5,6,,,", ",9.9,y,1,2,3,,,", "2,,c,7,8,9,,,"
    )
    lesions = lesions_by_study(read_rois(path), ARCHIVE)
    assert {study: [one.lesion_id for one in found] for study, found in lesions.items()} == {
        "2": ["a", "c"],
        "1": ["b"],
    }
    (first, last), (named,) = lesions["2"], lesions["1"]
    assert first.centre == (1, 2, 3) and first.diameter_mm == 4.5 and first.report.text == "A nodule."
    assert first.channels == {} and last.diameter_mm is None and last.report is None
    assert named.channels == {"image": "1.2"}


def test_a_lesion_has_the_report_that_its_row_names(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("x")
    rois = read_rois(write(tmp_path, "1,a,1,2,3,r.txt", header="study_uid,lesion_id,x_mm,y_mm,z_mm,report_path"))
    assert lesions_by_study(rois, ARCHIVE)["1"][0].report == (tmp_path / "r.txt").resolve()


def test_positions_of_which_none_is_in_the_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="found no row of a study in the archive"):
        lesions_by_study(read_rois(write(tmp_path, "9,,1,1,2,3,,,")), ARCHIVE)


def study_series(*rows: tuple[str, str, bool]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["series_uid", "frame_of_reference_uid", "is_volume"])


def test_lesion_of_a_seg_lies_on_the_series_it_names(tmp_path: Path, write_seg: Write) -> None:
    path = write_seg(tmp_path / "seg.dcm", [MASK], affine=np.eye(4))
    series = study_series(("2.25.10", "2.25.199", True), ("2.25.11", "2.25.199", True))
    (entry,) = lesions_of_objects([(path, SEG)], series)
    assert entry.refusal is None and entry.channels == {"image": "2.25.11"} and entry.centre == (2.5, 1.5, 1.5)


def test_series_of_the_same_space_stands_in_for_one_that_is_absent(tmp_path: Path, write_seg: Write) -> None:
    path = write_seg(tmp_path / "seg.dcm", [MASK], series="2.25.404")
    series = study_series(("2.25.10", "2.25.199", True), ("2.25.12", "2.25.5", True), ("2.25.13", "2.25.199", False))
    (entry,) = lesions_of_objects([(path, SEG)], series)
    assert entry.channels == {"image": "2.25.10"}


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (study_series(("2.25.11", "2.25.5", True)), "FrameOfReferenceUID"),
        (study_series(("2.25.10", "2.25.5", True)), "found 0 series"),
        (study_series(("2.25.8", "2.25.199", True), ("2.25.9", "2.25.199", True)), "found 2 series"),
    ],
)
def test_lesion_drawn_elsewhere_is_refused(tmp_path: Path, write_seg: Write, series, message: str) -> None:
    (entry,) = lesions_of_objects([(write_seg(tmp_path / "seg.dcm", [MASK]), SEG)], series)
    assert isinstance(entry.refusal, LesionPositionError) and message in str(entry.refusal)


def test_seg_wins_over_rtstruct_and_several_objects_are_told_apart(
    tmp_path: Path, write_seg: Write, write_rtstruct: Write
) -> None:
    point = write_rtstruct(tmp_path / "rs.dcm", [[("POINT", [[1.0, 2.0, 3.0]])]])
    series = study_series(("2.25.11", "2.25.199", True))
    assert [entry.centre for entry in lesions_of_objects([(point, RTSTRUCT)], series)] == [(-1.0, -2.0, 3.0)]
    (tmp_path / "c.dcm").write_bytes(b"broken")
    objects = [(write_seg(tmp_path / name, [MASK, MASK]), SEG) for name in ("b.dcm", "a.dcm")]
    entries = lesions_of_objects([(point, RTSTRUCT), *objects, (tmp_path / "c.dcm", SEG)], series)
    assert [entry.lesion_id for entry in entries] == ["1.1", "1.2", "2.1", "2.2", "3.object"]
    assert [entry.refusal is None for entry in entries] == [True] * 4 + [False]


def test_lesions_of_two_objects_are_told_apart(tmp_path: Path, write_seg: Write) -> None:
    objects = [(write_seg(tmp_path / name, [MASK]), SEG) for name in ("a.dcm", "b.dcm")]
    entries = lesions_of_objects(objects, study_series(("2.25.11", "2.25.199", True)))
    assert [entry.lesion_id for entry in entries] == ["1.1", "2.1"]


@pytest.mark.parametrize("others", [[], [("2.25.11", "2.25.199", True)]])
def test_a_series_that_is_named_need_be_a_volume_only_where_there_are_several(
    tmp_path: Path, write_seg: Write, others: list[tuple[str, str, bool]]
) -> None:
    path = write_seg(tmp_path / "seg.dcm", [MASK])
    (entry,) = lesions_of_objects([(path, SEG)], study_series(("2.25.11", "2.25.199", False), *others))
    assert entry.refusal is None and entry.channels == {"image": "2.25.11"}


def test_objects_without_a_lesion_give_none(tmp_path: Path, write_seg: Write) -> None:
    path = write_seg(tmp_path / "seg.dcm", [MASK], categories=["123037004"])
    assert lesions_of_objects([(path, SEG)], study_series(("2.25.11", "2.25.199", True))) == ()
