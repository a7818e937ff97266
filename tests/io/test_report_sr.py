"""DICOM structured reports -> reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from medfuse.errors import ReportTextError
from medfuse.io.report_documents import ReportDocument
from medfuse.io.report_sr import read_sr
from medfuse.types import ReportText

Write = Callable[..., Path]


def item(
    kind: str, name: str = "", *, parts: Sequence[Dataset] = (), relation: str = "CONTAINS", **values: Any
) -> Dataset:
    dataset, concept = Dataset(), Dataset()
    dataset.RelationshipType, dataset.ValueType = relation, kind
    concept.CodeMeaning = name
    dataset.ConceptNameCodeSequence = [concept] if name else []
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if parts:
        dataset.ContentSequence = list(parts)
    return dataset


def code(meaning: str, value: str = "1") -> Dataset:
    dataset = Dataset()
    dataset.CodeMeaning, dataset.CodeValue = meaning, value
    return dataset


def read(path: Path) -> ReportDocument:
    document = read_sr(path)
    assert document is not None
    return document


def text_of(path: Path) -> str:
    document = read(path)
    assert isinstance(document.source, ReportText)
    return document.source.text


CHEST = item("CONTAINER", "Findings", parts=[item("TEXT", "Finding", TextValue="Nodule of 8 mm, right upper lobe.")])
CONCLUSION = item("CONTAINER", "Conclusions", parts=[item("TEXT", "Conclusion", TextValue="Follow up. ")])


def test_text_stands_under_its_headings_and_ids_are_found(tmp_path: Path, write_sr: Write) -> None:
    path = write_sr(tmp_path / "sr.dcm", [CHEST, CONCLUSION], AccessionNumber="A7")
    assert text_of(path) == "Findings:\nNodule of 8 mm, right upper lobe.\nConclusions:\nFollow up."
    document = read(path)
    assert document.study_uids == {"2.25.1"} and document.accessions == {"A7"} and document.patient_ids == {"Ann^Real"}
    assert document.time == "2024-01-02T09:30:00" and document.status == "unknown"


def test_codes_and_measured_values_are_text_and_the_context_is_not(tmp_path: Path, write_sr: Write) -> None:
    value = Dataset()
    value.NumericValue, value.MeasurementUnitsCodeSequence = "8.5", [code("millimeter", "mm")]
    parts = [
        item("PNAME", "Observer", relation="HAS OBS CONTEXT", PersonName="Dr^Smith"),
        item("TEXT", "Observer note", relation="HAS OBS CONTEXT", TextValue="Dr Smith"),
        item("CODE", "Language", relation="HAS CONCEPT MOD", ConceptCodeSequence=[code("English")]),
        item("CODE", "Laterality", ConceptCodeSequence=[code("Right")]),
        item("NUM", "Diameter", MeasuredValueSequence=[value]),
        item("NUM", "Volume", MeasuredValueSequence=[]),
        item("TEXT", "Impression", TextValue="Stable."),
    ]
    text = text_of(write_sr(tmp_path / "sr.dcm", parts))
    assert text == "Laterality: Right\nDiameter: 8.5 mm\nVolume: unknown\nImpression:\nStable."


@pytest.mark.parametrize("end", ["11", "22", "33", "34"])
def test_every_class_of_text_is_read(tmp_path: Path, write_sr: Write, end: str) -> None:
    assert "Nodule" in text_of(write_sr(tmp_path / "sr.dcm", [CHEST], end=end))


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"PreliminaryFlag": "PRELIMINARY", "VerificationFlag": "VERIFIED"}, "preliminary"),
        ({"CompletionFlag": "PARTIAL"}, "preliminary"),
        ({"PreliminaryFlag": "FINAL"}, "final"),
        ({"VerificationFlag": "VERIFIED"}, "final"),
        ({"VerificationFlag": "UNVERIFIED"}, "unknown"),
        ({"PredecessorDocumentsSequence": [Dataset()], "VerificationFlag": "VERIFIED"}, "corrected"),
        ({"ConceptNameCodeSequence": [code("Addendum Document")], "PreliminaryFlag": "FINAL"}, "addendum"),
    ],
)
def test_status_is_what_its_flags_say(tmp_path: Path, write_sr: Write, values: dict[str, Any], status: str) -> None:
    assert read(write_sr(tmp_path / "sr.dcm", [CHEST], **values)).status == status


def test_report_of_several_requests_belongs_to_several_studies(tmp_path: Path, write_sr: Write) -> None:
    request = Dataset()
    request.StudyInstanceUID = "2.25.2"
    document = read(write_sr(tmp_path / "sr.dcm", [CHEST], ReferencedRequestSequence=[request]))
    assert document.study_uids == {"2.25.1", "2.25.2"}


@pytest.mark.parametrize("template", ["1500", "10001", "4100"])
def test_measurements_dose_and_marks_are_no_report(tmp_path: Path, write_sr: Write, template: str) -> None:
    named = Dataset()
    named.TemplateIdentifier = template
    assert read_sr(write_sr(tmp_path / "sr.dcm", [CHEST], ContentTemplateSequence=[named])) is None
    assert read_sr(write_sr(tmp_path / "sr.dcm", [item("CODE", "x", ConceptCodeSequence=[code("y")])])) is None


def test_character_set_is_read_or_refused(tmp_path: Path, write_sr: Write) -> None:
    chest = item("CONTAINER", "Befund", parts=[item("TEXT", "Befund", TextValue="Größe 8 mm, 結節")])
    path = write_sr(tmp_path / "sr.dcm", [chest], SpecificCharacterSet="ISO_IR 192")
    assert text_of(path) == "Befund:\nGröße 8 mm, 結節"
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 192", b"ISO_IR 999"))
    with pytest.raises(ReportTextError, match="SpecificCharacterSet"):
        read_sr(path)


def test_damaged_or_endless_report_is_refused(tmp_path: Path, write_sr: Write) -> None:
    path = write_sr(tmp_path / "sr.dcm", [CHEST])
    whole = path.read_bytes()
    for cut in range(400, len(whole) - 1, 23):
        path.write_bytes(whole[:cut])
        try:
            read_sr(path)
        except ReportTextError as error:
            assert "Nodule" not in str(error)
    deep = item("TEXT", "x", TextValue="y")
    for _ in range(40):
        deep = item("CONTAINER", "x", parts=[deep])
    with pytest.raises(ReportTextError, match="cannot be read"):
        read_sr(write_sr(tmp_path / "sr.dcm", [deep]))


def test_file_is_a_structured_report(tmp_path: Path, write_sr: Write) -> None:
    dataset = pydicom.dcmread(write_sr(tmp_path / "sr.dcm", [CHEST]))
    assert dataset.Modality == "SR" and len(dataset.ContentSequence) == 1
