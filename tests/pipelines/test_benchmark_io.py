from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medfuse.io import index_archive
from pipelines import benchmark_io


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLICES": 12, "SIZE": 24, "ARCHIVE_SIZE": 8, "SLICES_A_SERIES": 4, "BOX_MM": 4.0}.items():
        monkeypatch.setattr(benchmark_io, name, value)


def test_every_comparison_is_a_row_that_can_be_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "io.json"
    arguments = ["--out", str(out), "--files", "8", "--scale", "8", "16", "--rounds", "1", "--work", str(tmp_path)]
    assert benchmark_io.main(arguments) in (0, 1)
    rows = json.loads(out.read_text())
    assert len(rows) == 6 and all({"name", "ours", "theirs", "ratio", "unit", "command"} <= set(row) for row in rows)
    assert capsys.readouterr().out.count("\n") == 6
    assert [path.name for path in tmp_path.iterdir()] == ["io.json"]


def test_archive_holds_as_many_series_as_it_says(tmp_path: Path) -> None:
    benchmark_io.write_archive(tmp_path / "archive", n_files=24)
    index = index_archive(tmp_path / "archive")
    assert index.series["study_uid"].nunique() == 3 and index.series["n_files"].tolist() == [4] * 6
    assert index.series["is_volume"].all() and index.refused.empty
    files = [pydicom.dcmread(path) for path in (tmp_path / "archive").rglob("*.dcm")]
    assert len({dataset.SOPInstanceUID for dataset in files}) == 24
    assert benchmark_io.scan_pydicom(tmp_path / "archive") == 24


def test_other_voxels_are_not_compared() -> None:
    with pytest.raises(SystemExit, match="other voxels"):
        benchmark_io.check_equal(np.zeros(3), np.ones(3))


def test_missed_aim_is_shown_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_io.show([benchmark_io.row("slow", 2.0, 1.0, aim=2)]) == 1
    assert benchmark_io.show([benchmark_io.row("fast", 1.0, 3.0, aim=2)]) == 0
    assert "x3.0 (aim 2)" in capsys.readouterr().out
