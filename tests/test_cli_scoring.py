"""The command `medfuse score`, its options one by one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medfuse.cli import main
from medfuse.io import SeriesIdentity, read_volume, write_dicom_series
from medfuse.types import Volume


@pytest.fixture
def command(toy: Any, toy_bundle: Path, tmp_path: Path) -> list[str]:
    """What every call has."""
    rows = toy.manifest.frame.head(6)
    folder = tmp_path / "study"
    folder.mkdir()
    for name in rows["image_path"]:
        (folder / name).write_bytes((toy.manifest.root / name).read_bytes())
    rows.to_csv(folder / "manifest.csv", index=False)
    arguments = ["--model", str(toy_bundle), "--out", str(tmp_path / "out"), "--quiet"]
    return ["score", str(folder / "manifest.csv"), *arguments]


def table_of(out: Path) -> pd.DataFrame:
    parts = pd.concat(pd.read_parquet(part) for part in (out / "predictions").glob("part-*.parquet"))
    return parts.sort_values("study_key", ignore_index=True)


def test_a_finished_run_is_answered_without_looking_at_the_model(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(command) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    monkeypatch.setattr("medfuse.cli.scoring.load_predictor", None)
    assert main(command) == 0
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_a_finished_run_imports_no_torch(command: list[str]) -> None:
    assert main(command) == 0
    code = f"import sys; from medfuse.cli import main; assert main({command!r}) == 0; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_refused_studies_are_tried_again_from_the_folder_alone(command: list[str], tmp_path: Path) -> None:
    image = next((tmp_path / "study").glob("image0.nii.gz"))
    whole = image.read_bytes()
    image.write_bytes(whole[:500])
    assert main(command) == 3
    assert main(command) == 3  # a finished run says again what it refused
    image.write_bytes(whole)
    assert main(["score", "--retry-refused", str(tmp_path / "out"), "--quiet"]) == 0
    assert set(table_of(tmp_path / "out")["status"]) == {"scored"}


def test_status_and_export_need_the_folder_alone(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    assert main(["score", "--status", str(tmp_path / "out"), "--export", str(tmp_path / "all.jsonl")]) == 0
    assert "finished: 6 studies done of 6, 0 left" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert {line["study_key"] for line in lines} == set(table_of(tmp_path / "out")["study_key"])


def test_parts_make_one_whole(command: list[str], tmp_path: Path) -> None:
    for number in (0, 1):
        assert main([*command, "--num-parts", "2", "--part-id", str(number)]) == 0
    assert len(table_of(tmp_path / "out")) == 6
    assert json.loads((tmp_path / "out" / "run.json").read_text())["state"] == "finished"


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--dry-run"]) == 0
    assert "6 studies: 0 done, 6 to score" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_explain_writes_pages_for_what_somebody_should_look_at(
    command: list[str], toy_predictor: Any, tmp_path: Path
) -> None:
    from medfuse.scoring.pages import wants_page

    assert main([*command, "--explain"]) == 0
    rows = table_of(tmp_path / "out").to_dict("records")
    wanted = {f"{row['study_key']}-{row['lesion_id']}" for row in rows if wants_page(row, toy_predictor.bundle)}
    assert {folder.name for folder in (tmp_path / "out" / "explanations").iterdir()} == wanted
    assert wanted


def test_dicom_writes_results_of_every_scored_case_once(command: list[str], toy: Any, tmp_path: Path) -> None:
    import pydicom

    manifest = tmp_path / "study" / "manifest.csv"
    rows = pd.read_csv(manifest, dtype=str).head(2)
    for number, name in enumerate(rows["image_path"]):
        volume = read_volume(tmp_path / "study" / name)
        identity = SeriesIdentity("SMITH", f"1.2.3.{number}", f"1.2.3.{number}.1", f"1.2.3.{number}.2")
        whole = Volume(np.rint(volume.voxels), volume.affine, "HU")
        write_dicom_series(whole, tmp_path / "study" / f"series{number}", identity=identity)
    rows["image_path"] = ["series0", "series1"]
    rows.to_csv(manifest, index=False)
    assert main([*command, "--dicom"]) == 0
    folders = sorted((tmp_path / "out" / "explanations").iterdir())
    scored = {f"{row['study_key']}-{row['lesion_id']}" for row in table_of(tmp_path / "out").to_dict("records")}
    assert {folder.name for folder in folders} == scored and len(folders) == 2
    assert {pydicom.dcmread(folder / "sr.dcm").StudyInstanceUID for folder in folders} == {"1.2.3.0", "1.2.3.1"}
    before = {folder: (folder / "sr.dcm").stat().st_mtime_ns for folder in folders}
    assert main([*command, "--dicom"]) == 0
    assert {folder: (folder / "sr.dcm").stat().st_mtime_ns for folder in folders} == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--num-parts", "2", "--part-id", "2"], "--part-id: found 2 of 2 parts"),
        (["--workers", "2", "--scheduler", "tcp://host:1"], "--workers: found a --scheduler too"),
        (["--study-limit", "soon"], "duration: found 'soon'"),
        (["--export", "x.xlsx"], "--export: found '.xlsx'"),
    ],
)
def test_options_that_make_no_sense_are_named(
    command: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *more]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score"], "Missing argument 'INPUT'"),
        (["score", "x"], "Missing option '--model'"),
        (["score", "x", "--model", "m"], "Missing option '--out'"),
        (["score", "--status", "nowhere"], "found no run.json"),
        (["score", "--retry-refused", "nowhere"], "found no memory of that run"),
    ],
)
def test_what_is_missing_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
