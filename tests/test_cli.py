from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml

from medfuse.cli import main
from medfuse.config import RunConfig

if TYPE_CHECKING:
    from conftest import Toy

HEAVY = {
    "torch",
    "monai",
    "lightning",
    "mlflow",
    "spacy",
    "captum",
    "sklearn",
    "matplotlib",
    "pydicom",
    "nibabel",
    "pandas",
}


def errors_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score"], "Missing argument 'INPUT'"),
        (["train", "--confg", "x"], "--confg"),
        (["nonsense"], "nonsense"),
        (["train", "--config", "absent.yaml", "--out", "x"], "absent.yaml: cannot be read"),
        (["evaluate", "--out", "x"], "found neither a run nor --predictions"),
        (["score", "absent", "--model", "absent", "--out", "x"], "model absent"),
        (["score", "absent", "--model", "models:/absent@candidate", "--out", "x"], "found no MLflow store"),
        (["explain", "absent", "--model", "runs:/0/model", "--out", "x"], "found no MLflow store"),
        (["tune", "--config", "absent.yaml", "--out", "x"], "absent.yaml: cannot be read"),
        (["sync", "absent"], "found no tracking.jsonl"),
        (["annotate", "absent.csv", "--out", "x.jsonl"], "found no such file"),
        (["annotate", "absent.csv", "--out", "x.jsonl", "--deidentify"], "found no text to be written"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    message = errors_of(capsys)
    assert message.startswith("error: ") and message.count("\n") == 1 and words in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    ["cohort", "index", "convert", "annotate", "train", "tune", "sync", "evaluate", "score", "explain", "models"],
)
def test_help_of_every_command_loads_nothing_heavy(command: str) -> None:
    code = f"import sys; from medfuse.cli import main; main(['{command}', '--help']); print(sorted(set(sys.modules) & {HEAVY}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout and done.stdout.rstrip().endswith("[]")


def test_models_lists_components_with_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    assert "small_cnn" in shown and "widths = (16, 32, 64)" in shown and "infonce" in shown


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from medfuse.errors import ConfigError

    with pytest.raises(ConfigError):
        main(["--debug", "train", "--config", str(tmp_path / "absent.yaml"), "--out", "x"])


def test_evaluate_of_a_table_writes_the_contract_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame({"case_id": [f"c{i}" for i in range(40)], "probability": [i / 40 for i in range(40)]})
    table["label"] = [int(i % 3 == 0 or i > 25) for i in range(40)]
    table.to_csv(tmp_path / "p.csv", index=False)
    assert main(["evaluate", "--predictions", str(tmp_path / "p.csv"), "--out", str(tmp_path / "out")]) == 0
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert files - {"report.pdf"} == {"report.html", "metrics.json", "predictions.csv"}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["n"] == 40


def test_index_of_an_archive_with_a_broken_series_ends_with_3(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 64)
    assert main(["index", str(archive), "--out", str(tmp_path / "index"), "--quiet"]) == 3
    assert (tmp_path / "index" / "refused.jsonl").read_text().count("\n") == 1


def test_annotate_writes_a_line_a_report_and_names_bad_rows_without_their_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.csv").write_text(
        'patient_id,report_text\nZZ1,Dr. Okonkwo saw a nodule.\nZZ2,"  "\nZZ3,"No mass, clear."\n'
    )
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    arguments = ["annotate", str(tmp_path / "r.csv"), "--column", "report_text", "--out", str(out)]
    assert main([*arguments, "--text", "--deidentify", "--html", str(page), "--shown", "9"]) == 3
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["row"], line["status"]) for line in lines] == [(2, "annotated"), (3, "refused"), (4, "annotated")]
    assert lines[0]["text"] == "Dr. [NAME] saw a nodule."
    assert "refused row 3: " in errors_of(capsys)
    written = out.read_text() + page.read_text()
    assert "ZZ" not in written and "Okonkwo" not in written and "<h2>Report 4</h2>" in written
    assert main(arguments) == 2 and "found a file that exists" in errors_of(capsys)
    assert main([*arguments, "--overwrite", "--quiet"]) == 3
    assert "saw a nodule" not in out.read_text()


def test_annotate_needs_no_model_s_packages(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("A nodule.")
    code = f"import sys; from medfuse.cli import main; main(sys.argv[1:]); print(sorted(set(sys.modules) & {HEAVY - {'pandas', 'pydicom'}}))"
    arguments = ["annotate", str(tmp_path / "r.txt"), "--out", str(tmp_path / "o.jsonl")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


def test_train_score_explain_and_evaluate_follow_one_another(
    toy: Toy, toy_config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(toy_config.model_dump(mode="json")))
    run, manifest = tmp_path / "runs" / "toy", str(toy.manifest.path)
    assert main(["train", "--config", str(config), "--out", str(run), "--set", "optim.epochs=2", "--quiet"]) == 0
    assert {p.name for p in run.iterdir()} >= {"config.resolved.yaml", "run.json", "history.csv", "predictions.parquet"}
    scores = tmp_path / "scores"
    model = ["--model", str(run / "model")]
    assert main(["score", manifest, *model, "--out", str(scores), "--quiet"]) == 0
    table = pd.concat(pd.read_parquet(part) for part in (scores / "predictions").glob("part-*.parquet"))
    assert len(table) == len(toy.manifest.frame) and set(table["status"]) == {"scored"}
    assert main(["evaluate", str(run), "--out", str(tmp_path / "evaluation")]) == 0
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert {"image", "text", "fused", "diameter", "lift"} <= set(metrics)
    one = tmp_path / "study"
    one.mkdir()
    source = toy.manifest.root / toy.manifest.frame["image_path"].iloc[0]
    (one / f"image{''.join(source.suffixes)}").write_bytes(source.read_bytes())
    pages = tmp_path / "pages"
    assert main(["explain", str(one), *model, "--out", str(pages), "--position", "centre"]) == 0
    assert [p.name for p in pages.glob("*/*")].count("report.html") == 1
    assert main(["explain", str(one), *model, "--out", str(pages)]) == 3
    shown = errors_of(capsys)
    assert "no lesion position" in shown and not [secret for secret in toy.secrets if secret in shown]


def test_a_search_s_best_config_trains_and_its_model_scores_by_its_uri(
    toy: Toy, toy_config: RunConfig, toy_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A store that is there already: making one takes seconds.
    store = tmp_path / "runs" / "mlflow.db"
    store.parent.mkdir()
    shutil.copy(toy_run.folder.parent / "mlflow.db", store)
    config, space = tmp_path / "config.yaml", tmp_path / "space.yaml"
    config.write_text(yaml.safe_dump(toy_config.model_dump(mode="json")))
    space.write_text("search: {optim.learning_rate: {low: 0.005, high: 0.05, log: true}}")
    out, short = tmp_path / "runs" / "search", ["--set", "optim.epochs=2", "--set", "name=tuned", "--quiet"]
    tune = ["tune", "--config", str(config), "--space", str(space), "--out", str(out), *short]
    assert main([*tune, "--trials", "1"]) == 0
    assert main([*tune, "--trials", "2"]) == 2, "without --resume"
    assert main([*tune, "--trials", "2", "--resume"]) == 0
    assert len(pd.read_csv(out / "trials.csv")) == 2
    run = tmp_path / "runs" / "best"
    assert main(["train", "--config", str(out / "best.yaml"), "--out", str(run), "--quiet"]) == 0
    assert main(["sync", str(run)]) == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    scores = tmp_path / "scores"
    model = ["--model", "models:/tuned@candidate"]
    assert main(["score", str(toy.manifest.path), *model, "--out", str(scores), "--quiet"]) == 0
    table = pd.concat(pd.read_parquet(part) for part in (scores / "predictions").glob("part-*.parquet"))
    assert set(table["model_id"]) == {json.loads((run / "run.json").read_text())["model_id"]}


def test_a_learning_rate_is_suggested(
    toy_config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "config.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump(toy_config.model_dump(mode="json")))
    assert main(["tune", "--config", str(config), "--out", str(out), "--learning-rate"]) == 0
    assert "suggested: optim.learning_rate=" in errors_of(capsys)
    assert [path.name for path in out.iterdir()] == ["learning_rate.csv"]


def test_the_shell_completes_commands() -> None:
    environment = {**os.environ, "_MEDFUSE_COMPLETE": "complete_bash", "COMP_WORDS": "medfuse eval", "COMP_CWORD": "1"}
    code = "from medfuse.cli import main; raise SystemExit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["evaluate"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/home/SMITH"), "No space left on device; expected"),
        (MemoryError(), "memory does not suffice; expected"),
        (ZeroDivisionError("SMITH"), "an unforeseen ZeroDivisionError; expected none: see it with --debug"),
    ],
)
def test_an_error_that_nobody_foresaw_is_one_line_without_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    def fails(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("medfuse.doctor.examine", fails)
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: checking.py line ") and said in shown
    assert shown.count("\n") == 1 and "SMITH" not in shown
    with pytest.raises(type(error)):
        main(["doctor", "--debug"])
