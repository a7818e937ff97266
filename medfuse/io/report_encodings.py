"""Bytes of a report -> its characters, whatever system wrote them."""

from __future__ import annotations

import codecs
import re

from medfuse.errors import ReportTextError

__all__ = ["decode_text"]

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ISO_2022 = (b"\x1b$", b"\x1b(")
"""Escape sequences that change the character set. Source: ISO/IEC 2022, DICOM PS3.3 C.12.1.1.2."""
ISO_2022_ENCODINGS = ("iso2022_jp_2", "iso2022_jp_ext", "iso2022_kr")
WESTERN = ("cp1252", "latin-1")
OTHERS = ("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256")
"""What older systems write for other scripts; charset-normalizer chooses among them."""

DECLARED = re.compile(
    rb"<(?:\?xml|meta)[^>]{0,200}?(?:encoding|charset)\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.IGNORECASE
)
PADDING = b"\x00\x1a"
"""What DICOM, DOS and database fields append to fill a length or to end a file."""
HIGH_RUN = re.compile(rb"[\x80-\xff]+")
WESTERN_RUN = re.compile(
    rb"(?<![\x80-\xff])(?:[\x80-\xff]|(?<=[a-z])[\x80-\xff]{2}|[\x80-\xff]{2}(?=[a-z]))(?![\x80-\xff])"
)
"""One character that is not ASCII, or two within a word that is."""
NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
"""Control characters that no text in the right encoding holds."""

LOOKED_AT = 4096
"""So many bytes beyond ASCII tell the encoding."""
FEW = 16
"""Fewer of them tell nothing sure; GB18030, which a Chinese system must write, is then the likeliest."""
WHERE = "report"


def decode_text(data: bytes) -> tuple[str, str]:
    """Decode a text whose encoding is not known.

    In this order: its byte order mark; what its XML or HTML declares; ISO 2022 escapes; UTF-16 without a mark; UTF-8,
    which is proven by its own form; Windows-1252 and Latin-1, if what is not ASCII stands alone among ASCII letters;
    else what charset-normalizer finds likeliest. Padding at the end (NUL, Ctrl-Z) is left out.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    text, encoding : str

    Raises
    ------
    ReportTextError
        If it is no text.

    Examples
    --------
    >>> decode_text("3 mm".encode("utf-16"))
    ('3 mm', 'utf-16')
    >>> decode_text("Größe 3 mm".encode("cp1252"))
    ('Größe 3 mm', 'cp1252')
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decoded(data, (encoding,))
    declared = DECLARED.search(data[:LOOKED_AT])
    if declared and (named := _known(declared.group(1))):
        return _decoded(data.rstrip(PADDING), (named, "utf-8", *WESTERN))
    if any(escape in data for escape in ISO_2022):
        return _decoded(data.rstrip(PADDING), ISO_2022_ENCODINGS)
    if wide := _unmarked_utf16(data):
        return _decoded(data, (wide,))
    data = data.rstrip(PADDING)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return _decoded(data, _legacy(data))
    return _decoded(data, ("utf-8",))


def _decoded(data: bytes, encodings: tuple[str, ...]) -> tuple[str, str]:
    """Decode by the first encoding that gives a text."""
    control = ""
    for encoding in encodings:
        try:
            text = data.decode(encoding).rstrip("\0")
        except (UnicodeDecodeError, UnicodeError):
            continue
        bad = NO_TEXT.search(text)
        if not bad:
            return text, encoding
        control = control or f"U+{ord(bad.group()):04X}{' (NUL)' if bad.group() == chr(0) else ''}"
    found = f"found control character {control}, so binary data or an unknown encoding" if control else ""
    found = found or f"found bytes that {' or '.join(encodings)} cannot decode: an unknown encoding"
    raise ReportTextError(WHERE, found, expected="text in UTF-8, or in another encoding that it is all in")


def _known(name: bytes) -> str:
    """Return Python's name of a declared encoding; empty for an unknown one, or one that the bytes disprove."""
    try:
        found = codecs.lookup(name.decode("ascii"))
        is_text = bool(found._is_text_encoding)  # else it is a codec such as zlib, which must not run on input
    except (LookupError, UnicodeDecodeError):
        return ""
    wide = found.name.startswith(("utf-16", "utf-32"))  # such bytes would not have shown the declaration
    return found.name if is_text and not wide else ""


def _unmarked_utf16(data: bytes) -> str:
    """Return UTF-16's byte order where every second byte of mostly Latin text is NUL."""
    part = data[:LOOKED_AT]
    half = len(part) // 2
    if half < 2 or len(data) % 2:
        return ""
    even, odd = part[0::2].count(0), part[1::2].count(0)
    if odd > 0.6 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * half and odd < 0.1 * half else ""


def _legacy(data: bytes) -> tuple[str, ...]:
    if 2 * len(WESTERN_RUN.findall(data)) >= len(HIGH_RUN.findall(data)):
        return (*WESTERN, "gb18030")
    from charset_normalizer import from_bytes

    # ASCII tells nothing of an encoding and only blurs the guess; but a second byte may be ASCII in some of them.
    telling = b" ".join(re.findall(rb"(?:[\x80-\xff][\x40-\x7e]?)+", data))[:LOOKED_AT]
    if len(telling) < FEW:
        return ("gb18030", *WESTERN)
    best = from_bytes(telling, cp_isolation=[*OTHERS, *WESTERN]).best()
    first = (best.encoding,) if best is not None else ()
    return (*first, "gb18030", *WESTERN)
