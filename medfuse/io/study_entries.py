"""A study of an index -> its entry: where its image, report and lesions lie, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from medfuse.config import SeriesRule
from medfuse.errors import DataError
from medfuse.io.report_documents import Paired
from medfuse.io.studies import LesionEntry, StudyEntry
from medfuse.io.study_series import Row, marked_lesions, study_series
from medfuse.io.volumes import ImageSource
from medfuse.types import Unit

__all__ = ["StudyParts", "study_entry"]


@dataclass(frozen=True, slots=True)
class StudyParts:
    """What an archive holds of one study. Real ids stay in it.

    Parameters
    ----------
    study_uid : str
    rows : sequence of mapping
        A row of the index a series; see `medfuse.io.archive_series.SERIES_COLUMNS`.
    sources : mapping of str to ImageSource
        By series_uid, of the series that are a volume or several.
    report, mask : Path, ReportText or DataError, optional
        An error where it is not certain which one that is.
    objects : sequence of (Path, str)
        SEG and RTSTRUCT objects with their SOP classes.
    """

    study_uid: str = field(repr=False)
    rows: Sequence[Row] = field(repr=False)
    sources: Mapping[str, ImageSource] = field(repr=False)
    report: Paired | None = field(default=None, repr=False)
    mask: Paired | None = field(default=None, repr=False)
    objects: Sequence[tuple[Path, str]] = field(default=(), repr=False)


def study_entry(
    parts: StudyParts,
    lesions: tuple[LesionEntry, ...],
    *,
    unit: Unit,
    rule: SeriesRule,
) -> StudyEntry:
    """Make the entry of one study.

    Parameters
    ----------
    parts : StudyParts
    lesions : tuple of LesionEntry
        Given by the user; without one its mask is its lesion, else what its SEG or RTSTRUCT objects mark.
    unit : {"HU", "arbitrary"}
        Of NIfTI voxels.
    rule : SeriesRule
        Which series is its image, where several are volumes.

    Returns
    -------
    StudyEntry
        With its refusal, if it cannot be used.
    """
    series = study_series(parts.rows, parts.sources, rule=rule)
    mask, report = parts.mask, parts.report
    if not lesions and isinstance(mask, Path):
        lesions = (LesionEntry("1", mask=mask),)
    elif not lesions and isinstance(mask, DataError):
        lesions = (LesionEntry("1", refusal=mask),)
    objects = () if lesions else tuple(parts.objects)
    patients = sorted({str(row["patient_id"]) for row in parts.rows})
    refusal: DataError | None = None
    if len(patients) > 1:
        refusal = DataError("study", f"found {len(patients)} patients (PatientID) in one study", expected="one")
    elif isinstance(report, DataError):
        refusal = report
    elif not series.images or not (lesions or objects):
        refusal = series.refusal
    return StudyEntry(
        parts.study_uid,
        patients[0],
        series.images if lesions or objects else series.image(),
        report=None if isinstance(report, DataError) else report,
        lesions=tuple(series.place(lesion) for lesion in lesions),
        find_lesions=partial(marked_lesions, objects, parts.rows, series) if objects else None,
        unit=unit,
        refusal=refusal,
    )
