import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medfuse.errors import ReportTextError, UsageError
from medfuse.io.report_rows import ReportRow
from medfuse.scoring import TextUse, annotate_reports
from medfuse.types import ReportText

REPORT = "FINDINGS: Dr. Okonkwo saw a 6 mm nodule in the left lung. No effusion."


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rows(*texts: str) -> list[ReportRow]:
    return [ReportRow(number, ReportText(text)) for number, text in enumerate(texts, start=2)]


def test_a_line_holds_what_was_read_and_no_text(tmp_path: Path) -> None:
    done = annotate_reports(rows(REPORT), tmp_path / "out.jsonl")
    (line,) = lines_of(tmp_path / "out.jsonl")
    assert (done.n_annotated, done.n_refused) == (1, 0)
    assert (line["row"], line["status"], line["language"], line["warnings"]) == (2, "annotated", "en", [])
    nodule, effusion = line["findings"]
    assert REPORT[nodule["start"] : nodule["end"]] == "nodule" and nodule["size_mm"] == [6.0]
    assert (effusion["status"], line["labels"]["chest14"]) == ("absent", {"Nodule": 1, "Effusion": 0})
    assert line["sections"] == [{"name": "findings", "start": 10, "end": len(REPORT)}]
    assert "Okonkwo" not in json.dumps(line) and "text" not in line


def test_text_is_written_when_asked_for_and_offsets_follow_it(tmp_path: Path) -> None:
    annotate_reports(rows(REPORT), tmp_path / "whole.jsonl", use=TextUse(is_written=True))
    annotate_reports(rows(REPORT), tmp_path / "safe.jsonl", use=TextUse(is_written=True, is_deidentified=True))
    (whole,), (safe,) = lines_of(tmp_path / "whole.jsonl"), lines_of(tmp_path / "safe.jsonl")
    assert whole["text"] == REPORT
    assert safe["text"].startswith("FINDINGS: Dr. [NAME] saw")
    assert [safe["text"][f["start"] : f["end"]] for f in safe["findings"]] == ["nodule", "effusion"]


def test_a_bad_report_is_named_by_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    bad = [
        ReportRow(3, ReportTextError("report", "found an empty report", expected="at least one word")),
        ReportRow(4, ReportText("Kein Pleuraerguss. Die Lunge ist frei und das Herz nicht vergrößert.")),
    ]
    done = annotate_reports([*rows("A nodule."), *bad, ReportRow(5, ReportText("No mass."))], tmp_path / "o.jsonl")
    assert (done.n_annotated, done.n_refused) == (2, 2)
    assert [row for row, _ in done.refused] == [3, 4]
    lines = lines_of(tmp_path / "o.jsonl")
    assert [(line["row"], line["status"]) for line in lines] == [
        (2, "annotated"), (3, "refused"), (4, "refused"), (5, "annotated"),
    ]  # fmt: skip
    assert "Pleuraerguss" not in json.dumps(lines)


def test_what_is_odd_is_counted_and_named_by_row(tmp_path: Path) -> None:
    template = ReportRow(3, ReportText("EXAM: MRI KNEE\nFINDINGS:\nIMPRESSION:"))
    done = annotate_reports([*rows("A nodule."), template], tmp_path / "o.jsonl")
    assert (done.n_annotated, done.n_warned) == (2, 1)
    ((row, note),) = done.warned
    assert row == 3 and note.startswith("template only")
    first, second = lines_of(tmp_path / "o.jsonl")
    assert (first["warnings"], second["warnings"]) == ([], [note])
    assert second["examination"] == {"modality": ["MR"], "body_part": ["leg"]}


def test_a_run_that_stops_leaves_nothing_half_written(tmp_path: Path) -> None:
    def torn() -> Iterator[ReportRow]:
        yield from rows("A nodule.")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        annotate_reports(torn(), tmp_path / "o.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    out.write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        annotate_reports(rows("A nodule."), out)
    assert out.read_text() == "mine"
    annotate_reports(rows("A nodule."), out, overwrite=True)
    assert len(lines_of(out)) == 1


def test_only_the_reports_asked_for_are_kept(tmp_path: Path) -> None:
    done = annotate_reports(rows(*["A nodule."] * 5), tmp_path / "o.jsonl", use=TextUse(n_shown=2))
    assert [row for row, _ in done.shown] == [2, 3]


def test_rows_are_read_one_at_a_time(tmp_path: Path) -> None:
    read: list[int] = []

    def counted(items: Any) -> Iterator[ReportRow]:
        for item in items:
            read.append(item.row)
            yield item

    annotate_reports(iter(rows("A nodule.", "No mass.")), tmp_path / "o.jsonl", count=counted)
    assert read == [2, 3]
