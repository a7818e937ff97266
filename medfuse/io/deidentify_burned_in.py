"""Images whose pixels may show who the patient is: said so, or of a kind that often holds text."""

from __future__ import annotations

import re

from pydicom.datadict import tag_for_keyword

from medfuse.io.deidentify_elements import Elements, RawFile
from medfuse.io.deidentify_identity import Identity, text_of
from medfuse.io.dicom_kinds import SECONDARY_CAPTURE, STORAGE
from medfuse.io.transfer_syntaxes import UNCOMPRESSED

__all__ = ["pixel_reason"]

ULTRASOUND = frozenset(STORAGE + end for end in ("3", "3.1", "6", "6.1", "6.2"))
PHOTOGRAPHS = STORAGE + "77.1."
MODALITIES = {
    "US": "ultrasound", "IVUS": "ultrasound", "OT": "of another kind", "SC": "a secondary capture",
    "DOC": "a document", "ES": "endoscopy", "XC": "a photograph", "GM": "microscopy", "SM": "microscopy",
    "ECG": "a tracing", "HC": "a hard copy",
}  # fmt: skip
SCREENS = ("SCREEN", "REPORT", "DOSE_INFO", "SECONDARY CAPTURE")


TEXT = re.compile(rb"[A-Za-z0-9^ ._-]{8}")


def pixel_reason(raw: RawFile, identity: Identity) -> str:
    """Say why the pixels of a file may show who the patient is.

    Parameters
    ----------
    raw : RawFile
    identity : Identity

    Returns
    -------
    str
        Empty if nothing speaks for it. BurnedInAnnotation NO is not believed of a secondary capture.

    Notes
    -----
    Source: DICOM PS3.15 E.3.1 (Clean Pixel Data Option), which is not taken: nothing looks at what the pixels show.
    """
    if not raw.pixels:
        return ""
    if raw.has_drawn_bits:
        return "an overlay in the unused bits of the pixels"
    if reason := _kind_reason(raw.elements):
        return reason
    if identity.is_in(raw.pixels):
        return "the name or id as text among the pixels"
    return "text behind the last pixel" if TEXT.search(_behind(raw)) else ""


def _kind_reason(elements: Elements) -> str:
    kind, modality = text_of(elements, "SOPClassUID"), text_of(elements, "Modality").upper()
    image_type = text_of(elements, "ImageType").upper()
    if text_of(elements, "BurnedInAnnotation").upper() == "YES":
        return "BurnedInAnnotation YES"
    if kind == SECONDARY_CAPTURE or kind.startswith(SECONDARY_CAPTURE + ".") or text_of(elements, "ConversionType"):
        return "a secondary capture"
    if kind in ULTRASOUND:
        return "ultrasound"
    if kind.startswith(PHOTOGRAPHS):
        return "a photograph or microscopy"
    if any(word in image_type for word in SCREENS):
        return "an image of a screen"
    return MODALITIES.get(modality, "")


def _behind(raw: RawFile) -> bytes:
    """Return what follows the last pixel of uncompressed ones: less than a frame, as more may be frames uncounted."""
    if raw.syntax not in UNCOMPRESSED:
        return b""
    numbers = [_number(raw, keyword) for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    n_frame = numbers[0] * numbers[1] * numbers[2] * numbers[3] // 8
    n_frames = int(frames) if (frames := text_of(raw.elements, "NumberOfFrames")).isdecimal() else 1
    behind = raw.pixels[12 + n_frame * n_frames :]
    return behind if n_frame and len(behind) < n_frame else b""


def _number(raw: RawFile, keyword: str) -> int:
    value = next((item.value for item in raw.elements if item.tag == tag_for_keyword(keyword)), b"")
    return int.from_bytes(value[:2], "little" if raw.is_little else "big") if isinstance(value, bytes) else 0
