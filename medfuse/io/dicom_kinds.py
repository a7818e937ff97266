"""What kind of image a DICOM file holds: a slice of a volume, or one that is set aside, and why."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

__all__ = ["COLOUR", "aside_reason", "is_enhanced", "is_volume_class"]

STORAGE = "1.2.840.10008.5.1.4.1.1."
"""Root of the storage SOP classes. Source: DICOM PS3.4 B.5."""

SLICE_CLASSES = frozenset(STORAGE + end for end in ("2", "4", "128"))
"""CT, MR and PET images: one slice each."""

ENHANCED_CLASSES = frozenset(
    STORAGE + end for end in ("2.1", "2.2", "4.1", "4.3", "4.4", "128.1", "130", "13.1.1", "13.1.2", "13.1.3")
)
"""Enhanced and legacy converted CT, MR and PET; X-ray 3D (angiography, craniofacial, breast tomosynthesis)."""

SECONDARY_CAPTURE = STORAGE + "7"

PROJECTIONS = (
    "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "12.1", "12.1.1", "12.2", "12.2.1", "481.1",
)  # fmt: skip
"""CR, DX, mammography, intra-oral, XA, RF and RT images."""

KINDS = {STORAGE + end: "a projection image" for end in PROJECTIONS} | {
    STORAGE + end: kind
    for kind, ends in {
        "an ultrasound image": ("3", "3.1", "6", "6.1", "6.2"),
        "a nuclear medicine image": ("20",),
        "a segmentation": ("66.4", "66.7"),
        "a parametric map": ("30",),
        "a radiotherapy dose": ("481.2",),
        "a photograph or microscopy": tuple(f"77.1.{end}" for end in ("1", "2", "3", "4", "5.1", "5.2", "6")),
    }.items()
    for end in ends
}


COLOUR = "a colour image"

TELLING = ("SOPClassUID", "Modality", "ImageType", "SamplesPerPixel", "PhotometricInterpretation")

PROJECTION_MODALITIES = frozenset({"CR", "DX", "MG", "XA", "RF", "IO", "PX", "RG", "RTIMAGE"})
"""For images that name no SOP class."""


def is_volume_class(uid: str) -> bool:
    """Tell whether images of a SOP class are slices of volumes.

    Examples
    --------
    >>> is_volume_class("1.2.840.10008.5.1.4.1.1.2"), is_volume_class("1.2.840.10008.5.1.4.1.1.1")
    (True, False)
    """
    return uid in SLICE_CLASSES or uid in ENHANCED_CLASSES


def is_enhanced(values: Mapping[str, str]) -> bool:
    """Tell whether an image's geometry is in functional groups: an enhanced SOP class, or several frames.

    Examples
    --------
    >>> is_enhanced({"NumberOfFrames": "60"}), is_enhanced({"NumberOfFrames": "1"})
    (True, False)
    """
    return values.get("SOPClassUID", "") in ENHANCED_CLASSES or values.get("NumberOfFrames", "1") != "1"


def aside_reason(values: Mapping[str, str]) -> str:
    """Say why an image is no slice of a volume.

    Parameters
    ----------
    values : mapping of str to str
        Needs ``SOPClassUID, Modality, ImageType, SamplesPerPixel, PhotometricInterpretation``.

    Returns
    -------
    str
        Empty if it is a slice of a volume, as far as these tell.

    Examples
    --------
    >>> grey = {"PhotometricInterpretation": "MONOCHROME2"}
    >>> aside_reason(grey | {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"})
    'a projection image (CR)'
    >>> aside_reason(grey | {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"})
    ''
    """
    return _reason(*(values.get(keyword, "") for keyword in TELLING))


COLOURS = (
    "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT",
    "YBR_RCT", "XYB", "HSV", "ARGB", "CMYK",
)  # fmt: skip
"""PS3.3 C.7.6.3.1.2; another value is not repeated: a damaged header may hold anything."""


@lru_cache(maxsize=1024)
def _reason(uid: str, modality: str, image_type: str, samples: str, photometric: str) -> str:
    is_grey = samples in ("", "1") and photometric in ("MONOCHROME1", "MONOCHROME2")
    colour = photometric if photometric in COLOURS else "unknown" if photometric else "none"
    shown = modality[:16] + ("" if is_grey else f", PhotometricInterpretation {colour}")
    if uid == SECONDARY_CAPTURE or uid.startswith(SECONDARY_CAPTURE + "."):
        return f"a secondary capture ({shown})"
    if uid and not is_volume_class(uid):
        return f"{KINDS.get(uid, 'an image of another kind')} ({shown})"
    if not uid and modality in PROJECTION_MODALITIES:
        return f"a projection image ({shown})"
    if "LOCALIZER" in image_type.upper().split("\\"):
        return f"a localizer ({shown})"
    return "" if is_grey else f"{COLOUR} ({shown})"
