import json
from pathlib import Path

import pytest

from pipelines import benchmark_explain as benchmark

ROOT = Path(__file__).resolve().parents[2]


def test_every_comparison_is_a_row_that_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("model.image_encoder={name: small_cnn, widths: [4, 4]}", "optim.epochs=1")
    tiny = benchmark.Kind("tiny", 16, settings, 24, {"n_steps": 4, "precision": "bfloat16"}, 8.0, 8)
    monkeypatch.setattr(benchmark, "KINDS", {"resnet18": tiny})
    monkeypatch.setattr(benchmark, "CONFIG", ROOT / "configs" / "lidc.yaml")
    monkeypatch.setattr(
        benchmark, "measured", lambda work, what, model, side, threads: benchmark.measure(work, what, model, side)
    )
    out = tmp_path / "explain.json"
    arguments = ["--out", str(out), "--work", str(tmp_path), "--rounds", "1", "--models", "resnet18"]
    assert benchmark.main(arguments) in (0, 1)
    rows = json.loads(out.read_text())
    # Of integrated gradients also memory, agreement, the default's speed, and what either misses.
    assert len(rows) == 2 * len(benchmark.METHODS) + 2 + 3 + 3 + 2
    assert all({"name", "ours", "theirs", "ratio", "unit", "command"} <= set(row) for row in rows)
    assert sum("aim" in row for row in rows) == 3 + 3 + 2
    assert capsys.readouterr().out.count("\n") == len(rows)
