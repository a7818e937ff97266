import json
from pathlib import Path

import pandas as pd
import pytest

from medfuse.errors import UsageError
from medfuse.scoring import Ledger

IDENTITY = {"model_id": "abc", "position": "require"}


def row(study: str, lesion: str = "1", *, status: str = "scored") -> dict[str, object]:
    refused = status == "refused"
    return {
        "study_key": study,
        "lesion_id": lesion,
        "status": status,
        "stage": "read" if refused else "",
        "reason": "because" if refused else "",
        "probability": float("nan") if refused else 0.25,
    }


def test_rows_are_there_once_after_going_on(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "out", identity=IDENTITY)
    first.add([row("S2"), row("S2", "2")])
    first.flush()
    first.add([row("S3")])  # never flushed: the process was killed
    second = Ledger(tmp_path / "out", identity=IDENTITY)
    assert second.done == {"S2"}
    second.add([row("S3")])
    second.add([row("S1", status="refused")])
    second.flush()
    table = Ledger(tmp_path / "out", identity=IDENTITY).table()
    assert list(zip(table["study_key"], table["lesion_id"], strict=True)) == [
        ("S1", "1"), ("S2", "1"), ("S2", "2"), ("S3", "1"),
    ]  # fmt: skip


def test_a_torn_partial_is_removed_and_counts_for_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out", identity=IDENTITY)
    ledger.add([row("S1")])
    ledger.flush()
    torn = ledger.parts / ".part-00001.partial"
    torn.write_bytes(b"PAR1 torn")
    again = Ledger(tmp_path / "out", identity=IDENTITY)
    assert not torn.exists()
    assert again.done == {"S1"}


def test_a_run_killed_while_it_opened_its_folder_goes_on(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".run.json.partial").write_text("{")
    ledger = Ledger(tmp_path / "out", identity=IDENTITY)
    assert ledger.done == set()
    assert [p.name for p in (tmp_path / "out").glob(".*")] == []


def test_nothing_to_flush_writes_no_part(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out", identity=IDENTITY)
    ledger.add([])
    ledger.flush()
    assert list(ledger.parts.iterdir()) == []
    assert ledger.table().empty


def test_a_new_part_never_replaces_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out", identity=IDENTITY)
    for study in ("S1", "S2", "S3"):
        ledger.add([row(study)])
        ledger.flush()
    (ledger.parts / "part-00000.parquet").unlink()  # taken away by hand
    ledger.add([row("S4")])
    ledger.flush()
    assert set(ledger.table()["study_key"]) == {"S2", "S3", "S4"}


@pytest.mark.parametrize("identity", [{**IDENTITY, "model_id": "other"}, {**IDENTITY, "position": "centre"}, {}])
def test_the_results_of_another_run_are_refused_and_left_alone(tmp_path: Path, identity: dict[str, str]) -> None:
    ledger = Ledger(tmp_path / "out", identity=IDENTITY)
    ledger.add([row("S1")])
    ledger.flush()
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="differ"):
        Ledger(tmp_path / "out", identity=identity)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="found other files there"):
        Ledger(tmp_path, identity=IDENTITY)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("record", ['{"name": "a training run"}', "[]", "{", '{"identity": 3}'])
def test_a_run_json_of_something_else_is_refused(tmp_path: Path, record: str) -> None:
    (tmp_path / "run.json").write_text(record)
    with pytest.raises(UsageError, match="--out"):
        Ledger(tmp_path, identity=IDENTITY)


def test_refused_jsonl_equals_the_parts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out", identity=IDENTITY)
    for number in range(4):
        ledger.add([row(f"S{number}", status="refused" if number % 2 else "scored")])
        ledger.flush()
    ledger.write_lists()
    lines = [json.loads(line) for line in (tmp_path / "out" / "refused.jsonl").read_text().splitlines()]
    parts = pd.concat([pd.read_parquet(path) for path in ledger.parts.glob("*.parquet")])
    refused = parts[parts["status"] == "refused"].sort_values("study_key")
    assert lines == refused[["study_key", "lesion_id", "status", "stage", "reason"]].to_dict("records")
    assert len(lines) == 2


def test_without_refusals_refused_jsonl_is_empty(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out", identity=IDENTITY)
    ledger.add([row("S1")])
    ledger.flush()
    ledger.write_lists()
    assert (tmp_path / "out" / "refused.jsonl").read_text() == ""


def test_warnings_jsonl_names_the_scored_cases_that_carry_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out", identity=IDENTITY)
    for key, status, warnings in (("S1", "scored", "sheared"), ("S2", "scored", ""), ("S3", "refused", "sheared")):
        ledger.add([{"study_key": key, "lesion_id": "1", "status": status, "warnings": warnings}])
    ledger.flush()
    ledger.write_lists()
    lines = (tmp_path / "out" / "warnings.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"study_key": "S1", "lesion_id": "1", "status": "scored", "warnings": "sheared"}
    ]
