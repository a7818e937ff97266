"""Whom a DICOM file names, and what stands in their place: keyed, so that nobody without the key can go back."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.uid import UID_dictionary

from medfuse.io.deidentify_elements import CHARACTER_SET, Elements
from medfuse.io.deidentify_text import REMOVED, code_strings, harmless_words, words_of
from medfuse.io.pseudonyms import Pseudonymizer
from medfuse.io.pydicom_reading import quiet_pydicom

__all__ = ["Identity", "day_shift", "decode_text", "encodings_of", "identity_of", "mapped_uid", "text_of"]

MAX_SHIFT_DAYS = 3650
MANY_LETTERS, MANY_DIGITS = 5, 8
DELIMITERS = {"\\", "\n", "\r", "\t", "\f", "^", "="}

IDS = frozenset(
    int(tag_for_keyword(keyword) or 0)
    for keyword in (
        "PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber", "PatientTelephoneNumbers",
        "MedicalRecordLocator", "AdmissionID", "ServiceEpisodeID", "PatientAddress", "StudyID", "RequestedProcedureID",
        "ClinicalTrialSubjectID", "ScheduledProcedureStepID", "PerformedProcedureStepID",
        "FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest",
    )
)  # fmt: skip
"""Attributes beside names whose words are the patient's own."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A patient as one file names them, and what stands in their place.

    Parameters
    ----------
    names : Pseudonymizer
        Its key maps UIDs.
    pseudonym : str
        For PatientID and PatientName.
    shift_days : int
        By which the patient's dates move.
    words : frozenset of str
        In lower case, of their names and ids and of the other persons the file names.
    spelled : tuple of bytes
        Those of the words that no file holds by chance, as bytes in lower case.
    """

    names: Pseudonymizer
    pseudonym: str
    shift_days: int
    words: frozenset[str] = field(repr=False)
    spelled: tuple[bytes, ...] = field(repr=False)

    def uid(self, uid: str) -> str:
        """Return what stands for a UID."""
        return mapped_uid(self.names, uid)

    def is_in(self, data: bytes) -> bool:
        """Tell whether bytes spell one of the words, as text of one or two bytes a letter."""
        folded = data.lower()
        return any(word in folded for word in self.spelled)


def _spelled(words: Iterable[str]) -> Iterator[bytes]:
    for word in words:
        is_long = len(word.encode()) >= (MANY_DIGITS if word.isdigit() else MANY_LETTERS)
        if is_long and len(set(word)) > 3 and word not in _common_text():
            yield word.encode()
            yield word.encode("utf-16-le")


@lru_cache
def _common_text() -> str:
    return " ".join((*harmless_words(), *(term.lower() for term in code_strings()), REMOVED.lower()))


def mapped_uid(names: Pseudonymizer, uid: str) -> str:
    """Return what stands for a UID: itself if the standard registers it, else one that the key gives.

    Parameters
    ----------
    names : Pseudonymizer
    uid : str

    Returns
    -------
    str
        2.25.<128 bits>, the same for the same key and UID, so that references hold.

    Notes
    -----
    Source: DICOM PS3.5 B.2 (UUID derived UID).

    Examples
    --------
    >>> names = Pseudonymizer(bytes(32))
    >>> mapped_uid(names, "1.2.840.10008.5.1.4.1.1.2"), mapped_uid(names, "1.2.3")
    ('1.2.840.10008.5.1.4.1.1.2', '2.25.111270838419102113046631732732850508562')
    """
    if not uid or uid in UID_dictionary or re.fullmatch(r"1\.2\.840\.10008(\.\d{1,4}){1,12}", uid):
        return uid
    return f"2.25.{int.from_bytes(_digest(names, 'uid', uid)[:16])}"


def day_shift(names: Pseudonymizer, patient_id: str) -> int:
    """Return by how many days the dates of a patient move: 1 to 3650 back.

    Examples
    --------
    >>> names = Pseudonymizer(bytes(32))
    >>> day_shift(names, "Ann") == day_shift(names, "Ann"), -3650 <= day_shift(names, "Bea") < 0
    (True, True)
    """
    return -1 - int.from_bytes(_digest(names, "days", patient_id)[:8]) % MAX_SHIFT_DAYS


def _digest(names: Pseudonymizer, kind: str, value: str) -> bytes:
    message = f"deidentify {kind}\x1f{value}".encode(errors="surrogateescape")
    return hmac.new(names.key, message, hashlib.sha256).digest()


def identity_of(elements: Elements, names: Pseudonymizer) -> Identity:
    """Find out whom a file names.

    Parameters
    ----------
    elements : tuple of Element
    names : Pseudonymizer

    Returns
    -------
    Identity
        Of a file without PatientID the pseudonym is that of its study.
    """
    patient = text_of(elements, "PatientID") or text_of(elements, "StudyInstanceUID")
    words = {word for text in _telling_texts(elements, ["iso8859"]) for word in _words_of_name(text)}
    return Identity(names, names.patient(patient), day_shift(names, patient), frozenset(words), tuple(_spelled(words)))


def _words_of_name(text: str) -> Iterable[str]:
    words = words_of(text)
    return {*words, "".join(words)} - {"", *(word for word in words if len(word) == 1 and word.isascii())}


def _telling_texts(elements: Elements, encodings: list[str]) -> Iterator[str]:
    encodings = encodings_of(elements, encodings)
    for element in elements:
        if not isinstance(element.value, bytes):
            for item in element.value:
                yield from _telling_texts(item, encodings)
        elif element.vr == "PN" or element.tag in IDS:
            text = decode_text(element.value, encodings)
            yield from re.split(r"[\\=]", text)


def encodings_of(elements: Elements, inherited: list[str]) -> list[str]:
    """Return the encodings of the texts of a data set, those around it if it names none."""
    found = next((element for element in elements if element.tag == CHARACTER_SET), None)
    if found is None or not isinstance(found.value, bytes):
        return inherited
    named = found.value.decode("ascii", "replace").strip(" \0").split("\\")
    with quiet_pydicom():
        try:
            return convert_encodings([name.strip() for name in named])
        except LookupError:
            return inherited


def decode_text(value: bytes, encodings: list[str]) -> str:
    """Return a text, characters that cannot be read replaced by ones that are in no word."""
    with quiet_pydicom():
        try:
            return decode_bytes(value, encodings, {ord(mark) for mark in DELIMITERS}).strip(" \0")
        except (LookupError, UnicodeError):
            return value.decode("latin-1").strip(" \0")


def text_of(elements: Elements, keyword: str) -> str:
    """Return the text of an attribute of a data set; empty if there is none."""
    tag = int(tag_for_keyword(keyword) or 0)
    for element in elements:
        if element.tag == tag and isinstance(element.value, bytes):
            return decode_text(element.value, encodings_of(elements, ["iso8859"]))
    return ""
