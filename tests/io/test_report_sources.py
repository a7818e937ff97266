"""Whatever a user gives as reports is read as documents, or named."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from medfuse.errors import DataError, ManifestError
from medfuse.io.report_documents import ReportDocument
from medfuse.io.report_sources import read_documents
from medfuse.types import ReportText

HL7 = "MSH|^~\\&|A|B|C|D|20240101||ORU^R01|1|P|2.5\rOBR|1||F9\rOBX|1|TX|1||Clear.\r"


def read(source: Path) -> tuple[list[ReportDocument], dict[str, str]]:
    problems: list[tuple[Path, DataError]] = []
    documents = list(read_documents(source, problems=problems))
    return documents, {path.name: str(error) for path, error in problems}


def test_csv_names_studies_by_uid_or_accession_number(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("From a file.")
    (tmp_path / "r.csv").write_text(
        "StudyInstanceUID,accession_number,patient_id,report_text,report_path,status,report_date,note\n"
        '2.25.1,A1,Ann,"Two\nlines.",,Final,2024-01-01 10:00,free\n'
        ",A2,,,r.txt,addendum,2024-01-02,\n"
    )
    (first, second), problems = read(tmp_path / "r.csv")
    assert problems == {} and first.source == ReportText("Two\nlines.", source="row 2")
    assert first.study_uids == {"2.25.1"} and first.accessions == {"A1"} and first.patient_ids == {"Ann"}
    assert (first.status, first.time) == ("final", "2024-01-01T10:00")
    assert second.source == tmp_path / "r.txt" and not second.study_uids and second.status == "addendum"


def test_json_lines_are_rows_too(tmp_path: Path) -> None:
    rows = [
        {"study_uid": "2.25.1", "text": "Clear.", "age": 7},
        {"AccessionNumber": 77, "report_text": "Größe", "status": None},
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    (first, second), _ = read(tmp_path / "r.jsonl")
    assert first.study_uids == {"2.25.1"} and second.accessions == {"77"}
    assert isinstance(second.source, ReportText) and second.source.text == "Größe"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "study_uid,report_text\n,Clear.\n", "row 2 column study_uid: found neither"),
        ("r.csv", "study_uid,report_text\n2.25.1,\n", "row 2 column report_text: found neither"),
        ("r.csv", "study_uid,report_text,report_path\n1,a,b\n", "row 2 column report_text: found report_path and"),
        ("r.csv", "study_uid,report_path\n1,../x\n", "row 2 column report_path"),
        ("r.csv", "study_uid,report_text,status\n1,a,done\n", "row 2 column status"),
        ("r.csv", "study_uid,report_txt\n1,a\n", "report_text"),
        ("r.jsonl", '{"study_uid": "1", "text": "a"}\n[1]\n', "r.jsonl line 2: found no JSON object"),
        ("r.jsonl", "{\n", "line 1"),
        ("r.jsonl", '{"text": "Smith"}\n', "row 1 column study_uid"),
        ("r.pdf", "%PDF", "found no reports"),
    ],
)
def test_wrong_table_is_named_by_row_and_column(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ManifestError, match=message) as caught:
        read(tmp_path / name)
    assert "Smith" not in str(caught.value)


def test_nothing_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or folder"):
        read(tmp_path / "absent")


def test_folder_holds_texts_messages_structured_reports_and_tables(
    tmp_path: Path, write_sr: Callable[..., Path]
) -> None:
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", "Clear."
    write_sr(tmp_path / "sr.dcm", [text])
    (tmp_path / "2.25.7.txt").write_text("Text.")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.txt").write_text(HL7)
    (tmp_path / "sub" / "n.hl7").write_text(HL7)
    (tmp_path / "t.csv").write_text("study_uid,report_text\n1,a\n")
    (tmp_path / "junk.bin").write_bytes(b"\0\1")
    documents, problems = read(tmp_path)
    assert problems == {} and len(documents) == 5
    assert [sorted(d.study_uids) or d.name for d in documents] == ["2.25.7", ["2.25.1"], "F9", "F9", ["1"]]


def test_file_that_cannot_be_read_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_text("MSH|^~\\&|A\rOBR|1\rOBX|1|ED|1||JVBER\r")
    (tmp_path / "b.hl7").write_text(HL7)
    documents, problems = read(tmp_path)
    assert len(documents) == 1 and "found no observation" in problems["a.hl7"]


def test_texts_in_a_zip_are_read_in_place(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as file:
        file.writestr("A1.txt", "Clear.")
    (document,), _ = read(tmp_path / "r.zip")
    assert document.name == "A1" and document.read().text == "Clear."
