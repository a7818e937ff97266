"""No planted identifier is in anything that the commands write, say or log, whether they succeed or fail.

The search is the one of ``shared/tools/canary.py``: names, bytes, UTF-16, base64, gzip, zip, PDF and PNG streams.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from medfuse.cli import main
from medfuse.config import RunConfig
from medfuse.io import derived_uid, write_dicom_series
from medfuse.io.dicom_writer import SeriesIdentity
from medfuse.types import Volume

CANARY = Path(__file__).resolve().parents[2] / "shared" / "tools" / "canary.py"
MARK, SECURITY = "ZZCANARY", "123-45-6789"
WORDS = [MARK, SECURITY, "19510203", "1.2.826.0.1.777"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CANARY.is_file(), reason="shared/tools/canary.py is not beside the repository"),
]


@pytest.fixture
def cohort(toy: Any, tmp_path: Path) -> Path:
    """Return the toy cohort's manifest with identifiers in ids and reports."""
    folder = tmp_path / "in"
    folder.mkdir()
    frame = toy.manifest.frame.copy()
    for name in frame["image_path"]:
        if name:
            (folder / name).write_bytes((toy.manifest.root / name).read_bytes())
    frame["patient_id"] = f"{MARK}-" + frame["patient_id"]
    frame["study_uid"] = frame["study_uid"].str.replace("1.2.826.0.1.3680043.7.", "1.2.826.0.1.777.")
    known = frame["report_text"] != ""
    frame.loc[known, "report_text"] += f" Reported by Dr. {MARK}, born 19510203, {SECURITY}."
    frame.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture
def archive(toy: Any, toy_studies: Any, tmp_path: Path) -> Path:
    """Return DICOM studies with reports, of which one is torn and one has a header that lies."""
    folder = tmp_path / "in" / f"{MARK} archive"
    for number, study in enumerate([one for one in toy_studies if one.volumes][:3]):
        volume = next(iter(study.volumes.values()))
        rounded = Volume(volume.voxels.round(), volume.affine, "HU")
        uids = [f"1.2.826.0.1.777.{number}", *(derived_uid(f"{MARK} {part} {number}") for part in ("series", "frame"))]
        identity = SeriesIdentity(f"{MARK}-{number}", *uids, study_date="20240301")
        study_folder = folder / f"{MARK}^{number}"
        written = write_dicom_series(rounded, study_folder, identity=identity)
        (study_folder / "report.txt").write_text(f"FINDINGS: Dr. {MARK} saw a nodule with a smooth margin. {SECURITY}")
        if number == 1:
            written[3].write_bytes(written[3].read_bytes()[:700])
        if number == 2:
            written[3].write_bytes(written[3].read_bytes().replace(b"MONOCHROME2", f"{MARK}   ".encode()[:11]))
    return folder


def hits(*folders: Path) -> list[str]:
    found = []
    for folder in folders:
        done = subprocess.run(
            [sys.executable, str(CANARY), str(folder), "--word", *WORDS], capture_output=True, text=True, check=False
        )
        found += [line for line in done.stdout.splitlines() if line.startswith("HIT")]
        for path in folder.rglob("*.parquet"):  # packed columns, which a search of bytes does not see
            text = pq.read_table(path).to_pandas().to_csv()
            found += [f"HIT {word} {path.name}" for word in WORDS if word in text]
    return found


def test_the_search_finds_what_is_planted(cohort: Path, archive: Path) -> None:
    assert any(MARK in line for line in hits(cohort.parent))


def test_no_planted_identifier_is_in_any_output(
    cohort: Path, archive: Path, toy_config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    content = toy_config.model_dump(mode="json")
    content["optim"]["epochs"] = 2
    content["tracking"]["uri"] = f"sqlite:///{out / 'mlflow.db'}"
    content["data"]["cache"]["folder"] = str(out / "cache")
    out.mkdir()
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content))
    model, run = str(out / "run" / "model"), str(out / "run")
    settings = ["--config", str(tmp_path / "toy.yaml"), "--manifest", str(cohort)]
    study = str(next(path for path in sorted(archive.iterdir())))
    torn = tmp_path / "in" / "torn.csv"
    pd.read_csv(cohort, dtype=str).drop(columns="study_uid").to_csv(torn, index=False)
    centre = ["--position", "centre"]
    commands: list[tuple[int, list[str]]] = [
        (0, ["index", str(archive), "--out", str(out / "index")]),
        (3, ["check", str(cohort)]),
        (2, ["check", str(torn)]),
        (0, ["train", *settings, "--out", run]),
        (2, ["train", "--config", str(tmp_path / "toy.yaml"), "--manifest", str(torn), "--out", str(out / "none")]),
        (2, ["train", *settings, "--out", str(out / "none"), "--set", "optim.epochs=many"]),
        (0, ["evaluate", run, "--out", str(out / "evaluation")]),
        (0, ["score", str(cohort), "--model", model, "--out", str(out / "scores")]),
        (3, ["score", str(archive), "--model", model, "--out", str(out / "archive"), *centre, "--explain"]),
        (2, ["score", str(torn), "--model", model, "--out", str(out / "none")]),
        (0, ["explain", study, "--model", model, "--out", str(out / "explained"), *centre]),
        (0, ["deidentify", study, "--out", str(out / "clean")]),
        (0, ["annotate", str(cohort), "--column", "report_text", "--out", str(out / "findings.jsonl")]),
    ]
    said = ""
    for _, command in commands:
        code = main(command)
        shown = capsys.readouterr()
        said += f"{' '.join(command[:1])} {code}\n{shown.out}{shown.err}"
    codes = [line.split()[-1] for line in said.splitlines() if line.split()[:1] and line.split()[0] in COMMANDS]
    said += caplog.text
    for place in (str(tmp_path), archive.name):  # what the person who runs it typed
        said = said.replace(place, "")
    (out / "said.txt").write_text(said)
    assert hits(out) == []
    assert len(codes) >= len(commands)
    assert (out / "evaluation" / "report.html").is_file() and list(out.glob("explained/*/report.html"))


COMMANDS = {"index", "check", "train", "evaluate", "score", "explain", "deidentify", "annotate"}
