"""Codes of the DICOM results: those of DCM, SNOMED CT, LOINC and UCUM where they say what is meant, else 99MEDFUSE."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

__all__ = ["PRIVATE_SCHEME", "Code", "class_code", "private", "probability_code", "procedure_code", "quantity_code"]

PRIVATE_SCHEME = "99MEDFUSE"
PLAIN_VALUE = r"[A-Za-z0-9-]{1,16}"
MAX_MEANING = 64
"""Characters that a code's meaning may have. Source: DICOM PS3.5 6.2 (LO)."""


class Code(NamedTuple):
    """A coded concept."""

    value: str
    scheme: str
    meaning: str


PROBABILITY_OF_CANCER = Code("111047", "DCM", "Probability of cancer")
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
PROCEDURES = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
    "PT": Code("44136-0", "LN", "PET unspecified body region"),
}
CLASSES = {
    "benign": Code("30807003", "SCT", "Benign"),
    "malignant": Code("21594007", "SCT", "Malignant"),
    "positive": Code("10828004", "SCT", "Positive"),
    "negative": Code("260385009", "SCT", "Negative"),
    "present": Code("52101004", "SCT", "Present"),
    "absent": Code("272519000", "SCT", "Absent"),
    "normal": Code("17621005", "SCT", "Normal"),
    "abnormal": Code("263654008", "SCT", "Abnormal"),
    "yes": Code("373066001", "SCT", "Yes"),
    "no": Code("373067005", "SCT", "No"),
}
CANCER = frozenset({"malignant", "cancer", "malignancy"})
AFFIRMED = frozenset({"positive", "present", "yes"})
CLASS_ACTIVATION = Code("130402", "DCM", "Class activation")
GRADIENT_CLASS_ACTIVATION = Code("130403", "DCM", "Gradient-weighted class activation")
SALIENCY = Code("130404", "DCM", "Saliency")


def private(kind: str, name: str, meaning: str) -> Code:
    """Return a code of medfuse's own.

    Parameters
    ----------
    kind, name : str
        They make the value: as they are if it is short and plain, else the name by a digest, since many programs
        read no code of more than 16 characters.
    meaning : str
        Cut to what a meaning may hold.

    Returns
    -------
    Code

    Examples
    --------
    >>> private("input", "image", "image").value, private("target", "nodule texture", "nodule texture").value
    ('input-image', 'target-fc38e35a')
    """
    value = f"{kind}-{name}"
    if not re.fullmatch(PLAIN_VALUE, value):
        digest = hashlib.sha256(f"{kind}\x1f{name}".encode()).hexdigest()[:8]
        value = f"{kind[:7]}-{digest}"
    return Code(value, PRIVATE_SCHEME, meaning if len(meaning) <= MAX_MEANING else meaning[: MAX_MEANING - 1] + "…")


def class_code(target: str, name: str) -> Code:
    """Return the code of a class.

    Examples
    --------
    >>> class_code("malignancy", "Malignant").value, class_code("texture", "solid").value
    ('21594007', 'class-8726dfad')
    """
    return CLASSES.get(name.lower()) or private("class", f"{target} {name}", name)


def probability_code(target: str, name: str) -> Code:
    """Return the code of the probability of a class.

    Examples
    --------
    >>> probability_code("malignancy", "positive").meaning
    'Probability of cancer'
    >>> probability_code("texture", "solid").meaning
    'Probability of texture: solid'
    """
    if name.lower() in CANCER or (target.lower() in CANCER and name.lower() in AFFIRMED):
        return PROBABILITY_OF_CANCER
    return private("prob", f"{target} {name}", f"Probability of {target}: {name}")


def procedure_code(modality: str) -> Code:
    """Return the code of the procedure that made images of a modality. Source: DICOM PS3.16 CID 100.

    Examples
    --------
    >>> procedure_code("CT").value, procedure_code("OT").meaning
    ('25045-6', 'Imaging procedure')
    """
    return PROCEDURES.get(modality, IMAGING_PROCEDURE)


def quantity_code(method: str) -> Code:
    """Return the code of what an attribution method computes. Source: DICOM PS3.16 CID 217.

    Examples
    --------
    >>> quantity_code("Grad-CAM, layer 4").meaning, quantity_code("integrated_gradients").meaning
    ('Gradient-weighted class activation', 'Saliency')
    """
    name = re.sub(r"[\W_]+", "", method.lower())
    if "gradcam" in name:
        return GRADIENT_CLASS_ACTIVATION
    return CLASS_ACTIVATION if "cam" in name else SALIENCY
