"""What all DICOM results of one case share: their UIDs, their date, who made them, and for whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from medfuse import __version__
from medfuse.io import derived_uid
from medfuse.io.dicom_source import SourceSeries
from medfuse.types import CaseId

__all__ = ["Stamp", "stamp_of"]

NO_DATE = ("19000101", "000000")
"""Stands for a date that nobody knows: a structured report must have one."""

PRESENT_MOMENT = ("InstanceCreationDate", "InstanceCreationTime", "ContributionDateTime")
"""Optional attributes that highdicom sets to the present moment."""

SIDED = ("1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.7")
"""Parametric map and secondary capture: classes whose objects state the side of the body."""

SERIES = {"sr": 9901, "seg": 9902, "pm": 9903, "sc": 9904, "pdf": 9904}
DESCRIPTIONS = {
    "sr": "medfuse result (research use only)",
    "seg": "medfuse contour of the map (research use only)",
    "pm": "medfuse attribution map (research use only)",
    "sc": "medfuse page (research use only)",
    "pdf": "medfuse page (research use only)",
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the objects of one case share.

    Parameters
    ----------
    source : SourceSeries
    case : CaseId
    model_id : str
    date, time : str
        As DICOM writes them.
    """

    source: SourceSeries = field(repr=False)
    case: CaseId
    model_id: str
    date: str
    time: str

    def uid(self, name: str) -> str:
        """Return a UID that depends on the source series, the model, the lesion and the name alone."""
        return derived_uid("medfuse result", self.source.series_uid, self.model_id, self.case.lesion_id, name)

    def tracking_uid(self) -> str:
        """Return the UID of the lesion itself, the same whatever model looks at it."""
        return derived_uid("lesion", self.source.series_uid, self.case.lesion_id)

    def general(self, kind: str) -> dict[str, Any]:
        """Return what every highdicom constructor takes.

        Parameters
        ----------
        kind : {"sr", "seg", "pm", "sc", "pdf"}
        """
        return {
            "series_instance_uid": self.uid(f"series {kind}"),
            "sop_instance_uid": self.uid(kind),
            "series_number": SERIES[kind],
            "instance_number": 1,
            "series_description": DESCRIPTIONS[kind],
            "manufacturer": "medfuse",
            "manufacturer_model_name": "medfuse",
            "software_versions": __version__,
            "device_serial_number": self.model_id,
            "content_date": self.date,
            "content_time": self.time,
            "specific_character_set": "ISO_IR 192",
        }

    def patient_and_study(self) -> dict[str, Any]:
        """Return what highdicom's constructors take that read no source image."""
        of = self.source.identity
        return {
            "study_instance_uid": of.StudyInstanceUID,
            "patient_id": of.PatientID,
            "patient_name": of.PatientName,
            "patient_birth_date": of.PatientBirthDate,
            "patient_sex": of.PatientSex,
            "accession_number": of.AccessionNumber,
            "study_id": of.StudyID,
            "study_date": of.StudyDate,
            "study_time": of.StudyTime,
            "referring_physician_name": of.ReferringPhysicianName,
        }

    def finish(self, dataset: Any) -> None:
        """Take out what a run would make different from the last, and state the side as far as it is known.

        Parameters
        ----------
        dataset : highdicom.SOPClass
            It is changed.

        Notes
        -----
        Laterality must be there unless the part of the body is named and unpaired. The part is not named here, which
        is the source's to say; the side is the source's, else empty, which means unknown. A segmentation must have
        none. Source: DICOM PS3.3 C.7.3.1.
        """
        holders = (dataset, *(dataset.get("ContributingEquipmentSequence") or ()))
        for keyword in PRESENT_MOMENT:
            for holder in holders:
                if keyword in holder:
                    delattr(holder, keyword)
        if dataset.SOPClassUID in SIDED:
            dataset.Laterality = self.source.identity.get("Laterality") or ""


def stamp_of(source: SourceSeries, case: CaseId, model_id: str, created: datetime | None) -> Stamp:
    """Date the objects of a case.

    Parameters
    ----------
    source : SourceSeries
    case : CaseId
    model_id : str
    created : datetime, optional
        By default when the source's images were made, so that a second run gives equal objects.

    Returns
    -------
    Stamp
    """
    if created is not None:
        return Stamp(source, case, model_id, created.strftime("%Y%m%d"), created.strftime("%H%M%S"))
    date, time = source.moment
    return Stamp(source, case, model_id, *((date, time or "000000") if date else NO_DATE))
