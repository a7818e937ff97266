"""A study of an index -> its entry: where its image, report and lesions lie, or why it cannot be used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from medfuse.config import SeriesRule
from medfuse.errors import DataError
from medfuse.io.studies import LesionEntry, StudyEntry
from medfuse.io.study_series import marked_lesions, study_series
from medfuse.types import Unit

if TYPE_CHECKING:
    from medfuse.io.archive import ArchiveIndex

__all__ = ["study_entry"]


def study_entry(
    index: ArchiveIndex,
    study_uid: str,
    group: pd.DataFrame,
    lesions: tuple[LesionEntry, ...],
    *,
    unit: Unit,
    rule: SeriesRule,
) -> StudyEntry:
    """Make the entry of one study.

    Parameters
    ----------
    index : ArchiveIndex
    study_uid : str
    group : DataFrame
        Its rows of the index.
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
    rows = [{str(key): value for key, value in row.items()} for row in group.to_dict("records")]
    series = study_series(rows, index.sources, rule=rule)
    mask, report = index.masks.get(study_uid), index.reports.get(study_uid)
    if not lesions and isinstance(mask, Path):
        lesions = (LesionEntry("1", mask=mask),)
    elif not lesions and isinstance(mask, DataError):
        lesions = (LesionEntry("1", refusal=mask),)
    objects = () if lesions else tuple(index.objects.get(study_uid, ()))
    patients = sorted(set(group["patient_id"]))
    refusal: DataError | None = None
    if len(patients) > 1:
        refusal = DataError("study", f"found {len(patients)} patients (PatientID) in one study", expected="one")
    elif isinstance(report, DataError):
        refusal = report
    elif not series.images or not (lesions or objects):
        refusal = series.refusal
    return StudyEntry(
        study_uid,
        patients[0],
        series.images if lesions or objects else series.image(),
        report=None if isinstance(report, DataError) else report,
        lesions=tuple(series.place(lesion) for lesion in lesions),
        find_lesions=partial(marked_lesions, objects, rows, series) if objects else None,
        unit=unit,
        refusal=refusal,
    )
