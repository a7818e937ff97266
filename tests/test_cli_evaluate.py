"""`medfuse evaluate` from a run, a table, a model on other cases, and several at once."""

from __future__ import annotations

import csv
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medfuse.cli import main

HOSTILE = "<script>alert(1)</script>{{ 7*7 }}"
FORMULA = '=HYPERLINK("http://x","y")'


def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture
def run(toy_run: Any, tmp_path: Path) -> Path:
    """A copy, so that looks at it are counted there alone."""
    return Path(shutil.copytree(toy_run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")))


def predictions(path: Path, *, target: str = "", n: int = 60, seed: int = 0, **columns: Any) -> Path:
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    table = pd.DataFrame({"case_id": [f"c{i}" for i in range(n)], "label": label, "target": target})
    table["probability"] = np.clip(rng.normal(0.35 + 0.25 * label, 0.2), 0, 1)
    table.assign(**columns).to_csv(path, index=False)
    return path


def test_a_run_gets_its_page_pictures_and_flow(run: Path, toy: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", str(run), "--out", str(out), "--quiet"]) == 0
    text = page(out)
    assert "36 cases of 36 studies and 24 patients" in text
    assert "have been computed: 2" in text and json.loads((run / "test_looks.json").read_text()) == {"looks": 2}
    assert set(metrics(out)) >= {"image", "text", "fused", "diameter", "lift", "n", "n_positive", "subgroups"}
    assert [factor["column"] for factor in metrics(out)["subgroups"]] == ["diameter_mm", "site"]
    everything = b"".join(file.read_bytes() for file in out.iterdir())
    assert not [secret for secret in toy.secrets if secret.encode() in everything]


def test_reports_are_shown_only_when_asked_for(run: Path, toy: Any, tmp_path: Path, names: Any) -> None:
    key = tmp_path / "key"  # the toy run's cases were named by another key than the user's own
    key.write_text(names.key.hex())
    key.chmod(0o600)
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    for out, options in ((shown, ["--include-text"]), (hidden, [])):
        command = ["evaluate", str(run), "--out", str(out), "--key-file", str(key), "--quiet", *options]
        assert main(command) == 0
    wrong = page(hidden).count("data:image/png")
    if not wrong:
        pytest.fail("the toy model makes no mistake: nothing is tested")
    assert "margin in the" in page(shown)
    assert "margin in the" not in page(hidden)
    assert "SMITH" not in page(shown)


def test_another_manifest_than_the_run_s_shows_no_picture(run: Path, toy: Any, tmp_path: Path) -> None:
    other = tmp_path / "manifest.csv"
    other.write_bytes(toy.manifest.path.read_bytes() + b"\n")
    assert main(["evaluate", str(run), "--out", str(tmp_path / "out"), "--manifest", str(other), "--quiet"]) == 0
    assert "data:image/png" not in page(tmp_path / "out")


def test_a_model_is_tested_on_another_site_s_cases(toy_run: Any, toy: Any, tmp_path: Path) -> None:
    frame = pd.read_csv(toy.manifest.path, dtype=str, keep_default_na=False)
    for name in frame["image_path"]:
        if name:
            shutil.copy(toy.manifest.path.parent / name, tmp_path / name)
    frame["patient_id"], frame["study_uid"] = "OTHER-" + frame["patient_id"], "2." + frame["study_uid"]
    (tmp_path / frame.loc[0, "image_path"]).write_bytes(b"no image")
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    out = tmp_path / "out"
    command = ["evaluate", "--model", str(toy_run.folder / "model"), "--manifest", str(tmp_path / "manifest.csv")]
    assert main([*command, "--out", str(out), "--language", "zh", "--quiet"]) == 3
    text = page(out)
    assert "另一份清单" in text and "36 个病例" in text
    assert "曾用于训练该模型" in text  # the images are those of the training, whatever they are called
    assert metrics(out)["operating_points"]["fused"][0]["rule"]["criterion"] == "given"
    assert metrics(out)["n_folds"] == 1


def test_several_runs_stand_on_one_page(run: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(run / "predictions.parquet")
    table["condition"] = table["condition"].replace({"image": "fused", "fused": "image"})
    table.to_parquet(tmp_path / "swapped.parquet")
    out = tmp_path / "out"
    assert (
        main(["evaluate", "--compare", str(run), str(tmp_path / "swapped.parquet"), "--out", str(out), "--quiet"]) == 0
    )
    found = metrics(out)["models"]
    assert found["run"]["against"] is None
    test = pd.read_parquet(run / "predictions.parquet").query("split == 'test' and `class` == 'positive'")
    assert "swapped" in page(out) and found["swapped"]["against"]["n"] == test["case_id"].nunique()
    assert json.loads((run / "test_looks.json").read_text())["looks"] == 2


def test_readers_of_the_test_cases_are_set_beside_the_model(run: Path, tmp_path: Path, capsys: Any) -> None:
    test = pd.read_parquet(run / "predictions.parquet").query("split == 'test'").drop_duplicates("case_id")
    truth = (test["label"] == "positive").to_numpy()
    rng = np.random.default_rng(0)
    readings = {f"reader {k}": 1 + 4 * np.where(rng.random(len(test)) < 0.1, ~truth, truth) for k in range(3)}
    pd.DataFrame({"case_id": test["case_id"].to_numpy(), **readings}).to_csv(tmp_path / "r.csv", index=False)
    command = ["evaluate", str(run), "--out", str(tmp_path / "out"), "--readings", str(tmp_path / "r.csv"), "--quiet"]
    assert main([*command, "--middle", "3"]) == 0
    found = metrics(tmp_path / "out")["readers"]
    assert found["n_readers"] == 3 and 0 < found["ceiling"]["value"] < 1
    assert "What readers reach" in page(tmp_path / "out")
    assert f"{found['model']['value']:.3f}" in page(tmp_path / "out")


def test_one_configuration_on_more_and_more_cases_is_a_learning_curve(run: Path, tmp_path: Path) -> None:
    fewer = Path(shutil.copytree(run, tmp_path / "fewer"))
    facts = json.loads((fewer / "cohort.json").read_text())
    facts["parts"]["train"]["cases"] -= 6
    (fewer / "cohort.json").write_text(json.dumps(facts))
    out = tmp_path / "out"
    assert main(["evaluate", "--compare", str(run), str(fewer), "--out", str(out), "--quiet"]) == 0
    curve = metrics(out)["learning_curve"]
    assert curve["sizes"][1] - curve["sizes"][0] == 6
    assert "Labelled training cases" in page(out)
    assert main(["evaluate", "--compare", str(run), str(run), "--out", str(out), "--quiet"]) == 0
    assert "learning_curve" not in metrics(out)


def test_one_target_of_several_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [pd.read_csv(predictions(tmp_path / f"{name}.csv", target=name, seed=k)) for k, name in enumerate("ab")]
    pd.concat(parts).to_csv(tmp_path / "p.csv", index=False)
    command = ["evaluate", "--predictions", str(tmp_path / "p.csv"), "--quiet", "--out"]
    assert main([*command, str(tmp_path / "both")]) == 0
    assert set(metrics(tmp_path / "both")["targets"]) == {"a", "b"}
    assert main([*command, str(tmp_path / "one"), "--target", "b"]) == 0
    assert metrics(tmp_path / "one")["target"] == "b"
    assert main([*command, str(tmp_path / "none"), "--target", "c"]) == 2
    assert "--target: found no 'c'; expected one of 'a', 'b'" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_hostile_text_stays_text_in_every_file(tmp_path: Path) -> None:
    path = predictions(tmp_path / "p.csv", target=HOSTILE, condition=HOSTILE, site=[FORMULA, HOSTILE] * 30)
    table = pd.read_csv(path)
    table["case_id"] = [f"{FORMULA}{i}" if i % 2 else f"{HOSTILE}{i}" for i in range(len(table))]
    table.to_csv(path, index=False)
    out = tmp_path / "out"
    assert main(["evaluate", "--predictions", str(path), "--out", str(out), "--title", HOSTILE, "--quiet"]) == 0
    assert "<script" not in page(out) and "&lt;script&gt;alert(1)" in page(out) and "{{ 7*7 }}" in page(out)
    assert metrics(out)["target"] == HOSTILE
    rows = list(csv.DictReader((out / "predictions.csv").read_text(encoding="utf-8").splitlines()))
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    assert rows[1]["case_id"] == f"'{FORMULA}1"
    if (out / "report.pdf").exists():
        assert not set(pdf_actions(out / "report.pdf")) & {b"/JavaScript", b"/JS", b"/Launch", b"/URI"}


def pdf_actions(path: Path) -> list[bytes]:
    """Return the names of actions in a PDF, its compressed parts opened."""
    data = path.read_bytes()
    opened = [data]
    for part in data.split(b"stream\n")[1:]:
        try:
            opened.append(zlib.decompressobj().decompress(part))
        except zlib.error:
            continue
    return [name for name in (b"/JavaScript", b"/JS", b"/Launch", b"/URI") if any(name in text for text in opened)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN", "--predictions", "p.csv"], "found more than one source"),
        (["RUN", "RUN"], "found 2 runs; expected one, or --compare"),
        (["--model", "m"], "found no --manifest"),
        (["--compare", "RUN"], "found 1 runs; expected two or more"),
        (["RUN", "--language", "fr"], "found 'fr'; expected one of en, zh"),
        (["absent"], "found no readable run.json"),
    ],
)
def test_wrong_use_is_named(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *arguments, "--out", "out"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("label", "probability", "words"),
    [([1, 1, 1], [0.1, 0.2, 0.3], "3 positive and 0 negative"), ([0, 1, 0], ["x", 0.2, 0.3], "probability")],
)
def test_what_cannot_be_evaluated_is_one_clear_line(
    label: list[int], probability: list[Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"case_id": list("abc"), "label": label, "probability": probability})
    table.to_csv(tmp_path / "p.csv", index=False)
    assert main(["evaluate", "--predictions", str(tmp_path / "p.csv"), "--out", str(tmp_path / "out")]) in (1, 2)
    message = capsys.readouterr().err
    assert message.startswith("error: ") and words in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()
