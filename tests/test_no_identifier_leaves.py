"""No planted identifier is in anything that the commands write, say or log, whether they succeed or fail.

The search is the one of ``shared/tools/canary.py``: names, bytes, UTF-16, base64, gzip, zip, PDF and PNG streams. The
commands are those of the application itself, so that a new one must be added here.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
import yaml

from medfuse.cli import app, main
from medfuse.config import RunConfig
from medfuse.io import derived_uid, write_dicom_series
from medfuse.io.dicom_writer import SeriesIdentity
from medfuse.types import Volume

CANARY = Path(__file__).resolve().parents[2] / "shared" / "tools" / "canary.py"
MARK, SECURITY = "ZZCANARY", "123-45-6789"
WORDS = [MARK, SECURITY, "19510203", "1.2.826.0.1.777"]
SEARCH = "search:\n  optim.learning_rate: {low: 0.001, high: 0.01}\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CANARY.is_file(), reason="shared/tools/canary.py is not beside the repository"),
]


@dataclass(frozen=True)
class Places:
    """What the commands read, identifiers planted in all of it, and the folder that they write to."""

    cohort: Path
    archive: Path
    config: Path
    out: Path

    @property
    def torn(self) -> Path:
        """A manifest without the column that it needs."""
        return self.cohort.with_name("torn.csv")

    @property
    def wrong(self) -> Path:
        """Predictions that are none."""
        return self.cohort.with_name("wrong.csv")

    @property
    def study(self) -> Path:
        """A study that can be read."""
        return min(self.archive.iterdir())

    @property
    def torn_study(self) -> Path:
        """A study with a slice that is cut off."""
        return sorted(self.archive.iterdir())[1]


@pytest.fixture
def places(toy: Any, toy_studies: Any, toy_config: RunConfig, tmp_path: Path) -> Places:
    folder = tmp_path
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    made = Places(
        make_cohort(toy, folder / "in"), make_archive(toy_studies, folder / "in"), folder / "toy.yaml", folder / "out"
    )
    content = toy_config.model_dump(mode="json")
    content["optim"]["epochs"] = 2
    content["tracking"]["uri"] = f"sqlite:///{made.out / 'mlflow.db'}"
    content["data"]["cache"]["folder"] = str(made.out / "cache")
    content["data"]["manifest"] = str(made.cohort)
    made.config.write_text(yaml.safe_dump(content))
    (folder / "search.yaml").write_text(SEARCH)
    grid = {"config": "toy.yaml", "reference": "one", "runs": {"one": {}, "two": {"optim.epochs": 1}}}
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    made.wrong.write_text(f"case_id,probability,label\n{MARK}-1,2.5,{MARK}\n")
    return made


def make_cohort(toy: Any, folder: Path) -> Path:
    """Return the toy cohort's manifest with identifiers in ids and reports."""
    frame = toy.manifest.frame.copy()
    for name in frame["image_path"]:
        if name:
            (folder / name).write_bytes((toy.manifest.root / name).read_bytes())
    frame["patient_id"] = f"{MARK}-" + frame["patient_id"]
    frame["study_uid"] = frame["study_uid"].str.replace("1.2.826.0.1.3680043.7.", "1.2.826.0.1.777.")
    known = frame["report_text"] != ""
    frame.loc[known, "report_text"] += f" Reported by Dr. {MARK}, born 19510203, {SECURITY}."
    frame.to_csv(folder / "manifest.csv", index=False)
    frame.drop(columns="study_uid").to_csv(folder / "torn.csv", index=False)
    return folder / "manifest.csv"


def make_archive(studies: Any, folder: Path) -> Path:
    """Return DICOM studies with reports, of which one is torn and one has a header that lies."""
    folder /= f"{MARK} archive"
    for number, study in enumerate([one for one in studies if one.volumes][:3]):
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


def learning(places: Places) -> list[tuple[int, list[str]]]:
    """Return the commands from the manifest to figures, in the order in which they need each other, with their ends."""
    out, cohort, torn = places.out, str(places.cohort), str(places.torn)
    settings = ["--config", str(places.config)]
    run, model = str(out / "run"), ["--model", str(out / "run" / "model")]

    def to(name: str) -> list[str]:
        return ["--out", str(out / name)]

    return [
        (0, ["check", cohort]),
        (2, ["check", torn]),
        (0, ["prepare", cohort, *settings, "--workers", "1"]),
        (2, ["prepare", torn, *settings]),
        (0, ["train", *settings, *to("run")]),
        (2, ["train", *settings, "--manifest", torn, *to("none")]),
        (2, ["train", *settings, *to("none"), "--set", "optim.epochs=many"]),
        (0, ["sync", run, "--uri", f"sqlite:///{out / 'other.db'}"]),
        (2, ["sync", cohort]),
        (0, ["evaluate", run, *to("evaluation")]),
        (0, ["evaluate", "--compare", run, str(out / "evaluation" / "predictions.csv"), *to("both")]),
        (0, ["evaluate", *model, "--manifest", cohort, *to("elsewhere")]),
        (2, ["evaluate", *model, "--manifest", torn, *to("none")]),
        (2, ["evaluate", "--predictions", str(places.wrong), *to("none")]),
    ]


def searching(places: Places) -> list[tuple[int, list[str]]]:
    """Return the commands that train many times."""
    torn, settings, beside = str(places.torn), ["--config", str(places.config)], places.config.parent
    space, grid = ["--space", str(beside / "search.yaml")], ["--grid", str(beside / "grid.yaml")]

    def to(name: str) -> list[str]:
        return ["--out", str(places.out / name)]

    return [
        (0, ["tune", *settings, *space, "--trials", "1", *to("tuned")]),
        (2, ["tune", *settings, "--space", torn, *to("none")]),
        (0, ["compare", *grid, *to("compared")]),
        (2, ["compare", *grid, "--manifest", torn, *to("none")]),
    ]


def reading(places: Places, model: Path) -> list[tuple[int, list[str]]]:
    """Return the commands that read archives and models, likewise."""
    out, cohort, archive, torn = places.out, str(places.cohort), str(places.archive), str(places.torn)
    with_model, centre = ["--model", str(model)], ["--position", "centre"]

    def to(name: str) -> list[str]:
        return ["--out", str(out / name)]

    return [
        (0, ["doctor", *to("")]),
        (0, ["models"]),
        (2, ["cohort medmnist3d", torn, *to("none")]),  # and no other ends well: it takes published files alone
        (2, ["cohort lidc", "--image", "ct", "--dicom", archive, *to("lidc")]),
        (3, ["index", archive, *to("index")]),
        (2, ["index", str(places.torn / "none"), *to("none")]),
        (3, ["convert", archive, *to("nifti")]),
        (0, ["score", cohort, *with_model, *to("scores"), "--export", str(out / "scores.csv")]),
        (3, ["score", archive, *with_model, *to("archive"), *centre, "--explain"]),
        (3, ["score", "--retry-refused", str(out / "archive")]),
        (0, ["score", "--status", str(out / "archive")]),
        (0, ["score", archive, *with_model, *to("none"), "--dry-run"]),
        (2, ["score", torn, *with_model, *to("none")]),
        (0, ["explain", str(places.study), *with_model, *to("explained"), *centre]),
        (3, ["explain", str(places.torn_study), *with_model, *to("torn"), *centre]),
        (0, ["feedback", str(out / "explained"), *to("views.csv")]),
        (2, ["feedback", torn, *to("none.csv")]),
        (0, ["deidentify", str(places.study), *to("clean")]),
        (3, ["deidentify", str(places.torn_study), *to("clean torn")]),
        (3, ["annotate", cohort, "--column", "report_text", *to("findings.jsonl")]),
        (2, ["annotate", torn, "--column", "none", *to("none.jsonl")]),
    ]


def names_of(command: Any, before: str = "") -> set[str]:
    """Return the names of an application's commands, those of a group behind the group's."""
    if not hasattr(command, "commands"):
        return {before.strip()}
    return {name for key, one in command.commands.items() for name in names_of(one, f"{before} {key}")}


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


def run(commands: list[tuple[int, list[str]]], places: Places, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run the commands, keep what they say beside what they write, and name those that ended otherwise."""
    said, otherwise = "", []
    for wanted, (name, *options) in commands:
        code = main([*name.split(), *options])
        shown = capsys.readouterr()
        said += f"{name} {code}\n{shown.out}{shown.err}"
        if code != wanted:
            otherwise.append(f"{name} {code}, {wanted} wanted: {shown.err[-300:]}")
    for place in (str(places.out.parent), places.archive.name):  # what the person who runs it typed
        said = said.replace(place, "")
    (places.out / "said.txt").write_text(said)
    return otherwise


def test_every_command_of_the_application_is_run(places: Places) -> None:
    commands = [*learning(places), *searching(places), *reading(places, Path())]
    assert {command[0] for _, command in commands} == names_of(typer.main.get_command(app()))


def test_the_search_finds_what_is_planted(places: Places) -> None:
    assert any(MARK in line for line in hits(places.cohort.parent))


def written(places: Places, caplog: pytest.LogCaptureFixture) -> set[str]:
    """Return what was written, after the log was put beside it."""
    (places.out / "log.txt").write_text(
        caplog.text.replace(str(places.out.parent), "").replace(places.archive.name, "")
    )
    return {path.relative_to(places.out).parts[0] for path in places.out.rglob("*") if path.is_file()}


def test_learning_leaves_no_planted_identifier(
    places: Places, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run(learning(places), places, capsys) == []
    assert {"run", "evaluation", "both", "elsewhere", "mlflow.db", "other.db"} <= written(places, caplog)
    assert hits(places.out) == []


def test_searching_leaves_no_planted_identifier(
    places: Places, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run(searching(places), places, capsys) == []
    assert {"tuned", "compared", "mlflow.db"} <= written(places, caplog)
    assert hits(places.out) == []


def test_reading_leaves_no_planted_identifier(
    places: Places, toy_bundle: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run(reading(places, toy_bundle), places, capsys) == []
    wanted = {"index", "nifti", "scores", "archive", "explained", "clean", "findings.jsonl", "views.csv"}
    assert wanted <= written(places, caplog)
    assert hits(places.out) == []
