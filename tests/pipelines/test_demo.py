from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from pipelines import demo


@pytest.mark.slow
def test_demo_goes_from_data_to_pages_and_reuses_what_is_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDFUSE_CONFIG_DIR", str(tmp_path / "config"))
    out = tmp_path / "demo"
    arguments = ["--out", str(out), "--set", "optim.epochs=2"]
    assert demo.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "fused minus" in shown and "largest difference" in shown
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    assert {"image", "text", "fused", "diameter", "one_hot_scores", "prevalence", "lift"} <= set(metrics)
    assert len(list(out.glob("explanations/*/report.html"))) >= 1
    table = pd.concat(pd.read_parquet(part) for part in (out / "scores" / "predictions").glob("part-*.parquet"))
    assert not table.duplicated(["study_key", "lesion_id"]).any()
    written = b"".join(
        p.read_bytes()
        for p in out.rglob("*")
        if p.is_file() and "cohort" not in p.parts and "archive" not in p.parts and p.name != "rois.csv"
    )
    assert b"LIDC-IDRI-0" not in written and b"1.3.6.1.4.1.14519" not in written
    models = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/model/weights.safetensors")}
    assert demo.main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in models} == models
