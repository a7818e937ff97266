import json
from pathlib import Path

import pandas as pd
import pytest

from medfuse.errors import ScoringError, UsageError
from medfuse.scoring import Ledger

IDENTITY = {"model_id": "abc", "position": "require"}


def row(study: str, lesion: str = "1", *, status: str = "scored") -> dict[str, object]:
    refused = status == "refused"
    return {
        "study_key": study,
        "lesion_id": lesion,
        "status": status,
        "stage": "read" if refused else "",
        "reason": "because; expected a hint" if refused else "",
        "warnings": "",
        "probability": float("nan") if refused else 0.25,
    }


def opened(folder: Path, identity: dict[str, str] = IDENTITY, share: tuple[int, int] = (0, 1)) -> Ledger:
    return Ledger(folder, identity=identity, share=share)


def add(ledger: Ledger, *rows: dict[str, object], digest: int = 0) -> None:
    ledger.add(str(rows[0]["study_key"]), list(rows), digest=digest)


def cases(ledger: Ledger) -> list[tuple[str, str]]:
    table = ledger.table()
    return list(zip(table["study_key"], table["lesion_id"], strict=True))


def test_rows_are_there_once_after_going_on(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as first:
        add(first, row("S2"), row("S2", "2"))
        first.flush()
        add(first, row("S3"))  # never flushed: the process was killed
    with opened(tmp_path / "out") as second:
        assert second.done.holds("S2")
        assert not second.done.holds("S3")
        add(second, row("S3"))
        add(second, row("S1", status="refused"))
        second.flush()
    with opened(tmp_path / "out") as third:
        table = third.table()
    assert list(zip(table["study_key"], table["lesion_id"], strict=True)) == [
        ("S1", "1"), ("S2", "1"), ("S2", "2"), ("S3", "1"),
    ]  # fmt: skip


def test_a_study_scored_again_takes_the_place_of_what_was_there_of_it(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as first:
        add(first, row("S1", status="refused"), row("S1", "2"), digest=1)
        add(first, row("S2"), digest=2)
        first.flush()
    with opened(tmp_path / "out") as second:
        assert not second.done.holds("S1", 5)  # its content changed
        assert not second.done.holds("S1", 1, retry_refused=True)
        assert second.done.holds("S2", 2, retry_refused=True)
        add(second, row("S1", "3"), digest=5)
        add(second, row("S4"))
        second.flush()
    assert sorted(path.name for path in (tmp_path / "out" / "predictions").iterdir()) == [
        "part-00000.parquet", "part-00001.parquet",
    ]  # fmt: skip
    with opened(tmp_path / "out") as third:
        assert cases(third) == [("S1", "3"), ("S2", "1"), ("S4", "1")]
        assert third.done.holds("S1", 5, retry_refused=True)
        assert len(third.done) == 3


def test_shares_write_side_by_side_and_are_one_table(tmp_path: Path) -> None:
    with opened(tmp_path / "out", share=(0, 2)) as one, opened(tmp_path / "out", share=(1, 2)) as other:
        add(one, row("S1"))
        add(other, row("S2"))
        one.flush()
        other.flush()
        with pytest.raises(UsageError, match="another process writes to it"):
            opened(tmp_path / "out", share=(1, 2))
        with pytest.raises(UsageError, match="another number of parts"):
            opened(tmp_path / "out")
    with opened(tmp_path / "out") as alone:
        assert cases(alone) == [("S1", "1"), ("S2", "1")]
        assert alone.done.holds("S1")
        assert alone.done.holds("S2")


def test_a_damaged_part_is_named_and_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as ledger:
        add(ledger, row("S1"))
        ledger.flush()
    part = tmp_path / "out" / "predictions" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"damaged part part-00000\.parquet"):
        opened(tmp_path / "out")
    assert part.exists()


def test_a_folder_that_is_gone_stops_the_run_and_is_not_made_again(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "out")
    add(ledger, row("S1"))
    (tmp_path / "out").rename(tmp_path / "away")
    with pytest.raises(ScoringError, match="cannot be written"):
        ledger.flush()
    with pytest.raises(ScoringError, match="cannot be written"):
        ledger.write_run({})
    ledger.close()
    assert not (tmp_path / "out").exists()
    (tmp_path / "away").rename(tmp_path / "out")
    with opened(tmp_path / "out") as again:
        assert not again.done.holds("S1")
        add(again, row("S1"))
        again.flush()
        assert cases(again) == [("S1", "1")]


def test_a_changed_setting_is_shown_with_both_values(tmp_path: Path) -> None:
    opened(tmp_path / "out", {"spacing": "1.0", "pseudonym_key": "F1"}).close()
    with pytest.raises(UsageError, match=r"spacing \(1\.0 there, 2\.0 now\)") as caught:
        opened(tmp_path / "out", {"spacing": "2.0", "pseudonym_key": "F2"})
    assert "F1" not in str(caught.value)
    assert "pseudonym_key" in str(caught.value)


def test_a_torn_partial_is_removed_and_counts_for_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as ledger:
        add(ledger, row("S1"))
        ledger.flush()
        torn = ledger.parts / ".part-00001.parquet.partial"
        torn.write_bytes(b"PAR1 torn")
    with opened(tmp_path / "out") as again:
        assert not torn.exists()
        assert len(again.done) == 1


def test_a_run_killed_while_it_opened_its_folder_goes_on(tmp_path: Path) -> None:
    (tmp_path / "out" / "predictions").mkdir(parents=True)
    (tmp_path / "out" / ".run.json.77.partial").write_text("{")
    with opened(tmp_path / "out") as ledger:
        assert len(ledger.done) == 0
    assert list((tmp_path / "out").glob(".*.partial")) == []


def test_a_share_leaves_what_another_is_writing(tmp_path: Path) -> None:
    with opened(tmp_path / "out", share=(0, 2)) as one:
        others = [one.parts / ".part-1of2-00000.parquet.partial", tmp_path / "out" / ".run.json.77.partial"]
        own = one.parts / ".part-0of2-00004.parquet.partial"
        for path in (*others, own):
            path.write_bytes(b"half")
    with opened(tmp_path / "out", share=(0, 2)):
        assert not own.exists()
        assert all(path.exists() for path in others)


def test_a_folder_is_scored_by_one_process_where_no_share_is_named(tmp_path: Path) -> None:
    with Ledger(tmp_path / "out", identity=IDENTITY) as ledger:
        add(ledger, row("S1"))
        ledger.flush()
        assert [path.name for path in ledger.parts.iterdir()] == ["part-00000.parquet"]
        assert [path.name for path in (tmp_path / "out").glob(".share-*")] == [".share-0of1.lock"]


def test_the_table_is_numbered_in_its_order(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as ledger:
        add(ledger, row("S2"), row("S2", "2"))
        add(ledger, row("S1"))
        ledger.flush()
        assert list(ledger.table().index) == [0, 1, 2]


def test_of_many_changed_settings_five_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    opened(tmp_path / "out", {f"key{n:02d}": "1" for n in range(12)}).close()
    with pytest.raises(UsageError, match=r"key04 \(1 there, 2 now\) and 7 more differ"):
        opened(tmp_path / "out", {f"key{n:02d}": "2" for n in range(12)})


def test_nothing_to_flush_writes_no_part(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as ledger:
        ledger.flush()
        assert list(ledger.parts.iterdir()) == []
        assert ledger.table().empty
        assert ledger.count() == (0, 0, 0)


def test_a_new_part_never_replaces_one(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as ledger:
        for study in ("S1", "S2", "S3"):
            add(ledger, row(study))
            ledger.flush()
        (ledger.parts / "part-00000.parquet").unlink()  # taken away by hand
    with opened(tmp_path / "out") as again:
        add(again, row("S4"))
        again.flush()
        assert {study for study, _ in cases(again)} == {"S2", "S3", "S4"}


@pytest.mark.parametrize("identity", [{**IDENTITY, "model_id": "other"}, {**IDENTITY, "position": "centre"}, {}])
def test_the_results_of_another_run_are_refused_and_left_alone(tmp_path: Path, identity: dict[str, str]) -> None:
    with opened(tmp_path / "out") as ledger:
        add(ledger, row("S1"))
        ledger.flush()
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="differ"):
        opened(tmp_path / "out", identity)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="found other files there"):
        opened(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("record", ['{"name": "a training run"}', "[]", "{", '{"identity": 3}'])
def test_a_run_json_of_something_else_is_refused(tmp_path: Path, record: str) -> None:
    (tmp_path / "run.json").write_text(record)
    with pytest.raises(UsageError, match="--out"):
        opened(tmp_path)


def test_refused_jsonl_equals_the_parts_and_has_a_hint(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as ledger:
        for number in range(4):
            add(ledger, row(f"S{number}", status="refused" if number % 2 else "scored"))
            ledger.flush()
        ledger.write_lists()
        assert ledger.count() == (2, 2, 0)
    lines = [json.loads(line) for line in (tmp_path / "out" / "refused.jsonl").read_text().splitlines()]
    parts = pd.concat([pd.read_parquet(path) for path in ledger.parts.glob("*.parquet")])
    refused = parts[parts["status"] == "refused"].sort_values("study_key")
    expected = refused[["study_key", "lesion_id", "status", "stage", "reason"]].to_dict("records")
    assert lines == [{**record, "hint": "a hint"} for record in expected]
    assert len(lines) == 2


def test_without_refusals_refused_jsonl_is_empty(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as ledger:
        add(ledger, row("S1"))
        ledger.flush()
        ledger.write_lists()
    assert (tmp_path / "out" / "refused.jsonl").read_text() == ""


def test_warnings_jsonl_names_the_scored_cases_that_carry_one(tmp_path: Path) -> None:
    with opened(tmp_path / "out") as ledger:
        for key, status, warnings in (("S1", "scored", "sheared"), ("S2", "scored", ""), ("S3", "refused", "sheared")):
            add(ledger, {**row(key, status=status), "warnings": warnings})
        ledger.flush()
        ledger.write_lists()
        assert ledger.count() == (2, 1, 1)
    lines = (tmp_path / "out" / "warnings.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"study_key": "S1", "lesion_id": "1", "status": "scored", "warnings": "sheared"}
    ]
