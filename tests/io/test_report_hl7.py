"""HL7 v2 result messages -> reports."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medfuse.errors import ReportTextError
from medfuse.io.report_documents import ReportDocument
from medfuse.io.report_hl7 import is_hl7, read_hl7
from medfuse.types import ReportText

MSH = "MSH|^~\\&|RIS|HOSP|PACS|HOSP|20240102101500||ORU^R01|1|P|2.5||||||{charset}"
PID = "PID|1||P1^^^HOSP~P2^^^OTHER||Smith^Ann"
OBR = "|".join(
    {0: "OBR", 1: "1", 3: "FI9^RIS", 18: "{accession}", 22: "20240102113000+0100", 25: "{status}"}.get(n, "")
    for n in range(26)
)


def message(*observed: str, accession: str = "A7", status: str = "F", more: str = "", charset: str = "") -> str:
    order = OBR.format(accession=accession, status=status)
    return "\r".join(filter(None, [MSH.format(charset=charset), PID, order, *observed, more])) + "\r"


def obx(text: str, *, kind: str = "TX", code: str = "71260^CT CHEST", status: str = "F") -> str:
    return f"OBX|1|{kind}|{code}||{text}||||||{status}"


def only(data: str | bytes) -> ReportDocument:
    (document,) = read_hl7(data if isinstance(data, bytes) else data.encode())
    return document


def text_of(document: ReportDocument) -> str:
    assert isinstance(document.source, ReportText)
    return document.source.text


def test_text_and_ids_of_a_message() -> None:
    document = only(message(obx("Lungs clear."), obx(""), obx("No nodule.")))
    assert text_of(document) == "Lungs clear.\n\nNo nodule."
    assert document.accessions == {"A7"} and document.patient_ids == {"P1", "P2"} and not document.study_uids
    assert document.status == "final" and document.time == "2024-01-02T11:30:00" and document.name == ""


@pytest.mark.parametrize(
    "more",
    [
        "ZDS|1.2.3^RIS^Application^DICOM",
        "IPC|A8|RP|1.2.3|SPS",
        "OBX|9|HD|113014^DICOM Study^DCM||1.2.3",
        "OBX|9|ST|110180^Study Instance UID^DCM||1.2.3",
    ],
)
def test_study_uid_is_found_where_ihe_puts_it(more: str) -> None:
    document = only(message(obx("Clear."), more=more))
    assert document.study_uids == {"1.2.3"} and text_of(document) == "Clear."
    assert document.accessions == ({"A7", "A8"} if more.startswith("IPC") else {"A7"})


def test_order_number_of_the_filler_names_it_where_there_is_no_accession_number() -> None:
    document = only(message(obx("Clear."), accession=""))
    assert document.accessions == frozenset() and document.name == "FI9"


def test_escapes_repetitions_and_formatting() -> None:
    text = text_of(only(message(obx(r"3 \T\ 4\.br\a \F\ b\.sp\c~d \H\bold\N\ \E\ \Zxx\ ", kind="FT"))))
    assert text == "3 & 4\na | b\nc\nd bold \\ \\Zxx\\"


@pytest.mark.parametrize(
    ("stated", "observed", "status"),
    [
        ("P", "F", "preliminary"),
        ("F", "P", "final"),
        ("C", "C", "corrected"),
        ("", "P", "preliminary"),
        ("X", "F", "unknown"),
    ],
)
def test_status_is_that_of_the_order_else_of_its_observations(stated: str, observed: str, status: str) -> None:
    assert only(message(obx("Clear.", status=observed), status=stated)).status == status


def test_suffixes_are_headings_and_an_addendum_is_one() -> None:
    parts = [obx(text, code=f"71260&{suffix}^CT") for text, suffix in (("A", "GDT"), ("B", "GDT"), ("C", "IMP"))]
    assert text_of(only(message(*parts))) == "FINDINGS:\nA\nB\nIMPRESSION:\nC"
    document = only(message(obx("Now stable.", code="71260&ADT^CT")))
    assert document.status == "addendum" and text_of(document) == "ADDENDUM:\nNow stable."


def test_several_orders_and_messages_are_several_reports() -> None:
    two = message(obx("One."), OBR.format(accession="B2", status="F").replace("OBR|1", "OBR|2"), obx("Two."))
    documents = read_hl7(f"FHS|^~\\&\rBHS|^~\\&\r{two}{message(obx('Three.'), accession='C3')}BTS|1\rFTS|1".encode())
    assert [text_of(d) for d in documents] == ["One.", "Two.", "Three."]
    assert [sorted(d.accessions) for d in documents] == [["A7"], ["B2"], ["C3"]]


@pytest.mark.parametrize(
    ("charset", "encoding"), [("", "utf-8"), ("", "cp1252"), ("UNICODE UTF-8", "utf-8"), ("8859/1", "latin-1")]
)
def test_text_is_decoded_as_the_message_says(charset: str, encoding: str) -> None:
    assert text_of(only(message(obx("Größe 3 mm"), charset=charset).encode(encoding))) == "Größe 3 mm"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (message(obx("JVBERi0", kind="ED")).encode(), "no observation"),
        (message().encode(), "no observation"),
        (message(obx("a"), charset="ISO IR87").encode(), "character set"),
        (message(obx("Größe"), charset="UNICODE UTF-8").encode("latin-1"), "character set"),
        (message(obx("a\0\x01")).encode(), "binary"),
    ],
)
def test_what_holds_no_text_is_refused(data: bytes, found: str) -> None:
    with pytest.raises(ReportTextError, match=found):
        read_hl7(data)


@given(st.text("|^~\\&\rMSHOBRXPIDTX1", max_size=200), st.booleans())
@example(noise="MSH", whole=True)
def test_no_bytes_make_it_fail_otherwise(noise: str, whole: bool) -> None:
    data = (message(obx("Clear."), more=noise) if whole else "MSH|^~\\&|" + noise).encode()
    try:
        read_hl7(data)
    except ReportTextError:
        assert not whole


def test_messages_are_known_by_their_start() -> None:
    assert is_hl7(message().encode()) and is_hl7(b"\x0bMSH|^~") and not is_hl7(b"MSH is a segment") and not is_hl7(b"")
