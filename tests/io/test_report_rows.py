from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from medfuse.errors import DataError, ManifestError
from medfuse.io.report_files import MAX_REPORT_BYTES
from medfuse.io.report_rows import ReportRow, read_report_rows
from medfuse.types import ReportText

TEXTS = ["FINDINGS: A 6 mm nodule.", 'He said "no".\nTwo lines, with commas', "Größe 3 mm"]


def write_csv(path: Path, rows: list[list[str]], *, encoding: str = "utf-8", delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def texts_of(rows: list[ReportRow]) -> list[str]:
    return [row.report.text if isinstance(row.report, ReportText) else f"refused: {row.report}" for row in rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_row_by_row(tmp_path: Path, encoding: str, delimiter: str) -> None:
    table = [["id", "report_text"], *[["P1", text] for text in TEXTS]]
    rows = list(read_report_rows(write_csv(tmp_path / "t.csv", table, encoding=encoding, delimiter=delimiter)))
    assert [row.row for row in rows] == [2, 3, 4]
    assert texts_of(rows) == TEXTS


def test_each_row_may_have_its_own_encoding(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"report\n" + "Größe\n".encode() + "Größe\n".encode("cp1252") + "左肺下叶。\n".encode("gb18030"))
    assert texts_of(list(read_report_rows(path))) == ["Größe", "Größe", "左肺下叶。"]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "empty report"),
        ("nod\0ule", "NUL"),
        ("nodule " * (MAX_REPORT_BYTES // 7 + 1), "too large"),
        ("<!DOCTYPE r [<!ENTITY x 'nodule'>]><r>&x;</r>", "declares entities"),
    ],
)
def test_a_bad_cell_is_refused_and_the_next_row_is_read(tmp_path: Path, cell: str, reason: str) -> None:
    path = write_csv(tmp_path / "t.csv", [["text", "id"], [cell, "1"], ["No mass.", "2"]])
    first, second = read_report_rows(path)
    assert isinstance(first.report, DataError) and reason in str(first.report) and "nodule" not in str(first.report)
    assert texts_of([second]) == ["No mass."]


def test_a_row_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,report\n1,A nodule.\n2,No mass, no effusion.\n3,Clear.\n")
    assert [isinstance(row.report, DataError) for row in read_report_rows(path)] == [False, True, False]


def test_a_column_is_chosen_and_a_missing_one_named_without_the_header(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [["SMITH", "finding"], ["x", "A nodule."]])
    assert texts_of(list(read_report_rows(path, column="finding"))) == ["A nodule."]
    with pytest.raises(ManifestError, match=r"found no column 'findings'.*did you mean --column 'finding'") as caught:
        list(read_report_rows(path, column="findings"))
    assert "SMITH" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"report\n", b'report\n"never closed ' + b"x" * (9 << 20), b"\xff\xfer\0e"])
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ManifestError):
        list(read_report_rows(tmp_path / "t.csv"))


def test_the_limit_of_the_csv_module_is_put_back(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    list(read_report_rows(write_csv(tmp_path / "t.csv", [["report"], ["A nodule."]])))
    assert csv.field_size_limit() == before


def test_json_lines_are_read_line_by_line(tmp_path: Path) -> None:
    lines = [
        json.dumps({"id": 1, "report": "A nodule."}),
        "no json",
        json.dumps(["a"]),
        json.dumps({"report": 3}),
        '{"report": "\\ud800"}',
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n\n" + json.dumps({"text": "No mass."}) + "\n")
    rows = list(read_report_rows(tmp_path / "t.jsonl"))
    assert [(row.row, isinstance(row.report, ReportText)) for row in rows] == [
        (1, True), (2, False), (3, False), (4, False), (5, False), (7, True),
    ]  # fmt: skip


def test_one_file_is_one_report_and_a_folder_all_of_its(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A nodule.")
    (tmp_path / "b.rtf").write_text(r"{\rtf1 No mass.}")
    (tmp_path / "c.html").write_text("<p>Clear.</p>")
    (tmp_path / "d.txt").write_text("")
    (tmp_path / "e.hl7").write_bytes(
        b"MSH|^~\\&|A||||2024||ORU^R01|1|P|2.5\rOBR|1\rOBX|1|TX|||One.\rOBR|2\rOBX|1|TX|||Two.\r"
    )
    assert texts_of(list(read_report_rows(tmp_path / "a.txt"))) == ["A nodule."]
    assert texts_of(list(read_report_rows(tmp_path / "e.hl7"))) == ["One.", "Two."]
    rows = list(read_report_rows(tmp_path))
    assert [row.row for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [text.strip() for text in texts_of(rows)][:3] == ["A nodule.", "No mass.", "Clear."]
    assert isinstance(rows[3].report, DataError)


@pytest.mark.parametrize("name", ["absent.csv", "absent.txt"])
def test_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        list(read_report_rows(tmp_path / name))


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no report"):
        list(read_report_rows(tmp_path))
