from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import benchmark_evaluation as benchmark


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "SIZES": (50, 100),
        "AREAS": (0.9, 0.95),
        "PREVALENCES": (0.2,),
        "PROMISED": (0.9,),
        "N_SCORES": 2000,
        "N_TRUE": 20_000,
    }
    for name, value in {**small, "N_RESAMPLES": 20}.items():
        monkeypatch.setattr(benchmark, name, value)


def test_page_and_rows_say_what_was_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "evaluation.json", tmp_path / "docs" / "coverage.md"
    arguments = ["--out", str(out), "--page", str(page), "--repeats", "20", "--rounds", "1"]
    code = benchmark.main(arguments)
    rows = json.loads(out.read_text())
    assert len(rows) == 5 and all({"name", "ours", "theirs", "ratio", "unit", "command"} <= set(row) for row in rows)
    assert code == int(bool(capsys.readouterr().err))  # 20 draws may miss an aim, and then say so
    text = page.read_text()
    assert text.count("\n## ") == 5
    assert "| 100 | 0.9 |" in text and "| of new patients | 1000 | 0.90 |" in text


def test_a_missed_aim_is_named_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [benchmark.AreaCell(100, 0.9, 0.2, 0.85, 0.9), benchmark.AreaCell(50, 0.95, 0.2, 0.8, 0.9)]
    monkeypatch.setattr(benchmark, "area_cells", lambda repeats: iter(cells))
    monkeypatch.setattr(benchmark, "set_cells", lambda repeats: [benchmark.SetCell("of new patients", 400, 0.9, 0.88)])
    for name in ("clustered_cells", "interval_cells"):
        monkeypatch.setattr(benchmark, name, lambda repeats: [])
    monkeypatch.setattr(benchmark, "figure_cells", lambda repeats: {})
    assert benchmark.main(["--out", str(tmp_path / "e.json"), "--page", str(tmp_path / "c.md"), "--rounds", "1"]) == 1
    said = capsys.readouterr().err
    assert "logit-DeLong at (100, 0.9, 0.2)" in said and "(50, 0.95" not in said
    assert "sets at ('of new patients', 400, 0.9)" in said
