from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from medfuse.models.dropout import Dropout
from pipelines import benchmark_training as benchmark

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"name": "resnet18", "width": 4}
    models = {"default": ("the default", None, 8, 4), "resnet18_small": ("a small resnet18", small, 16, 4)}
    for name, value in {"CONFIG": ROOT / "configs" / "lidc.yaml", "MODELS": models, "N_VALIDATION": 8}.items():
        monkeypatch.setattr(benchmark, name, value)


def in_this_process(what: str, *arguments: str, side: str, threads: int) -> benchmark.Figures:
    return benchmark.MEASURES[what](*arguments)


def test_every_comparison_is_a_row_that_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "measured", in_this_process)
    monkeypatch.setattr(benchmark, "bfloat16_peak", lambda device: 1e9)
    out = tmp_path / "training.json"
    arguments = ["--out", str(out), "--rounds", "1", "--steps", "2", "--models", "default", "--scale", "8", "16"]
    assert benchmark.main(arguments) in (0, 1)
    rows = json.loads(out.read_text())
    assert len(rows) == 11 and all({"name", "ours", "theirs", "ratio", "unit", "command"} <= set(row) for row in rows)
    assert all(row["ours"] > 0 for row in rows)
    assert capsys.readouterr().out.count("\n") == 11


def test_each_side_is_measured_in_a_process_with_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    started = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> object:
        started.append((command, env))
        return type("Done", (), {"returncode": 0, "stdout": 'noise\n{"ms": 1.0}\n'})

    monkeypatch.setattr(benchmark.subprocess, "run", run)
    for side in ("medfuse", "eager"):
        assert benchmark.measured("step", "default", side, "1", side=side, threads=1) == {"ms": 1.0}
    (ours, our_settings), (theirs, their_settings) = started
    assert "prepare_process" in ours[2] and "prepare_process" not in " ".join(theirs)
    assert not any(name.startswith("MALLOC_") for name in (*our_settings, *their_settings))


def test_the_other_side_has_none_of_our_measures() -> None:
    ours, our_batch = benchmark.make_step("default", side="medfuse")
    theirs, their_batch = benchmark.make_step("default", side="eager")
    assert our_batch.image_features.shape[1] and not their_batch.image_features.shape[1]
    assert not any(isinstance(part, Dropout) for part in theirs.module.model.modules())
    assert torch.equal(our_batch.image, their_batch.image)
    weights = zip(ours.module.model.parameters(), theirs.module.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_missed_aim_is_shown_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.show([benchmark.row("slow", 2.0, 1.0, aim=2)]) == 1
    assert benchmark.show([benchmark.row("fast", 1.0, 3.0, aim=2)]) == 0
    assert "x3.0 (aim 2)" in capsys.readouterr().out
