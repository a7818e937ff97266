from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medfuse.cli import main
from medfuse.data.manifest_check import ManifestCheck, check_manifest
from medfuse.io import read_manifest, write_nifti
from medfuse.types import Volume

REPORT = "FINDINGS: A nodule of {n} mm in the right upper lobe, of smooth margin and without calcification."


def table(folder: Path, n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(n):
        write_nifti(Volume(rng.normal(size=(2, 3, 4)).astype(np.float32), np.eye(4)), folder / f"{number}.nii")
        rows.append(
            {
                "patient_id": f"P{number}", "study_uid": f"1.2.{number}", "image_path": f"{number}.nii",
                "report_text": REPORT.format(n=number), "fold": str(number % 2),
                "label_finding": ("benign", "malignant", "")[number % 3], "age": str(40 + number % 7),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def check(frame: pd.DataFrame, folder: Path) -> ManifestCheck:
    frame.to_csv(folder / "manifest.csv", index=False)
    return check_manifest(read_manifest(folder / "manifest.csv"))


def found_in(frame: pd.DataFrame, folder: Path) -> list[tuple[str, str, str]]:
    return [(one.kind, one.where, one.found) for one in check(frame, folder).problems]


def test_a_sound_manifest_is_counted_and_has_no_errors(tmp_path: Path) -> None:
    found = check(table(tmp_path, 80), tmp_path)
    assert (found.n_patients, found.n_studies, found.n_cases) == (80, 80, 80)
    assert found.labels == {"label_finding": {"benign": 27, "malignant": 27, "unknown": 26}}
    assert found.problems == ()


def test_a_patient_in_two_folds_is_an_error_named_by_rows_alone(tmp_path: Path) -> None:
    frame = table(tmp_path, 80)
    frame.loc[[3, 4], "patient_id"] = "Secret"
    (problem,) = found_in(frame, tmp_path)
    assert problem == ("error", "rows 5, 6", "found a patient in 2 folds or splits; expected one")


@pytest.mark.parametrize(("rows", "kind"), [([0, 1], "error"), ([0, 2], "warning")])
def test_one_image_under_two_patients_is_found_by_its_content(tmp_path: Path, rows: list[int], kind: str) -> None:
    frame = table(tmp_path, 80)
    (tmp_path / f"{rows[1]}.nii").write_bytes((tmp_path / f"{rows[0]}.nii").read_bytes())
    (problem,) = found_in(frame, tmp_path)
    assert problem[0] == kind and problem[2].startswith("found one image under several patients")


def test_one_report_under_patients_of_two_folds_is_a_warning(tmp_path: Path) -> None:
    frame = table(tmp_path, 80)
    frame.loc[7, "report_text"] = frame.loc[0, "report_text"]
    assert [where for kind, where, _ in found_in(frame, tmp_path) if kind == "warning"] == ["rows 2, 9"]


def test_a_report_on_disk_is_compared_too_and_may_name_its_class(tmp_path: Path) -> None:
    frame = table(tmp_path, 80)
    (tmp_path / "r.txt").write_text("IMPRESSION: Malignant until proven otherwise.")
    frame["report_path"] = ""
    frame.loc[5, ["report_path", "report_text"]] = ["r.txt", ""]
    (problem,) = found_in(frame, tmp_path)
    assert problem[1] == "label_finding" and problem[2].startswith("1 reports hold the name of class 'malignant'")


def test_columns_that_the_label_made_are_named(tmp_path: Path) -> None:
    frame = table(tmp_path, 80)
    frame["biopsy"] = frame["label_finding"].map({"benign": "none", "malignant": "done", "": "none"})
    frame["score"] = np.where(frame["label_finding"] == "malignant", 9, 1) + np.arange(80) / 80
    assert {where for _, where, _ in found_in(frame, tmp_path)} == {"biopsy", "score"}


def test_a_label_with_one_class_is_an_error_and_few_cases_a_warning(tmp_path: Path) -> None:
    frame = table(tmp_path, 40)
    frame["label_same"] = "yes"
    problems = found_in(frame, tmp_path)
    assert ("error", "label_same", "found 1 classes; expected 2 or more") in problems
    assert any(kind == "warning" and "fold or split 0: 'benign' 7" in found for kind, _, found in problems)


def test_the_command_names_what_it_found_and_no_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = table(tmp_path, 80)
    assert not found_in(frame, tmp_path)
    assert main(["check", str(tmp_path / "manifest.csv")]) == 0
    frame.loc[[3, 4], "patient_id"] = "Secret"
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    assert main(["check", str(tmp_path / "manifest.csv")]) == 3
    shown = capsys.readouterr().err
    assert "error: manifest.csv: rows 5, 6: found a patient in 2 folds" in shown and "Secret" not in shown
    assert main(["check", str(tmp_path / "nothing.csv")]) == 2


def test_a_class_of_one_case_is_an_error_named_by_its_row_alone(tmp_path: Path) -> None:
    frame = table(tmp_path, 80)
    frame.loc[6, "label_finding"] = "Secret"
    found = found_in(frame, tmp_path)
    assert found[0] == (
        "error",
        "row 8",
        "found a class of one case alone in label_finding; expected a class of the target",
    )
    assert "found few cases of a class in fold or split 0: 'Secret'" not in str(found[0])


def test_the_only_target_may_have_the_column_label(tmp_path: Path) -> None:
    frame = table(tmp_path, 80).rename(columns={"label_finding": "label"})
    assert check(frame, tmp_path).labels == {"label": {"benign": 27, "malignant": 27, "unknown": 26}}
    assert check(frame, tmp_path).problems == ()


@pytest.mark.parametrize(("column", "kind"), [("lable", "error"), ("Label", "error"), ("notes", "warning")])
def test_a_slip_in_the_name_of_the_label_is_an_error_and_none_is_a_warning(
    tmp_path: Path, column: str, kind: str
) -> None:
    (problem,) = found_in(table(tmp_path, 80).rename(columns={"label_finding": column}), tmp_path)
    assert problem[:2] == (kind, "columns")
    assert problem[2].startswith(f"found column {column!r}" if kind == "error" else "found no label_<target>")


def test_rows_that_a_training_would_refuse_are_named_by_what_is_wrong(tmp_path: Path) -> None:
    frame = table(tmp_path, 80).assign(roi_x_mm="1", roi_y_mm="1", roi_z_mm="1", report_path="", mask_path="")
    (tmp_path / "folder").mkdir()
    (tmp_path / "0.nii").write_bytes(b"no image")
    frame.loc[[4, 6], "image_path"] = "folder"
    frame.loc[8, "roi_x_mm"] = "900"
    frame.loc[10, ["report_text", "report_path"]] = "", "folder"
    frame.loc[12, ["mask_path", "roi_x_mm", "roi_y_mm", "roi_z_mm"]] = "0.nii", "", "", ""
    found = {where: said for kind, where, said in found_in(frame, tmp_path) if kind == "error"}
    assert found.keys() == {"rows 2, 14", "rows 6, 8", "row 10", "row 12"}
    assert "NIfTI" in found["rows 2, 14"] and "found no image" in found["rows 6, 8"]
    assert "outside the image" in found["row 10"] and "report" in found["row 12"]
