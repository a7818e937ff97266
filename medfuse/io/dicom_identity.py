"""The header of a DICOM image -> what an object derived from it repeats: patient, study, series, equipment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medfuse.errors import VolumeError
from medfuse.io.inflating import open_dicom
from medfuse.io.pydicom_reading import READ_ERRORS, quiet_pydicom, read_dataset

__all__ = ["identity_of", "moment_of"]

REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Each object has these, empty if unknown. Source: DICOM PS3.3 C.7.1.1 and C.7.2.1."""

ESSENTIAL = (*REQUIRED, "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
"""A PACS finds a patient and a study by these: they are repeated as they are, valid or not."""

GROUPS = frozenset({0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028})
"""Where patient, study, series, equipment and frame of reference are described."""

MOMENTS = (
    ("AcquisitionDate", "AcquisitionTime"), ("ContentDate", "ContentTime"), ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)  # fmt: skip

DATE, TIME = re.compile(r"\d{8}"), re.compile(r"(\d\d){1,3}(\.\d{1,6})?")
SEXES = ("M", "F", "O")


def identity_of(path: Path, *, where: str) -> Any:
    """Read of an image what says whose it is.

    Parameters
    ----------
    path : Path
    where : str
        For error messages.

    Returns
    -------
    pydicom.Dataset
        In UTF-8, with what `medfuse.io.dicom_source.SourceSeries` promises.

    Raises
    ------
    VolumeError
        If the header cannot be read, or it is in a character set that is none of DICOM's: a name would be wrong.
    """
    from pydicom.dataset import Dataset

    try:
        with open_dicom(path) as file, quiet_pydicom():
            header = read_dataset(file, None)
            _check_character_set(header, where)
            identity = Dataset()
            for tag in sorted(header.keys()):
                if tag.group in GROUPS and not tag.is_private:
                    _copy(header, tag, identity)
            _complete(identity)
    except READ_ERRORS as error:
        found = f"found a header that cannot be read ({type(error).__name__})"
        raise VolumeError(where, found, expected="a whole, readable one") from error
    return identity


def moment_of(identity: Any) -> tuple[str, str]:
    """Return the date and time of the first pair in `MOMENTS` that has a date; the time may be empty."""
    for date, time in MOMENTS:
        if text := _date(identity.get(date)):
            return text, _time(identity.get(time))
    return "", ""


def _date(value: Any) -> str:
    """Return a date as DICOM writes it now, empty if it is none; some old scanners wrote 2004.01.19."""
    text = str(value or "").replace(".", "")
    return text if DATE.fullmatch(text) else ""


def _time(value: Any) -> str:
    text = str(value or "").replace(":", "")
    return text if TIME.fullmatch(text) else ""


def _check_character_set(header: Any, where: str) -> None:
    """Refuse a character set that pydicom would replace by another one."""
    from pydicom.charset import python_encoding

    named = header.get("SpecificCharacterSet") or ""
    if any(str(name).strip() not in python_encoding for name in ([named] if isinstance(named, str) else named)):
        raise VolumeError(where, "found an unknown SpecificCharacterSet", expected="one of DICOM's")


def _copy(header: Any, tag: Any, identity: Any) -> None:
    """Copy an attribute; one whose value is no valid one is left out, unless a PACS knows the patient by it."""
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    try:
        element = header[tag]
        if element.VR != "SQ" and element.keyword not in ESSENTIAL:
            values = element.value if element.VM > 1 else [element.value]
            for value in values:
                validate_value(element.VR, value, RAISE)
    except READ_ERRORS:
        if tag in _tags(ESSENTIAL):
            raise
        return
    identity.add(element)


def _tags(keywords: tuple[str, ...]) -> set[int]:
    from pydicom.datadict import tag_for_keyword

    return {tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None}


def _complete(identity: Any) -> None:
    """Make empty what every object must have and this one has not, or not validly."""
    for keyword in REQUIRED:
        if identity.get(keyword) is None:
            setattr(identity, keyword, "")
    identity.PatientBirthDate, identity.StudyDate = _date(identity.PatientBirthDate), _date(identity.StudyDate)
    identity.StudyTime = _time(identity.StudyTime)
    if identity.PatientSex not in SEXES:
        identity.PatientSex = ""
    identity.SpecificCharacterSet = "ISO_IR 192"
