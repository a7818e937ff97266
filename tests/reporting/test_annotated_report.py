from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from medfuse.reporting import write_annotated_reports
from medfuse.reporting.annotated_report import annotated_pieces
from medfuse.text import annotate
from medfuse.types import Finding, RadiologyReport, Section

TEXT = "FINDINGS: A 9 mm nodule, previously 6 mm. No effusion. Possible pneumonia. History of cancer."


def page_of(text: str, folder: Path) -> str:
    path = write_annotated_reports([(7, annotate(text))], folder / "page.html")
    return path.read_text(encoding="utf-8")


def test_status_is_told_by_word_and_by_pattern_not_by_colour_alone(tmp_path: Path) -> None:
    page = page_of(TEXT, tmp_path)
    for status in ("present", "absent", "uncertain", "historical"):
        assert f'<span class="status">{status}</span>' in page
    patterns = dict(re.findall(r"\.finding\.(\w+) \{ border-bottom-style: (\w+)", page))
    assert patterns == {"absent": "double", "uncertain": "dotted", "historical": "dashed"}  # present: solid


def test_the_table_says_what_is_known_of_each_finding(tmp_path: Path) -> None:
    page = page_of(TEXT, tmp_path)
    assert "9 mm<small>before 6 mm</small>" in page
    assert "<h2>Report 7</h2>" in page and "ChestX-ray14" in page


def test_text_is_escaped_and_the_page_asks_for_nothing(tmp_path: Path) -> None:
    page = page_of(TEXT + " <script>fetch('http://x.invalid')</script><img src=x onerror=alert(1)>", tmp_path)
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
    assert "default-src 'none'" in page and not re.search(r"(?:src|href)\s*=", page.replace("&lt;img src=", ""))


def test_hidden_characters_are_shown(tmp_path: Path) -> None:
    page = page_of("No nodule\u202e is seen.\u200b", tmp_path)
    assert "[U+202E]" in page and "\u202e" not in page and "[U+200B]" in page


def test_no_finding_is_not_called_normal(tmp_path: Path) -> None:
    assert "not the same as a normal report" in page_of("The patient was seen in the ward.", tmp_path)


def test_that_identity_was_replaced_is_said_with_its_limits(tmp_path: Path) -> None:
    path = write_annotated_reports([(1, annotate(TEXT))], tmp_path / "a.html", is_deidentified=True)
    assert "best effort" in path.read_text(encoding="utf-8")
    assert "best effort" not in page_of(TEXT, tmp_path)


def test_headings_stand_out() -> None:
    pieces = list(annotated_pieces(annotate("FINDINGS: A nodule.\nIMPRESSION: Nodule.")))
    assert [piece.text.strip() for piece in pieces if piece.is_heading] == ["FINDINGS:", "IMPRESSION:"]


@given(st.lists(st.tuples(st.integers(0, 28), st.integers(1, 9)), max_size=6))
def test_whatever_the_findings_the_pieces_are_the_text(spans: list[tuple[int, int]]) -> None:
    text = "FINDINGS: overlapping findings here."
    findings = tuple(Finding("nodule", "present", start, min(start + size, len(text))) for start, size in spans)
    report = RadiologyReport(text, (Section("findings", 10, len(text)),), (), findings)
    pieces = list(annotated_pieces(report))
    assert "".join(piece.text for piece in pieces) == text
    assert {piece.finding for piece in pieces} - {None} <= set(findings)
    assert bool(findings) == any(piece.finding for piece in pieces)
