"""Report files -> ReportText."""

from __future__ import annotations

import re
from pathlib import Path

from medfuse.errors import ReportTextError
from medfuse.io.containers import open_bytes
from medfuse.types import ReportText

__all__ = ["MAX_REPORT_BYTES", "check_report", "decode_text", "read_report"]

MAX_REPORT_BYTES = 1 << 20
"""1 MiB: some 300 pages; more is no report."""

ENCODINGS = ("utf-8", "cp1252", "latin-1")
"""Tried in this order. UTF-8 is proven by its own form; Windows-1252 and then Latin-1 are what older systems write."""

BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
"""Control characters that no text in the right encoding holds (an ISO 2022 escape, binary data)."""

WHERE = "report file"


def read_report(path: Path) -> ReportText:
    """Read a report from a text file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ReportText
        With the encoding that it was read with: by its byte order mark, else UTF-8, Windows-1252 or Latin-1.

    Raises
    ------
    ReportTextError
        If the file cannot be opened, is above `MAX_REPORT_BYTES`, empty or no text.
    """
    try:
        with open_bytes(path) as file:
            data = file.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise ReportTextError(WHERE, f"cannot be read ({type(error).__name__})", expected="a text file") from error
    if len(data) > MAX_REPORT_BYTES:
        raise ReportTextError(WHERE, "found a report that is too large", expected=f"at most {MAX_REPORT_BYTES} bytes")
    text, encoding = decode_text(data)
    return check_report(ReportText(text, encoding, source=WHERE))


def decode_text(data: bytes) -> tuple[str, str]:
    """Decode a text whose encoding is not known.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    text, encoding : str
        By its byte order mark, else UTF-8, Windows-1252 or Latin-1.

    Raises
    ------
    ReportTextError
        If it is no text.

    Examples
    --------
    >>> decode_text("3 mm".encode("utf-16"))
    ('3 mm', 'utf-16')
    """
    marked = [encoding for mark, encoding in BYTE_ORDER_MARKS.items() if data.startswith(mark)]
    for encoding in marked or ENCODINGS:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not NO_TEXT.search(text):
            return text, encoding
    raise ReportTextError(WHERE, "found binary data or an unknown encoding", expected="UTF-8 or Windows-1252 text")


def check_report(report: ReportText) -> ReportText:
    """Return a report that holds at least one word.

    Parameters
    ----------
    report : ReportText

    Returns
    -------
    ReportText
        The same.

    Raises
    ------
    ReportTextError
        If it holds none.

    Examples
    --------
    >>> check_report(ReportText("No nodule.")).text
    'No nodule.'
    """
    if not any(character.isalnum() for character in report.text):
        raise ReportTextError("report", "found an empty report", expected="at least one word")
    return report
