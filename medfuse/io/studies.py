"""Where a study lies (StudyEntry), and reading it (Study)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medfuse.errors import DataError, GeometryError, LesionPositionError, MedfuseError
from medfuse.io.nifti import read_nifti
from medfuse.io.pseudonyms import Pseudonymizer
from medfuse.io.report_files import check_report, read_report
from medfuse.io.volumes import ImageSource, open_source, read_source
from medfuse.types import Lesion, ReportText, StoredVolume, Study, Unit, Volume

__all__ = ["DEFAULT_CHANNEL", "LesionEntry", "ReportSource", "StudyEntry", "read_study", "read_text"]

DEFAULT_CHANNEL = "image"
"""Name of a study's image where it has one."""

MASK_TOLERANCE_MM = 1e-3
"""How far the affine of a mask may be from its image's."""

ReportSource = Path | ReportText
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LesionEntry:
    """Where one lesion's parts lie.

    Parameters
    ----------
    lesion_id : str
    channels : mapping of str to str
        Channel to key of ``StudyEntry.images``, where several series show different lesions; empty if the
        study's images are the channels.
    centre : tuple of float, optional
        RAS+ mm.
    mask : Path, optional
        Mask on the image's grid; its centre of mass is the position where ``centre`` is absent, and then its bounding
        box the lesion's extent.
    report : Path or ReportText, optional
        The lesion's own text.
    diameter_mm : float, optional
    refusal : MedfuseError, optional
        Why the lesion cannot be read, if that is known already.
    size_mm : tuple of float, optional
        Its extent along R, A and S, if it is given as a box around ``centre``.
    columns : mapping of str to str
        What else the manifest says of it.
    """

    lesion_id: str
    channels: Mapping[str, str] = field(default_factory=dict)
    centre: tuple[float, float, float] | None = None
    mask: Path | None = field(default=None, repr=False)
    report: ReportSource | None = field(default=None, repr=False)
    diameter_mm: float | None = None
    refusal: MedfuseError | None = None
    size_mm: tuple[float, float, float] | None = None
    columns: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class StudyEntry:
    """Where a study's parts lie. Real ids stay in it: it is never shown, logged or written.

    Parameters
    ----------
    study_uid, patient_id : str
    images : mapping of str to ImageSource
        By channel, or by a key that ``LesionEntry.channels`` uses; never by a real UID.
    report : Path or ReportText, optional
    lesions : tuple of LesionEntry
    find_lesions : callable, optional
        Reads the lesions from the study's own objects when the study is read, if none is given.
    unit : {"HU", "arbitrary"}
        Of NIfTI voxels; DICOM says its own.
    refusal : MedfuseError, optional
        Why the study cannot be read, if that is known already.
    """

    study_uid: str = field(repr=False)
    patient_id: str = field(repr=False)
    images: Mapping[str, ImageSource] = field(default_factory=dict, repr=False)
    report: ReportSource | None = field(default=None, repr=False)
    lesions: tuple[LesionEntry, ...] = ()
    find_lesions: Callable[[], tuple[LesionEntry, ...]] | None = field(default=None, repr=False, compare=False)
    unit: Unit = "arbitrary"
    refusal: MedfuseError | None = None


def read_study(
    entry: StudyEntry,
    *,
    pseudonymizer: Pseudonymizer,
    refusals: list[tuple[str, MedfuseError]] | None = None,
    whole: bool = True,
) -> Study:
    """Read a study: each image that is needed once, its report, its lesions.

    Parameters
    ----------
    entry : StudyEntry
    pseudonymizer : Pseudonymizer
    refusals : list, optional
        Gets (lesion_id, error) of each lesion that cannot be read; it is then left out. Without it the first
        such error is raised.
    whole : bool
        Read every voxel. Without it the images are `StoredVolume`s, of which only headers are read.

    Returns
    -------
    Study
        Its keys are pseudonyms.

    Raises
    ------
    DataError
        If the study, or each of its lesions, cannot be read.
    """
    if entry.refusal is not None:
        raise entry.refusal
    images = _Images(entry, read_source if whole else open_source)
    report = read_text(entry.report)
    lesions: list[Lesion] = []
    parts = entry.lesions or (entry.find_lesions() if entry.find_lesions else ())
    for part in parts:
        try:
            lesions.append(_read_lesion(part, images))
        except DataError as error:
            if refusals is None:
                raise
            refusals.append((part.lesion_id, error))
    if parts and not lesions:
        found = f"found no lesion that can be read, of {len(parts)}"
        raise DataError("study", found, expected="at least one")
    if not parts:
        images.read_all()
    return Study(
        pseudonymizer.study(entry.study_uid),
        pseudonymizer.patient(entry.patient_id),
        images.done,
        report,
        tuple(lesions),
    )


class _Images:
    """A study's images, each read once and only if a lesion needs it."""

    def __init__(self, entry: StudyEntry, read: Callable[..., Volume | StoredVolume]) -> None:
        self._entry = entry
        self._read = read
        self._failed: dict[str, DataError] = {}
        self.done: dict[str, Volume | StoredVolume] = {}

    def read(self, key: str) -> Volume | StoredVolume:
        if key in self._failed:
            raise self._failed[key]
        if key not in self.done:
            try:
                self.done[key] = self._read(self._entry.images[key], unit=self._entry.unit)
            except DataError as error:
                self._failed[key] = error
                raise
        return self.done[key]

    def read_all(self) -> list[Volume | StoredVolume]:
        return [self.read(key) for key in self._entry.images]


def _read_lesion(part: LesionEntry, images: _Images) -> Lesion:
    if part.refusal is not None:
        raise part.refusal
    volumes = [images.read(key) for key in part.channels.values()] if part.channels else images.read_all()
    centre, size_mm = part.centre, part.size_mm
    if centre is None and part.mask is not None and volumes:
        centre, size_mm = _mask_place(part.mask, volumes[0])
    if centre is not None:
        for volume in volumes:
            _check_inside(centre, volume)
    text = read_text(part.report)
    return Lesion(part.lesion_id, centre, part.channels, text, part.diameter_mm, size_mm, part.columns)


def _mask_place(path: Path, volume: Volume | StoredVolume) -> tuple[Point, Point]:
    """Return the centre of mass, and the least extent along R, A and S around it that holds every voxel."""
    mask = read_nifti(path)
    if mask.shape != volume.shape:
        found = f"found a mask of shape {mask.shape}"
        raise GeometryError("mask", found, expected=f"the image's shape {volume.shape}")
    if not np.allclose(mask.affine, volume.affine, rtol=0, atol=MASK_TOLERANCE_MM):
        raise GeometryError("mask", "found a mask whose affine is not its image's", expected="one grid for both")
    present = np.argwhere(mask.voxels)
    if not len(present):
        raise LesionPositionError("mask", "found an empty mask", expected="at least one voxel of lesion")
    x, y, z = (volume.affine @ [*present.mean(axis=0), 1.0])[:3].tolist()
    axes = volume.affine[:3, :3]
    away = np.abs((present - present.mean(axis=0)) @ axes.T).max(axis=0)
    r, a, s = (2 * away + np.abs(axes).sum(axis=1)).tolist()  # a voxel reaches half a step to each side
    return (x, y, z), (r, a, s)


def _check_inside(centre: Point, volume: Volume | StoredVolume) -> None:
    index = (np.linalg.inv(volume.affine) @ [*centre, 1.0])[:3]
    # A voxel reaches half a step to each side of its centre.
    if np.any(index < -0.5) or np.any(index > np.array(volume.shape) - 0.5):
        raise LesionPositionError("lesion", "found a position outside the image", expected="RAS+ mm inside it")


def read_text(source: ReportSource | None) -> ReportText | None:
    """Read a report from where it lies; None where there is none.

    Raises
    ------
    ReportTextError
        If it cannot be read as text.
    """
    if isinstance(source, Path):
        return read_report(source)
    return None if source is None else check_report(source)
