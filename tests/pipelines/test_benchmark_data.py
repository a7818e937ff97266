from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import benchmark_data


@pytest.mark.slow
def test_every_comparison_is_a_row_that_can_be_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_data, "SHAPE", (132, 154, 130))
    monkeypatch.setattr(benchmark_data, "GROWTH_ROUNDS", 1)
    out = tmp_path / "data.json"
    arguments = ["--out", str(out), "--boxes", "20", "--scale", "20", "40", "--rounds", "1", "--work", str(tmp_path)]
    with pytest.warns(UserWarning, match="NvImgCodec"):  # from MONAI's reader
        assert benchmark_data.main(arguments) in (0, 1)
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    assert len(rows) == 14
    assert all({"name", "ours", "theirs", "ratio", "unit", "command"} <= set(row) for row in rows.values())
    assert capsys.readouterr().out.count("\n") == 14
    (difference,) = (row for name, row in rows.items() if "SimpleITK" in name)
    assert 0 < difference["ours"] < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]


def test_a_row_of_rates_grows_with_ours_and_one_of_times_with_theirs() -> None:
    assert benchmark_data.rate_row("", 30.0, 10.0, aim=2)["ratio"] == 3
    assert benchmark_data.row("", 10.0, 30.0, aim=2)["ratio"] == 3


def test_a_missed_aim_is_told_by_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [benchmark_data.row("a", 1.0, 2.0, aim=2), benchmark_data.row("b", 1.0, 9.0, aim=0)]
    assert benchmark_data.show(rows) == 0
    assert benchmark_data.show([*rows, benchmark_data.row("c", 1.0, 2.0, aim=3)]) == 1
    assert "(aim 3)" in capsys.readouterr().out
