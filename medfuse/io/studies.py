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
from medfuse.io.volumes import ImageSource, read_source
from medfuse.types import Lesion, ReportText, Study, Unit, Volume

__all__ = ["DEFAULT_CHANNEL", "LesionEntry", "ReportSource", "StudyEntry", "read_study"]

DEFAULT_CHANNEL = "image"
"""Name of a study's image where it has one."""

MASK_TOLERANCE_MM = 1e-3
"""How far the affine of a mask may be from its image's."""

ReportSource = Path | ReportText


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
        Mask on the image's grid; its centre of mass is the position where ``centre`` is absent.
    report : Path or ReportText, optional
        The lesion's own text.
    diameter_mm : float, optional
    refusal : MedfuseError, optional
        Why the lesion cannot be read, if that is known already.
    """

    lesion_id: str
    channels: Mapping[str, str] = field(default_factory=dict)
    centre: tuple[float, float, float] | None = None
    mask: Path | None = field(default=None, repr=False)
    report: ReportSource | None = field(default=None, repr=False)
    diameter_mm: float | None = None
    refusal: MedfuseError | None = None


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
) -> Study:
    """Read a study: each image that is needed once, its report, its lesions.

    Parameters
    ----------
    entry : StudyEntry
    pseudonymizer : Pseudonymizer
    refusals : list, optional
        Gets (lesion_id, error) of each lesion that cannot be read; it is then left out. Without it the first
        such error is raised.

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
    images = _Images(entry)
    report = _read_text(entry.report)
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

    def __init__(self, entry: StudyEntry) -> None:
        self._entry = entry
        self._failed: dict[str, DataError] = {}
        self.done: dict[str, Volume] = {}

    def read(self, key: str) -> Volume:
        if key in self._failed:
            raise self._failed[key]
        if key not in self.done:
            try:
                self.done[key] = read_source(self._entry.images[key], unit=self._entry.unit)
            except DataError as error:
                self._failed[key] = error
                raise
        return self.done[key]

    def read_all(self) -> list[Volume]:
        return [self.read(key) for key in self._entry.images]


def _read_lesion(part: LesionEntry, images: _Images) -> Lesion:
    if part.refusal is not None:
        raise part.refusal
    volumes = [images.read(key) for key in part.channels.values()] if part.channels else images.read_all()
    centre = part.centre
    if centre is None and part.mask is not None and volumes:
        centre = _mask_centre(part.mask, volumes[0])
    if centre is not None:
        for volume in volumes:
            _check_inside(centre, volume)
    return Lesion(part.lesion_id, centre, part.channels, _read_text(part.report), part.diameter_mm)


def _mask_centre(path: Path, volume: Volume) -> tuple[float, float, float]:
    mask = read_nifti(path)
    if mask.voxels.shape != volume.voxels.shape:
        found = f"found a mask of shape {mask.voxels.shape}"
        raise GeometryError("mask", found, expected=f"the image's shape {volume.voxels.shape}")
    if not np.allclose(mask.affine, volume.affine, rtol=0, atol=MASK_TOLERANCE_MM):
        raise GeometryError("mask", "found a mask whose affine is not its image's", expected="one grid for both")
    present = np.argwhere(mask.voxels)
    if not len(present):
        raise LesionPositionError("mask", "found an empty mask", expected="at least one voxel of lesion")
    x, y, z = (volume.affine @ [*present.mean(axis=0), 1.0])[:3]
    return (float(x), float(y), float(z))


def _check_inside(centre: tuple[float, float, float], volume: Volume) -> None:
    index = (np.linalg.inv(volume.affine) @ [*centre, 1.0])[:3]
    # A voxel reaches half a step to each side of its centre.
    if np.any(index < -0.5) or np.any(index > np.array(volume.voxels.shape) - 0.5):
        raise LesionPositionError("lesion", "found a position outside the image", expected="RAS+ mm inside it")


def _read_text(source: ReportSource | None) -> ReportText | None:
    if isinstance(source, Path):
        return read_report(source)
    return None if source is None else check_report(source)
