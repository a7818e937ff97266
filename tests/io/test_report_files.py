from __future__ import annotations

from pathlib import Path

import pytest

from medfuse.errors import ReportTextError
from medfuse.io import read_report
from medfuse.io.report_files import MAX_REPORT_BYTES

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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n\t", "empty"),
        (b"--- ... ---", "empty"),
        (b"nodule\0\x01", "binary"),
        (bytes(range(128, 256)), "binary"),
        ("結節".encode("iso-2022-jp"), "encoding"),
        (b"\xff\xfea", "encoding"),
        (b"a" * (MAX_REPORT_BYTES + 1), "too large"),
    ],
)
def test_what_is_no_report_is_refused_without_its_text(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "r.txt").write_bytes(data)
    with pytest.raises(ReportTextError, match=message) as caught:
        read_report(tmp_path / "r.txt")
    assert "nodule" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.txt", "."])
def test_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReportTextError, match="cannot be read"):
        read_report(tmp_path / name)
