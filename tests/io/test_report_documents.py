"""Several reports of one study are one where status and time say how; else they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import ReportTextError
from medfuse.io.report_documents import DocumentStatus, ReportDocument, combined, iso_time, status_named
from medfuse.types import ReportText


def document(text: str, status: DocumentStatus = "unknown", time: str = "") -> ReportDocument:
    return ReportDocument(ReportText(text), status=status, time=time)


PRELIMINARY = document("Nodule, 8 mm?", "preliminary", "2024-01-01T08:00")
FINAL = document("Nodule, 8 mm.", "final", "2024-01-01T12:00")
CORRECTED = document("Nodule, 9 mm.", "corrected", "2024-01-01T13:00")
FIRST = document("Addendum: stable.", "addendum", "2024-01-02")
SECOND = document("Second addendum.", "addendum", "2024-01-03T09:00")


@pytest.mark.parametrize(
    ("documents", "text", "status"),
    [
        ([FINAL], "Nodule, 8 mm.", "final"),
        ([PRELIMINARY, FINAL], "Nodule, 8 mm.", "final"),
        ([FINAL, CORRECTED, PRELIMINARY], "Nodule, 9 mm.", "final"),
        ([PRELIMINARY, FIRST], "Nodule, 8 mm?\n\nAddendum: stable.", "addendum"),
        ([SECOND, FINAL, FIRST], "Nodule, 8 mm.\n\nAddendum: stable.\n\nSecond addendum.", "addendum"),
        ([document("Old.", "preliminary", "2024-01-01"), document("New.", "preliminary", "2024-01-02")], "New.",
         "preliminary"),
        ([document("Only."), FIRST], "Only.\n\nAddendum: stable.", "addendum"),
        ([document("Same."), document(" Same.\n")], "Same.", "unknown"),
        ([FINAL, FINAL], "Nodule, 8 mm.", "final"),
    ],
)  # fmt: skip
def test_reports_that_status_and_time_order_are_one(documents: list[ReportDocument], text: str, status: str) -> None:
    report, note = combined(documents)
    assert isinstance(report, ReportText) and report.text == text and report.status == status
    assert bool(note) == (len(documents) > 1)


@pytest.mark.parametrize(
    "documents",
    [
        [document("One."), document("Two.")],
        [FINAL, document("Another.", "final", "2024-01-02")],
        [FINAL, document("Unknown.", time="2024-01-02")],
        [FINAL, document("Addendum.", "addendum")],
        [FINAL, FIRST, document("Other addendum.", "addendum", "2024-01-02")],
        [FINAL, document("Early.", "addendum", "2023-01-01")],
        [FIRST, SECOND],
        [document("Nothing.", "preliminary"), document("Something.", "preliminary")],
    ],
)
def test_others_are_refused_without_their_text(documents: list[ReportDocument]) -> None:
    report, note = combined(documents)
    assert isinstance(report, ReportTextError) and note == "" and f"{len(documents)} reports" in str(report)
    assert not any(part.source.text in str(report) for part in documents if isinstance(part.source, ReportText))


@given(st.permutations([PRELIMINARY, FINAL, CORRECTED, FIRST, SECOND, SECOND]))
def test_order_of_arrival_changes_nothing(documents: list[ReportDocument]) -> None:
    assert combined(documents) == combined([PRELIMINARY, FINAL, CORRECTED, FIRST, SECOND, SECOND])


def test_text_file_alone_stays_a_path_and_an_unreadable_one_among_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    assert combined([ReportDocument(path)]) == (path, "")
    report, _ = combined([ReportDocument(path, status="final"), FINAL])
    assert isinstance(report, ReportTextError) and "cannot be read" in str(report)


def test_empty_or_endless_report_is_refused() -> None:
    for text in ("", "--", "a" * (1 << 21)):
        assert isinstance(combined([document(text, "final")])[0], ReportTextError)


def test_words_of_tables_and_codes_of_hl7_are_statuses() -> None:
    names = ("Prelim", "F", " corrected ", "Amended", "addendum", "", "X")
    assert [status_named(name) for name in names] == [
        "preliminary", "final", "corrected", "corrected", "addendum", "unknown", "unknown"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("digits", "iso"),
    [
        ("202401", ""),
        ("20240131", "2024-01-31"),
        ("202401310955", "2024-01-31T09:55"),
        ("2024013109-0500", "2024-01-31T09"),
    ],
)
def test_times_sort_as_they_pass(digits: str, iso: str) -> None:
    assert iso_time(digits) == iso


def test_no_id_and_no_text_is_shown() -> None:
    shown = repr(
        ReportDocument(ReportText("Smith"), frozenset({"2.25.1"}), frozenset({"A1"}), frozenset({"Ann"}), "A1")
    )
    assert not any(secret in shown for secret in ("Smith", "2.25", "A1", "Ann"))
