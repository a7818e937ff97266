from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import ReportTextError
from medfuse.io import read_report
from medfuse.io.report_files import MAX_REPORT_BYTES, parse_report

TEXT = "Befund: Rundherd 8 mm, Größe unverändert."


@pytest.mark.parametrize(
    ("written", "read"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("cp1252", "cp1252")],
)
def test_text_and_encoding_come_back(tmp_path: Path, written: str, read: str) -> None:
    (tmp_path / "r.txt").write_bytes(TEXT.encode(written))
    report = read_report(tmp_path / "r.txt")
    assert report.text == TEXT and report.encoding == read


def test_line_ends_are_untouched(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes(b"a\r\nb\tc\n")
    assert read_report(tmp_path / "r.txt").text == "a\r\nb\tc\n"


def test_rare_line_ends_become_plain_ones_and_no_offset_moves() -> None:
    assert parse_report("a\rb\x85c\u2028d\r\ne".encode()).text == "a\nb\nc\nd\r\ne"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n\t", "empty"),
        (b"--- ... ---", "empty"),
        (b"nodule\0\x01", "binary"),
        (bytes(range(128, 256)), "binary"),
        (b"\x1b$B\xff", "encoding"),
        (b"%PDF-1.7 nodule", "a PDF"),
        (b"PK\x03\x04nodule", "zip or Office"),
        (b"<p></p>", "empty report, no text in its HTML"),
        (rb"{\rtf1\ansi\u99999999? nodule}", "broken RTF"),
        (b"\xff\xfea", "encoding"),
        (b"a" * (MAX_REPORT_BYTES + 1), "too large"),
    ],
)
def test_what_is_no_report_is_refused_without_its_text(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "r.txt").write_bytes(data)
    with pytest.raises(ReportTextError, match=message) as caught:
        read_report(tmp_path / "r.txt")
    assert "nodule" not in str(caught.value)


def test_what_was_noticed_is_a_warning() -> None:
    assert parse_report(b"No nodule.").warnings == ()
    noted = parse_report("\u202eNo \ufffd nodule. ".encode("utf-16") + "a ".encode("utf-16-le") * 30_000).warnings
    words = ("encoding UTF-16", "bidirectional", "replacement", "truncated")
    assert len(noted) == 4 and all(any(word in note for note in noted) for word in words)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rb"{\rtf1\ansi\ansicpg1252 Gr\'f6\'dfe 3 mm\par}", "Größe 3 mm\n"),
        ("<html><body><p>Größe<br/>3 mm</p></body></html>".encode("cp1252"), "Größe\n3 mm"),
        ("<?xml version='1.0' encoding='gb18030'?><r><findings>左肺 3 mm</findings></r>".encode("gb18030"),
         "FINDINGS:\n左肺 3 mm"),
        (b"MSH|^~\\&|A||||20240131||ORU^R01|1|P|2.5\rPID|||P1||DOE^JANE\rOBR|1\rOBX|1|TX|||No nodule.\r", "No nodule."),
    ],
)  # fmt: skip
def test_markup_and_messages_give_their_words_alone(data: bytes, text: str) -> None:
    report = parse_report(data)
    assert report.text == text
    assert any("read from" in note for note in report.warnings)


def test_a_file_with_several_reports_is_refused() -> None:
    message = b"MSH|^~\\&|A||||2024||ORU^R01|1|P|2.5\rOBR|1\rOBX|1|TX|||One.\rOBR|2\rOBX|1|TX|||Two.\r"
    with pytest.raises(ReportTextError, match="2 reports"):
        parse_report(message)


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        report = parse_report(data)
    except ReportTextError:
        return
    assert "\0" not in report.text and any(character.isalnum() for character in report.text)


@pytest.mark.parametrize("name", ["absent.txt", "."])
def test_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReportTextError, match="cannot be read"):
        read_report(tmp_path / name)
