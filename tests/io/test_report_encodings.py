from __future__ import annotations

import pytest

from medfuse.errors import ReportTextError
from medfuse.io.report_encodings import decode_text

ENGLISH = "FINDINGS: 3×4 mm nodule – stable. Patient’s “cough”: 38°, ±2 µm."
GERMAN = "Befund: Rundherd 8 mm, Größe unverändert, keine Ergüsse."
CHINESE = "检查所见：左肺下叶见一大小约6mm结节，边界清楚。双侧胸腔未见积液。印象：左肺下叶结节。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((text, encoding) for text in (ENGLISH, GERMAN) for encoding in ("utf-8", "utf-8-sig", "cp1252")),
        *((ENGLISH, encoding) for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030")),
        *((CHINESE, encoding) for encoding in ("utf-8", "utf-16", "gb18030")),
        ("FINDINGS: 6 mm nodule 左肺下叶。 No effusion.", "gb18030"),
        ("胸部CT平扫", "gb18030"),
        ("左肺下葉可見一6mm結節，無胸腔積液。", "big5"),
        ("右下葉に6mmの結節を認める。", "iso2022_jp"),
        ("В нижней доле левого легкого узелок 6 мм. Плевральный выпот не выявлен.", "cp1251"),
        ("Nodule\x85next", "utf-8"),
    ],
)
def test_text_comes_back_from_the_encoding_that_wrote_it(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding))[0] == text


def test_a_byte_that_windows_1252_lacks_is_read_as_latin_1_or_refused() -> None:
    with pytest.raises(ReportTextError, match="control character"):
        decode_text(b"caf\x81 au lait")


@pytest.mark.parametrize("padding", [b"\0", b"\0\0\0", b"\x1a", b"\x1a\0\0"])
def test_padding_at_the_end_is_left_out(padding: bytes) -> None:
    assert decode_text(b"No nodule." + padding)[0] == "No nodule."


def test_a_declared_encoding_counts_and_a_codec_that_is_none_never_runs() -> None:
    assert decode_text("<meta charset='cp1250'>guzek płuca".encode("cp1250")) == (
        "<meta charset='cp1250'>guzek płuca",
        "cp1250",
    )
    assert decode_text(b"<?xml encoding='zlib'?>a")[1] == "utf-8"


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"nod\0ule", r"U\+0000 \(NUL\)"), (b"nodule\x07", r"U\+0007"), (b"\x1b$B\xff", "cannot decode"), (b"\xff\xfea", "utf-16")],
)  # fmt: skip
def test_what_no_encoding_reads_is_refused_by_what_was_found(data: bytes, message: str) -> None:
    with pytest.raises(ReportTextError, match=message):
        decode_text(data)
