"""A DICOM series as what objects derived from it must name: whose it is, which images it has, where they lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from medfuse.errors import VolumeError
from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.dicom_identity import identity_of, moment_of
from medfuse.io.dicom_kinds import is_enhanced
from medfuse.io.dicom_split import Stack
from medfuse.io.dicom_writer import derived_uid
from medfuse.io.volumes import ImageSource, source_stack
from medfuse.types import Array

__all__ = ["ImageReference", "SourceSeries", "read_source_series"]

WHERE = "source series"
NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
"""What an object that is derived from a series must copy or name."""


class ImageReference(NamedTuple):
    """One image, by its UIDs, and which of its frames (from 1) are meant; none if it has only one."""

    class_uid: str
    instance_uid: str
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SourceSeries:
    """A series that results are written for. Real ids stay in it: it is never shown or logged.

    Parameters
    ----------
    stack : Stack
        The slices of the volume, in its order.
    identity : pydicom.Dataset
        What the first slice's file says of patient, study, series and equipment: no pixels, nothing private, each
        attribute that every object must have at least empty, and none whose value is no valid one.
    """

    stack: Stack = field(repr=False)
    identity: Any = field(repr=False)

    @property
    def affine(self) -> Array:
        """Index (column, row, slice) to RAS+ mm, shape (4, 4)."""
        return self.stack.affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        rows, columns = self.stack.slices[0].size(where=WHERE)
        return (columns, rows, len(self.stack.slices))

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID."""
        return self.stack.slices[0].text("SeriesInstanceUID")

    @property
    def modality(self) -> str:
        """Modality, empty if it names none."""
        return self.stack.slices[0].text("Modality")

    @property
    def moment(self) -> tuple[str, str]:
        """When its images were made, as DICOM's date and time; both empty if it does not say."""
        return moment_of(self.identity)

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID; of a series without one a UID derived from its own, which claims no other series."""
        uid = self.stack.slices[0].text("FrameOfReferenceUID")
        return uid or derived_uid("frame of reference", self.series_uid)

    def images(self, slices: Iterable[int] | None = None) -> list[ImageReference]:
        """Return the images that hold some slices, each once, in the volume's order.

        Parameters
        ----------
        slices : iterable of int, optional
            Indices from 0; by default all.
        """
        chosen = range(len(self.stack.slices)) if slices is None else sorted(set(slices))
        frames: dict[tuple[str, str], list[int]] = {}
        for k in chosen:
            item = self.stack.slices[k]
            found = frames.setdefault((item.text("SOPClassUID"), item.text("SOPInstanceUID")), [])
            if is_enhanced(item.values) and item.tile is None:
                found.append((item.frame or 0) + 1)
        return [ImageReference(*uids, tuple(sorted(numbers))) for uids, numbers in frames.items()]

    def evidence(self) -> list[Any]:
        """Return a data set an image, as a structured report lists them: the first with the whole identity."""
        from pydicom.dataset import Dataset

        found = [self.identity]
        for image in self.images():
            if image.instance_uid != self.identity.SOPInstanceUID:
                item = Dataset()
                item.SOPClassUID, item.SOPInstanceUID = image.class_uid, image.instance_uid
                item.SeriesInstanceUID = self.identity.SeriesInstanceUID
                item.StudyInstanceUID = self.identity.StudyInstanceUID
                found.append(item)
        return found

    def thickness_mm(self, step_mm: float) -> float:
        """Return the SliceThickness, or the step between slices where the series does not say it."""
        text = self.stack.slices[0].text("SliceThickness")
        value = float(self.stack.slices[0].numbers("SliceThickness", 1, where=WHERE)[0]) if text else 0.0
        return value if value > 0 else step_mm


def read_source_series(source: ImageSource) -> SourceSeries:
    """Read of a series what objects derived from it must name.

    Parameters
    ----------
    source : Path, Stack, SeriesFiles or tuple of SliceHeader
        As a `StudyEntry` names its images; one volume.

    Returns
    -------
    SourceSeries

    Raises
    ------
    VolumeError
        If it is a NIfTI image, which has no DICOM identity; if a UID that a derived object must name is absent or
        doubled, or the header or its character set cannot be read.
    """
    stack = source_stack(source)
    if not isinstance(stack, Stack):
        found = "found a NIfTI image, which says neither whose it is nor what it was made from"
        raise VolumeError(WHERE, found, expected="a DICOM series")
    for keyword in NEEDED:
        if not all(item.text(keyword) for item in stack.slices):
            raise VolumeError(WHERE, f"found images without {keyword}", expected="one in each, to refer to it")
    _check_unique(stack.slices)
    return SourceSeries(stack, identity_of(stack.slices[0].path, where=WHERE))


def _check_unique(slices: tuple[SliceHeader, ...]) -> None:
    files = {str(item.path) for item in slices}
    if len({item.text("SOPInstanceUID") for item in slices}) != len(files):
        found = "found different images of one SOPInstanceUID"
        raise VolumeError(WHERE, found, expected="a UID of its own for each, to refer to it")
