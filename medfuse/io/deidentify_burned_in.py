"""Images whose pixels may show who the patient is: said so, or of a kind that often holds text."""

from __future__ import annotations

from medfuse.io.deidentify_elements import Elements
from medfuse.io.deidentify_identity import text_of
from medfuse.io.dicom_kinds import SECONDARY_CAPTURE, STORAGE

__all__ = ["burned_in_reason"]

ULTRASOUND = frozenset(STORAGE + end for end in ("3", "3.1", "6", "6.1", "6.2"))
PHOTOGRAPHS = STORAGE + "77.1."
MODALITIES = {
    "US": "ultrasound", "IVUS": "ultrasound", "OT": "of another kind", "SC": "a secondary capture",
    "DOC": "a document", "ES": "endoscopy", "XC": "a photograph", "GM": "microscopy", "SM": "microscopy",
    "ECG": "a tracing", "HC": "a hard copy",
}  # fmt: skip
SCREENS = ("SCREEN", "REPORT", "DOSE_INFO", "SECONDARY CAPTURE")


def burned_in_reason(elements: Elements) -> str:
    """Say why an image's pixels may hold text.

    Parameters
    ----------
    elements : tuple of Element

    Returns
    -------
    str
        Empty if nothing speaks for it. BurnedInAnnotation NO is not believed of a secondary capture.

    Notes
    -----
    Source: DICOM PS3.15 E.3.1 (Clean Pixel Data Option), which is not taken: nothing looks at the pixels.
    """
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
