"""One value of a DICOM file -> what may stay of it, by its VR. Source: DICOM PS3.5 6.2."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pydicom.datadict import dictionary_VM, tag_for_keyword

from medfuse.io.deidentify_dates import is_time, shift_date, shift_datetime
from medfuse.io.deidentify_elements import AMBIGUOUS
from medfuse.io.deidentify_identity import Identity, decode_text
from medfuse.io.deidentify_text import REMOVED, clean_code_string, clean_text

__all__ = ["clean_value", "dummy_value", "encode_text"]

NUMBERS: Mapping[str, int] = {
    "AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8,
}  # fmt: skip
"""Bytes of a number of each binary VR."""

DECIMAL = re.compile(r" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *", re.ASCII)
INTEGER = re.compile(r" *[+-]?\d+ *", re.ASCII)
AGE = re.compile(r"\d{3}[DWMY]", re.ASCII)
OLDEST = 90
"""Older patients are few: their age says who they are. Source: 45 CFR 164.514(b)(2)(i)(C)."""

TEXT_BYTES = 8
"""Whole numbers in as many bytes that are all letters are text."""

LONG_NUMBER = 6
"""A number with as many digits that is also one of the patient's ids is that id."""

CODE_LIKE = frozenset(
    int(tag_for_keyword(keyword) or 0)
    for keyword in ("ConvolutionKernel", "FilterType", "RescaleType", "PositionReferenceIndicator", "LUTExplanation")
)
"""Attributes of VR SH and LO whose values are code strings in truth: a kernel, a unit."""

ZONE, ZONE_TAG = re.compile(r"[+-]\d{4}", re.ASCII), 0x00080201
DUMMIES = {"DA": "19000101", "DT": "19000101000000", "TM": "000000", "AS": "000D", "IS": "0", "DS": "0"}

BULK = frozenset(
    int(tag_for_keyword(keyword) or 0)
    for keyword in (
        "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
        *(f"{kind}PaletteColorLookupTableData" for kind in (
            "Red", "Green", "Blue", "Alpha", "LargeRed", "LargeGreen", "LargeBlue", "SegmentedRed", "SegmentedGreen",
            "SegmentedBlue", "SegmentedAlpha")),
        "LUTData", "BlendingLookupTableData", "WaveformData", "WaveformPaddingValue", "ChannelMinimumValue",
        "ChannelMaximumValue", "SpectroscopyData", "FirstOrderPhaseCorrectionAngle", "PointCoordinatesData",
        "DoublePointCoordinatesData", "PrimitivePointIndexList", "TrianglePointIndexList", "EdgePointIndexList",
        "VertexPointIndexList", "LongPrimitivePointIndexList", "LongTrianglePointIndexList", "LongEdgePointIndexList",
        "LongVertexPointIndexList", "TrackPointIndexList", "AnnotationIndexList", "VectorGridData",
        "VectorCoordinateData", "FloatingPointValues", "VolumetricCurvePoints", "UValueData", "VValueData",
    )
) - {0}  # fmt: skip
"""Bulk data that are numbers; other values of VR OB, OD, OF, OL, OV and OW go."""


def clean_value(tag: int, vr: str, value: bytes, identity: Identity, *, encodings: list[str]) -> bytes | None:
    """Clean one value.

    Parameters
    ----------
    tag : int
    vr : str
    value : bytes
        As it stands in the file.
    identity : Identity
    encodings : list of str
        Of its text, as pydicom names them.

    Returns
    -------
    bytes or None
        Of even length; None if the element goes.
    """
    if not value:
        return value
    if vr in NUMBERS:
        return value if _is_numbers(tag, vr, value) and not identity.is_in(value) else b""
    if vr == AMBIGUOUS or vr[:1] == "O":
        is_number = tag in BULK or (vr == AMBIGUOUS and len(value) <= 8)
        return value if is_number and not identity.is_in(value) else None
    cleaner = _CLEANERS.get(vr)
    if cleaner is None:  # UR, UN and what is no VR
        return None
    text = decode_text(value, encodings)
    if tag == ZONE_TAG:
        return encode_text(text if ZONE.fullmatch(text) else "", vr)
    parts = [text] if vr in ("LT", "ST", "UT") else text.split("\\")
    if tag in CODE_LIKE:
        cleaner = _code_like
    cleaned = "\\".join(cleaner(part.strip(" \0"), identity) for part in parts)
    return encode_text(cleaned if cleaned.strip("\\") or vr in ("DS", "IS") else "", vr)


def _is_numbers(tag: int, vr: str, value: bytes) -> bool:
    """Tell whether a binary value is as many numbers as the dictionary allows, and no text in their place."""
    n_values, rest = divmod(len(value), NUMBERS[vr])
    most = dictionary_VM(tag).split("-")[-1]
    is_text = len(value) >= TEXT_BYTES and vr[0] != "F" and value.isascii() and value.decode().isprintable()
    return rest == 0 and (not most.isdigit() or n_values <= int(most)) and not is_text


def dummy_value(vr: str, value: bytes, identity: Identity) -> bytes | None:
    """Return what stands for a value that must be there but says nothing.

    Parameters
    ----------
    vr : str
    value : bytes
    identity : Identity

    Returns
    -------
    bytes or None
        Empty if the value is; None if the element goes.
    """
    if not value:
        return value
    if vr == "UI":
        return clean_value(0, vr, value, identity, encodings=["iso8859"])
    if vr in NUMBERS:
        return b"\0" * NUMBERS[vr]
    if vr == AMBIGUOUS or vr[:1] == "O":
        return b"\0" * 8
    return None if vr in ("UR", "UN") else encode_text(DUMMIES.get(vr, REMOVED), vr)


def encode_text(text: str, vr: str) -> bytes:
    r"""Return the bytes of a text, which is ASCII.

    Examples
    --------
    >>> encode_text("1.2", "UI"), encode_text("AXIAL", "CS")
    (b'1.2\x00', b'AXIAL ')
    """
    value = text.encode("ascii", "replace")
    return value + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)


def _text(text: str, identity: Identity) -> str:
    return clean_text(text, identity.words) or (REMOVED if text else "")


def _code_like(text: str, identity: Identity) -> str:
    code = clean_code_string(text, identity.words)
    return code if code != REMOVED else _text(text, identity)


def _number(form: re.Pattern[str]) -> Callable[[str, Identity], str]:
    def clean(text: str, identity: Identity) -> str:
        is_id = len(text) >= LONG_NUMBER and text in identity.words
        return text if form.fullmatch(text) and not is_id else ""

    return clean


def _age(text: str) -> str:
    if not AGE.fullmatch(text):
        return ""
    return f"{OLDEST:03d}Y" if text[3] == "Y" and int(text[:3]) > OLDEST else text


_CLEANERS: Mapping[str, Callable[[str, Identity], str]] = {
    "AE": lambda text, identity: REMOVED if text else "",
    "AS": lambda text, identity: _age(text),
    "CS": lambda text, identity: clean_code_string(text, identity.words),
    "DA": lambda text, identity: shift_date(text, identity.shift_days),
    "DS": _number(DECIMAL),
    "DT": lambda text, identity: shift_datetime(text, identity.shift_days),
    "IS": _number(INTEGER),
    "LO": _text,
    "LT": _text,
    "PN": lambda text, identity: REMOVED if text else "",
    "SH": _text,
    "ST": _text,
    "TM": lambda text, identity: text if is_time(text) else "",
    "UC": _text,
    "UI": lambda text, identity: identity.uid(text),
    "UT": _text,
}
