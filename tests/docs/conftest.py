"""A folder such as a reader has after `make demo`, with the toy cohort and the toy model in LIDC's place."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml

from medfuse.cli import main
from medfuse.io import Pseudonymizer, SeriesIdentity, derived_uid, read_volume, write_dicom_series
from medfuse.io.pseudonyms import CONFIG_DIR

if TYPE_CHECKING:
    from conftest import Toy, ToyRun

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
REFUSED = 3
"""Exit code of a command that refused some studies and did the rest."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    source: str

    @property
    def commands(self) -> list[list[str]]:
        """The arguments of every `medfuse` command in it; a variable of the shell is 0."""
        plain = re.sub(r"\$\{?\w+\}?", "0", self.source.replace("\\\n", " "))  # what the shell would put in
        lines = plain.splitlines()
        split = [shlex.split(line, comments=True) for line in lines if line.strip().startswith("medfuse ")]
        return [arguments[1:] for arguments in split]


def _blocks_of(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def _follow(page: Path) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for block in _blocks_of(page):
        if block.title:
            Path(block.title).write_text(block.source, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.source, page.name, "exec"), given)  # noqa: S102 - our own page
        elif block.language == "sh":
            for command in block.commands:
                code = main(command)
                assert code in (0, REFUSED), f"medfuse {shlex.join(command)} ended with {code}"
    return given


def _write_study(row: dict[str, Any], image: Path, folder: Path) -> dict[str, Any]:
    series_uid = derived_uid("series", row["study_uid"])
    identity = SeriesIdentity(row["patient_id"], row["study_uid"], series_uid, derived_uid("frame", row["study_uid"]))
    volume = read_volume(image)
    whole = replace(volume, voxels=np.rint(volume.voxels).astype(np.int16))
    write_dicom_series(whole, folder / "lesion_1", identity=identity)
    (folder / "report.txt").write_text(row["report_text"], encoding="utf-8")
    position = {f"{axis}_mm": row[f"roi_{axis}_mm"] for axis in "xyz"}
    return {"study_uid": row["study_uid"], "series_uid": series_uid, "lesion_id": "1", **position, "space": "RAS"}


def _write_archive(toy: Toy, demo: Path) -> None:
    frame = toy.manifest.frame
    rows = frame[(frame["image_path"] != "") & (frame["report_text"] != "")]
    written = [
        _write_study(row, toy.manifest.root / row["image_path"], demo / "archive" / f"scan_{number:04d}")
        for number, row in enumerate(rows.to_dict("records"), start=3)
    ]
    pd.DataFrame(written).to_csv(demo / "rois.csv", index=False)


@pytest.fixture(scope="session")
def _key_folder(names: Pseudonymizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration folder with the key by which the toy run names its cases."""
    folder = tmp_path_factory.mktemp("key")
    (folder / "pseudonym.key").write_text(names.key.hex(), encoding="ascii")
    (folder / "pseudonym.key").chmod(0o600)
    return folder


@pytest.fixture(scope="session")
def _after_demo(toy: Toy, toy_run: ToyRun, _key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    demo = folder / "demo"
    shutil.copytree(toy.manifest.root, demo / "cohort")
    shutil.copytree(toy_run.folder, demo / "runs" / "fused")
    _write_archive(toy, demo)
    (folder / "configs").mkdir()
    config = yaml.safe_load((toy_run.folder / "config.resolved.yaml").read_text(encoding="utf-8"))
    config["data"]["manifest"] = "demo/cohort/manifest.csv"
    (folder / "configs" / "lidc.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    model, rois = str(demo / "runs/fused/model"), str(demo / "rois.csv")
    score = ["score", str(demo / "archive"), "--model", model, "--rois", rois, "--out", str(demo / "scores"), "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CONFIG_DIR, str(_key_folder))
        assert main(score) == 0
    return folder


@pytest.fixture
def reader(_after_demo: Path, _key_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, the present one, for the test alone."""
    folder = tmp_path / "reader"
    shutil.copytree(_after_demo, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv(CONFIG_DIR, str(_key_folder))
    return folder


@pytest.fixture
def follow(reader: Path) -> Callable[[str], dict[str, Any]]:
    """Do what a page says in that folder: write its files, run its commands and its Python; return the names it made."""
    return lambda name: _follow(ROOT / "docs" / name)


@pytest.fixture(scope="session")
def blocks_of() -> Callable[[Path], list[Block]]:
    """Return the fenced blocks of a page in their order."""
    return _blocks_of
