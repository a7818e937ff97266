"""An image that holds several slices -> one header a slice, so that all later steps see classic slices only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from medfuse.errors import VolumeError
from medfuse.io.dicom_elements import Found, Wanted, tag_of, vr_of
from medfuse.io.dicom_headers import SliceHeader, read_elements
from medfuse.io.dicom_kinds import is_enhanced
from medfuse.io.dicom_mosaic import is_mosaic, mosaic_slices

__all__ = ["PER_FRAME", "expand"]

SHARED, PER_FRAME = tag_of("SharedFunctionalGroupsSequence"), tag_of("PerFrameFunctionalGroupsSequence")
MAX_FRAMES = 100_000

MACROS: Mapping[str, tuple[str, ...]] = {
    "FrameContentSequence": (
        "StackID", "TemporalPositionIndex", "FrameAcquisitionNumber", "FrameAcquisitionDateTime", "DimensionIndexValues"
    ),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "MRImageFrameTypeSequence": ("FrameType", "ComplexImageComponent"),
    "CTImageFrameTypeSequence": ("FrameType",),
    "PETFrameTypeSequence": ("FrameType",),
    "XRay3DFrameTypeSequence": ("FrameType",),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CTXRayDetailsSequence": ("KVP",),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRTimingAndRelatedParametersSequence": ("RepetitionTime", "FlipAngle"),
    "MRModifierSequence": ("InversionTimes",),
    "MRDiffusionSequence": ("DiffusionBValue", "DiffusionDirectionality", "DiffusionGradientDirectionSequence"),
    "DiffusionGradientDirectionSequence": ("DiffusionGradientOrientation",),
    "CardiacSynchronizationSequence": ("NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase"),
    "TemporalPositionSequence": ("TemporalPositionTimeOffset",),
}  # fmt: skip
"""Functional groups that are read, and what of them. Source: DICOM PS3.3 C.7.6.16."""

CLASSIC_NAMES = {
    "FrameType": "ImageType",
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionTime",
    "NominalCardiacTriggerDelayTime": "TriggerTime",
}
"""What an attribute of a frame is called in a classic image."""

NAMES = {tag_of(key): CLASSIC_NAMES.get(key, key) for keywords in MACROS.values() for key in keywords}


def _wanted(keywords: Iterable[str]) -> Wanted:
    return {tag_of(key): _wanted(MACROS[key]) if key in MACROS else vr_of(tag_of(key)) for key in keywords}


GROUPS = _wanted(MACROS)
OF_FRAMES = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
"""What counts in the functional groups alone: on the top level of an enhanced image it means nothing."""


def expand(slices: Iterable[SliceHeader], *, where: str) -> list[SliceHeader]:
    """Turn each enhanced multi-frame image and each mosaic into one header a slice.

    Parameters
    ----------
    slices : iterable of SliceHeader
        Of images. Slices that came from here before stay as they are.
    where : str
        For error messages.

    Returns
    -------
    list of SliceHeader

    Raises
    ------
    VolumeError
        If a multi-frame image has no functional groups a frame, or a mosaic cannot be taken apart with certainty.
    """
    single: list[SliceHeader] = []
    for item in slices:
        if item.frame is None and is_mosaic(item):
            single.extend(mosaic_slices(item, where=where))
        elif item.frame is None and is_enhanced(item.values):
            single.extend(_frames(item, where))
        else:
            single.append(item)
    return single


def _frames(item: SliceHeader, where: str) -> list[SliceHeader]:
    found = read_elements(item.path, {SHARED: GROUPS, PER_FRAME: GROUPS}, where=where)
    groups = _items(found, PER_FRAME)
    n_frames = item.n_frames(where=where)
    if not groups:
        found_text = (
            "found a multi-frame image without PerFrameFunctionalGroupsSequence: no ImagePositionPatient a frame"
        )
        raise VolumeError(
            where, found_text, expected="an enhanced image with functional groups, or single-frame images"
        )
    if len(groups) != n_frames or n_frames > MAX_FRAMES:
        found_text = f"found {n_frames} NumberOfFrames and functional groups of {len(groups)} frames"
        raise VolumeError(where, found_text, expected=f"one group a frame, at most {MAX_FRAMES}")
    base = {key: text for key, text in item.values.items() if key not in OF_FRAMES}
    for shared in _items(found, SHARED)[:1]:
        base |= _values(shared)
    return [replace(item, values=base | _values(group), frame=index) for index, group in enumerate(groups)]


def _items(found: Found, tag: int) -> list[Found]:
    items = found.get(tag)
    return items if isinstance(items, list) else []


def _values(group: Found) -> dict[str, str]:
    """Return what one item of functional groups says, by classic keyword."""
    values: dict[str, str] = {}
    for tag, value in group.items():
        if isinstance(value, str):
            values[NAMES[tag]] = value
        elif value:  # a sequence within a frame's group has one item
            values |= _values(value[0])
    return values
