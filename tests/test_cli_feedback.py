"""`medfuse feedback`: from a reader's form to a label that trains, and never tests."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medfuse.cli import main
from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.io import load_pseudonymizer, read_manifest
from medfuse.training.parts import split_cases


def fill(folder: Path, **view: str) -> dict[str, Any]:
    """Write into a case's form, as a reader does with an editor."""
    form: dict[str, Any] = json.loads((folder / "feedback.json").read_text())
    (folder / "feedback.json").write_text(json.dumps({**form, **view}, indent=2))
    return form


@pytest.fixture
def manifest(toy: Any, tmp_path: Path) -> Path:
    """Four studies, the first three unlabelled; the second tests."""
    rows = toy.manifest.frame.head(4).copy()
    for name in rows["image_path"]:
        shutil.copy(toy.manifest.root / name, tmp_path / name)
    rows.loc[rows.index[:3], "label_malignancy"] = ""
    rows = rows.drop(columns="fold").assign(split=["train", "test", "train", "train"])
    rows.to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path / "manifest.csv"


def test_a_reader_s_view_becomes_a_label_that_only_trains(
    manifest: Path,
    toy_bundle: Path,
    toy_config: RunConfig,
    toy_cases: tuple[Case, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pages, views, joined = tmp_path / "pages", tmp_path / "views.csv", tmp_path / "labelled.csv"
    assert main(["explain", str(manifest), "--model", str(toy_bundle), "--out", str(pages)]) == 0
    before = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    names = load_pseudonymizer()
    folders = [pages / f"{names.study(uid)}-1" for uid in before["study_uid"]]
    called = fill(folders[0], view="Disagree", reader="AB", comment="=smooth")["called"]
    fill(folders[1], view="agree")  # it tests
    fill(folders[2], view="cannot tell")
    fill(folders[3], label="positive")  # it has a label
    arguments = ["feedback", str(pages), "--out", str(views), "--manifest", str(manifest), "--joined", str(joined)]
    assert main(arguments) == 0
    told = capsys.readouterr().err
    assert "1 labels joined, for training only" in told
    for reason in ("the case validates or tests", "the reader could not tell", "the case has a label already"):
        assert f"not joined 1: {reason}" in told
    collected = pd.read_csv(views, dtype=str, keep_default_na=False)
    assert len(collected) == 4 and set(collected["training_only"]) == {"yes"}
    assert "'=smooth" in set(collected["comment"])
    after = pd.read_csv(joined, dtype=str, keep_default_na=False)
    other = {"negative": "positive", "positive": "negative"}[called]
    assert list(after["label_malignancy"]) == [other, "", "", before["label_malignancy"][3]]
    assert list(after["training_only"]) == ["yes", "", "", ""]
    pd.testing.assert_frame_equal(
        after.drop(columns=["training_only", "label_malignancy"]), before.drop(columns="label_malignancy")
    )
    assert read_manifest(joined).frame["label_malignancy"].tolist() == list(after["label_malignancy"])
    # In a part that tests, such a label stops the training; with folds its case is in no test set.
    case = replace(toy_cases[0], row={**toy_cases[0].row, "training_only": "yes"})
    for fold in range(4):
        data = toy_config.data.model_copy(update={"test_fold": fold})
        parts = split_cases((case, *toy_cases[1:]), data, seed=0)
        assert case not in parts.test and case not in parts.validation


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--joined", "x.csv"], "Missing option '--manifest'"),
        (["--manifest", "manifest.csv"], "Missing option '--joined'"),
        (["--manifest", "manifest.csv", "--joined", "manifest.csv"], "--joined: found another folder"),
        (["--manifest", "manifest.csv", "--joined", "elsewhere/m.csv"], "--joined: found another folder"),
    ],
)
def test_options_that_make_no_sense_are_named(
    more: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["feedback", ".", "--out", "views.csv", *more]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())
