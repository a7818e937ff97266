"""A series -> the volumes in it: one an orientation, matrix, echo, b value, phase and time point."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from medfuse.errors import GeometryError, PixelError, VolumeError
from medfuse.io.dicom_copies import drop_copies
from medfuse.io.dicom_frames import expand
from medfuse.io.dicom_geometry import DuplicateSliceError, volume_affine
from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.dicom_kinds import COLOUR
from medfuse.io.dicom_partition import Places, count_places, labels, parts, phases, places, ranks
from medfuse.io.transfer_syntaxes import READABLE
from medfuse.types import Array

__all__ = ["Stack", "split_series"]

SHARED = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality")
"""What all slices of one series share."""

GRIDS = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "StackID")
DIMENSIONS = (
    *GRIDS, "ConvolutionKernel", "ComplexImageComponent", "EchoTime", "EchoNumbers", "DiffusionBValue",
    "TemporalPositionIdentifier", "TemporalPositionIndex",
)  # fmt: skip
"""Slices that differ in one of these never belong to one volume."""

GROUPS = (
    "ImageType", "InversionTime", "FlipAngle", "RepetitionTime", "KVP", "DiffusionDirectionality",
    "DiffusionGradientOrientation", "AcquisitionNumber", "SliceThickness", "InstanceNumber",
)  # fmt: skip
"""These may differ within a volume. They part slices that are no volume together, if each part is one."""

TIME = "AcquisitionTime"
"""It says which volume a slice belongs to if each of its values is there once at each position."""

RANKS = (
    "TriggerTime", "NominalPercentageOfCardiacPhase", "FrameReferenceTime", "TemporalPositionTimeOffset",
    "DimensionIndexValues", TIME, "InstanceNumber",
)  # fmt: skip
"""These count what lies at one position: its n-th slice belongs to the n-th volume."""

CHECKABLE = 3
"""Slices needed to see whether steps are even."""

MAX_LABEL = 60


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The slices of one volume. Real ids stay in it: it is never shown, logged or written.

    Parameters
    ----------
    slices : tuple of SliceHeader
        Ordered along their normal.
    affine : ndarray, shape (4, 4)
        Index (column, row, slice) to RAS+ mm.
    warnings : tuple of str
    label : str
        What tells it from the other volumes of its series, as ``"EchoTime 4.92, volume 3 of 9 by InstanceNumber"``;
        empty if it is the only one.
    """

    slices: tuple[SliceHeader, ...] = field(repr=False)
    affine: Array
    warnings: tuple[str, ...] = ()
    label: str = ""


def split_series(slices: Sequence[SliceHeader], *, where: str = "series") -> list[Stack]:
    """Find the volumes of a series, by headers alone.

    Parameters
    ----------
    slices : sequence of SliceHeader
        Of one series, in any order, from any reader of tags. A file is opened only if it is an enhanced multi-frame
        image or a mosaic, or if two of them look like copies of each other.
    where : str
        For error messages.

    Returns
    -------
    list of Stack
        In the order of `DIMENSIONS`, then of time. Localizers, secondary captures and the like are set aside.

    Raises
    ------
    VolumeError
        Naming what cannot be read: no slices of a volume (a projection image), an unknown layout.
    PixelError
        If the transfer syntax cannot be read.
    GeometryError
        If position, orientation or spacing is absent or wrong, or differs where it must not; if slices are
        missing, unevenly spaced, or doubled with different pixels.
    """
    images, notes = _set_aside(slices, where)
    for item in images:
        if item.transfer_syntax not in READABLE:
            found = f"found transfer syntax {item.transfer_syntax[:64] or 'none'}, for which there is no codec"
            raise PixelError(where, found, expected="an uncompressed one, RLE, JPEG, JPEG-LS or JPEG 2000")
    images, copies = drop_copies(images, where=where)
    uids = [uid for item in images if (uid := item.text("SOPInstanceUID"))]
    if n_again := len(uids) - len(set(uids)):
        notes += (f"{n_again} images carry the SOPInstanceUID of another one (duplicate UIDs)",)
    frames = expand(images, where=where)
    for keyword in SHARED:
        if len({item.text(keyword) for item in frames}) > 1:
            raise GeometryError(where, f"found slices of different {keyword}", expected="one for the whole series")
    if not frames[0].text("StudyInstanceUID"):
        notes += ("found no StudyInstanceUID: whose images these are is unknown",)
    if any(item.text("PhotometricInterpretation") == "MONOCHROME1" for item in frames):
        notes += ("MONOCHROME1 concerns display only; no value is inverted",)
    stacks = _volumes(frames, where)
    return [_described(stack, len(stacks), notes + copies) for stack in stacks]


def _set_aside(slices: Sequence[SliceHeader], where: str) -> tuple[list[SliceHeader], tuple[str, ...]]:
    reasons = [item.aside_reason for item in slices]
    aside = Counter(reason for reason in reasons if reason)
    images = [item for item, reason in zip(slices, reasons, strict=True) if not reason]
    named = ", ".join(f"{reason} in {count} files" for reason, count in sorted(aside.items()))
    colour = next((reason for reason in aside if reason.startswith(COLOUR)), "")
    if not images:
        kind = PixelError if colour else VolumeError
        raise kind(
            where, f"found no slice of a volume but {named or 'nothing'}", expected="slices of a volume (CT, MR or PET)"
        )
    if colour:
        raise PixelError(where, f"found {colour} among its slices", expected="grey values")
    return images, (f"set aside: {named}",) if named else ()


def _described(stack: Stack, n_volumes: int, notes: tuple[str, ...]) -> Stack:
    if n_volumes > 1:
        notes = (f"one of {n_volumes} volumes of its series: {stack.label}", *notes)
    return replace(stack, warnings=notes + stack.warnings)


def _labelled(stack: Stack, text: str) -> Stack:
    return replace(stack, label=f"{text[:MAX_LABEL]}, {stack.label}" if stack.label else text[:MAX_LABEL])


def _volumes(frames: list[SliceHeader], where: str) -> list[Stack]:
    """Part slices by what never belongs together, and make volumes of each part."""
    numbers = {keyword: labels(frames, keyword) for keyword in DIMENSIONS}
    differing = [keyword for keyword, found in numbers.items() if len(set(found)) > 1]
    alike: dict[tuple[int, ...], list[SliceHeader]] = defaultdict(list)
    for index, item in enumerate(frames):
        alike[tuple(numbers[keyword][index] for keyword in differing)].append(item)
    _check_none_alone(list(alike.values()), differing, where)
    if differing and not set(differing) & set(GRIDS):
        _check_none_between(frames, numbers, differing, where)
    stacks = []
    for _, part in sorted(alike.items()):
        label = ", ".join(f"{keyword} {part[0].text(keyword) or 'absent'}"[:MAX_LABEL] for keyword in differing)
        try:
            found = _resolved(part, GROUPS, where)
        except GeometryError as error:
            if len(alike) == 1:
                raise
            reason = (
                f"found slices of different {', '.join(differing)}, which are no volumes of their own: {error.found}"
            )
            raise GeometryError(where, reason, expected=error.expected) from error
        stacks += [_labelled(stack, label) if label else stack for stack in found]
    return stacks


def _check_none_alone(alike: Sequence[Sequence[SliceHeader]], differing: Sequence[str], where: str) -> None:
    """Refuse a single slice of another kind among those of a volume; one of another orientation may be a scout."""
    sizes = [len({item.text("ImagePositionPatient") for item in part}) for part in alike]
    if min(sizes) == 1 < max(sizes) and "ImageOrientationPatient" not in differing:
        found = f"found slices of different {', '.join(differing)}: one alone among {max(sizes)} others"
        raise GeometryError(where, found, expected="one for each whole volume")


def _check_none_between(
    frames: Sequence[SliceHeader], numbers: dict[str, list[int]], differing: Sequence[str], where: str
) -> None:
    """Refuse slices that lie among those of another kind, filling their gaps: either kind may be half a volume."""
    at = places(frames, where=where)
    for keyword in differing:
        kinds = np.array(numbers[keyword])
        for kind in np.unique(kinds):
            own = at[kinds == kind]
            if len(np.unique(own)) < own.max() - own.min() + 1:
                found = f"found slices of different {keyword} that fill each other's gaps (missing slices)"
                raise GeometryError(where, found, expected="one for each whole volume")


def _resolved(slices: list[SliceHeader], keys: Sequence[str], where: str) -> list[Stack]:
    """Order slices as one volume; if they are none, as several, by the first of the keys that parts them so."""
    try:
        ordered, affine, notes = volume_affine(slices, where=where)
        return [Stack(tuple(ordered), affine, notes)]
    except GeometryError as error:
        cause = error
    at = places(slices, where=where)
    repeated = isinstance(cause, DuplicateSliceError)
    if repeated and at.max() == 0 and (lost := _lost_positions(slices)):
        if stacks := _without_copies(slices, where):
            return stacks
        raise GeometryError(where, lost, expected="a position for each slice, or a time for each image")
    least = min(CHECKABLE, int(at.max()) + 1) if repeated else CHECKABLE
    for number, key in enumerate(keys):
        found = parts(slices, numbers := labels(slices, key))
        if len(found) > 1 and min(count_places(numbers, at)) >= least:
            try:
                return [
                    _labelled(stack, f"{key} {part[0].text(key) or 'absent'}")
                    for part in found
                    for stack in _resolved(part, keys[number + 1 :], where)
                ]
            except GeometryError:
                continue
    if not repeated:
        raise cause
    return _ranked(slices, at, where)


def _lost_positions(slices: Sequence[SliceHeader]) -> str:
    """Say why images at one position may be slices that lost theirs; empty if they are a series in time."""
    if len({item.text("SliceLocation") for item in slices}) > 1:
        return f"found {len(slices)} images at one ImagePositionPatient, whose SliceLocation differ"
    telling = {*GROUPS, *RANKS, TIME, "ContentTime"} - {"InstanceNumber"}
    if any(len({item.text(key) for item in slices}) > 1 for key in telling):
        return ""
    return f"found {len(slices)} duplicate images at one ImagePositionPatient, which only InstanceNumber tells apart"


def _without_copies(slices: list[SliceHeader], where: str) -> list[Stack]:
    """Return the volumes without images that are there twice under two names; empty if there are none."""
    kept, notes = drop_copies(slices, where=where, renamed=True)
    if len(kept) == len(slices):
        return []
    return [replace(stack, warnings=stack.warnings + notes) for stack in _resolved(kept, GROUPS, where)]


def _ranked(slices: list[SliceHeader], at: Places, where: str) -> list[Stack]:
    """Part slices that lie at the same positions, equally many at each, by what counts them there."""
    counts = np.bincount(at)
    if counts.min() == counts.max():
        for key in RANKS:
            numbers = phases(slices, key, at) if key == TIME else ranks(slices, key, at)
            if numbers is not None:
                found = [volume_affine(part, where=where) for part in parts(slices, numbers)]
                return [
                    Stack(tuple(ordered), affine, notes, f"volume {n} of {len(found)} by {key}")
                    for n, (ordered, affine, notes) in enumerate(found, start=1)
                ]
    if stacks := _without_copies(slices, where):
        return stacks
    differing = [key for key in dict.fromkeys((*GROUPS, *RANKS)) if len({item.text(key) for item in slices}) > 1]
    cause = f" (they differ in {', '.join(differing)}: incomplete phases, time points or volumes?)" if differing else ""
    found_text = (
        f"found {int((counts > 1).sum())} duplicate slice positions of {len(counts)} whose pixels differ{cause}"
    )
    raise GeometryError(where, found_text, expected="each position once in a volume")
