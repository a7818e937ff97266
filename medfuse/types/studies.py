"""A patient's examination, its lesions, and the identity that everything is keyed by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from medfuse.errors import DataError, LesionPositionError
from medfuse.types.reports import ReportText
from medfuse.types.volumes import StoredVolume, Volume

__all__ = ["CaseId", "Lesion", "Study"]


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """One lesion of one study: a position, and perhaps its own text.

    Parameters
    ----------
    lesion_id : str
        Unique within the study.
    centre : tuple of float, optional
        (x, y, z) in RAS+ mm.
    channels : mapping of str to str
        Where several series of one study show different lesions: channel to key of ``Study.volumes``.
        Empty if the study's volumes are the channels.
    text : ReportText, optional
        The lesion's own text; it wins over the study's report.
    diameter_mm : float, optional
        Known diameter, used by baselines only.
    size_mm : tuple of float, optional
        Extent of its mask along R, A and S, centred on ``centre``.
    columns : mapping of str to str
        What else is known of it or its patient, by column; never shown.

    Raises
    ------
    LesionPositionError
        If the centre is not three finite numbers.
    """

    lesion_id: str
    centre: tuple[float, float, float] | None = None
    channels: Mapping[str, str] = field(default_factory=dict)
    text: ReportText | None = None
    diameter_mm: float | None = None
    size_mm: tuple[float, float, float] | None = None
    columns: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.centre is not None and not (len(self.centre) == 3 and np.all(np.isfinite(self.centre))):
            raise LesionPositionError(
                "lesion position", "found a centre that is not three finite numbers", expected="x, y, z in mm"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One patient's examination: images, report and lesions.

    Parameters
    ----------
    study_key, patient_key : str
        Keyed pseudonyms.
    volumes : mapping of str to Volume or StoredVolume
        By channel, or by a key that the lesions' ``channels`` name; empty if the study has no image.
    report : ReportText, optional
    lesions : tuple of Lesion

    Raises
    ------
    DataError
        If two lesions share one id, or there is neither image nor text.
    """

    study_key: str
    patient_key: str
    volumes: Mapping[str, Volume | StoredVolume]
    report: ReportText | None = None
    lesions: tuple[Lesion, ...] = ()

    def __post_init__(self) -> None:
        ids = [lesion.lesion_id for lesion in self.lesions]
        if len(set(ids)) != len(ids):
            raise DataError(f"study {self.study_key}", "found two lesions with one lesion_id", expected="each id once")
        if not self.volumes and self.report is None and not any(lesion.text for lesion in self.lesions):
            raise DataError(
                f"study {self.study_key}", "found neither image nor report", expected="at least one of them"
            )


@dataclass(frozen=True, slots=True, order=True)
class CaseId:
    """The identity that splits, predictions and reports are keyed by.

    Parameters
    ----------
    study_key : str
        Keyed pseudonym of the study.
    lesion_id : str
        Lesion within the study, or ``"whole"``.

    Examples
    --------
    >>> str(CaseId("S3f2a", "1"))
    'S3f2a-1'
    """

    study_key: str
    lesion_id: str

    def __str__(self) -> str:
        return f"{self.study_key}-{self.lesion_id}"
