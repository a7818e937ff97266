"""A rendered page as a DICOM object: a PDF as Encapsulated PDF, a PNG as Secondary Capture."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from medfuse.errors import DataError
from medfuse.io.dicom_objects import source_items
from medfuse.io.dicom_source import ImageReference
from medfuse.reporting.dicom_results_codes import PRIVATE_SCHEME, Code
from medfuse.reporting.dicom_results_stamp import Stamp

__all__ = ["build_page", "page_kind"]

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
TITLE = Code("explanation-page", PRIVATE_SCHEME, "Explanation of one answer (research use only)")


def page_kind(page: bytes) -> str:
    r"""Tell by its first bytes what a page is written as.

    Returns
    -------
    str
        "pdf" or "sc" (a PNG).

    Raises
    ------
    DataError
        If it is neither.

    Examples
    --------
    >>> page_kind(b"%PDF-1.7 ..."), page_kind(b"\x89PNG\r\n\x1a\n...")
    ('pdf', 'sc')
    """
    if page.startswith(b"%PDF-"):
        return "pdf"
    if page.startswith(b"\x89PNG\r\n\x1a\n"):
        return "sc"
    raise DataError("page", "found bytes that are neither PDF nor PNG", expected="a rendered page")


def build_page(stamp: Stamp, page: bytes, images: Sequence[ImageReference]) -> Any:
    """Make the object of a page.

    Parameters
    ----------
    stamp : Stamp
    page : bytes
        PDF or PNG.
    images : sequence of ImageReference
        Of the source, that the page is about.

    Returns
    -------
    highdicom.SOPClass

    Raises
    ------
    DataError
        If it is neither, or a PNG that cannot be decoded.

    Notes
    -----
    Source: DICOM PS3.3 A.45.1 (Encapsulated PDF), A.8.1 (Secondary Capture).
    """
    kind = page_kind(page)
    made = _encapsulated(stamp, page) if kind == "pdf" else _captured(stamp, page)
    made.copy_patient_and_study_information(stamp.source.identity)
    references = source_items(images)
    if kind == "pdf":
        made.SourceInstanceSequence = references
    else:
        made.SourceImageSequence = references
    made.BurnedInAnnotation = "YES"  # the page shows the case's key, and the report where there is one
    stamp.finish(made)
    return made


def _encapsulated(stamp: Stamp, page: bytes) -> Any:
    import highdicom as hd

    made = hd.SOPClass(
        sop_class_uid=ENCAPSULATED_PDF,
        modality="DOC",
        transfer_syntax_uid=EXPLICIT_LITTLE,
        **stamp.patient_and_study(),
        **stamp.general("pdf"),
    )
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = ""  # it is made from several images, each with its own
    made.DocumentTitle = TITLE.meaning
    made.ConceptNameCodeSequence = [hd.sr.CodedConcept(*TITLE)]
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocument = page + b"\0" * (len(page) % 2)
    made.EncapsulatedDocumentLength = len(page)
    return made


def _captured(stamp: Stamp, page: bytes) -> Any:
    import highdicom as hd

    made: Any = hd.sc.SCImage(
        pixel_array=_pixels(page),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        transfer_syntax_uid=EXPLICIT_LITTLE,
        **stamp.patient_and_study(),
        **stamp.general("sc"),
    )
    made.PatientOrientation = ""  # a page has none; highdicom asks for one
    made.ConversionType = "WSD"
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = stamp.date, stamp.time
    return made


def _pixels(page: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a PNG's pixels, shape (rows, columns, 3), on white."""
    from matplotlib.image import imread

    try:
        values = np.asarray(imread(BytesIO(page), format="png"), dtype=np.float64)
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises on damaged files
        raise DataError("page", "found a PNG that cannot be decoded", expected="a whole one") from error
    if values.ndim == 2:
        values = values[:, :, None]
    opacity = values[:, :, 3:] if values.shape[2] == 4 else np.ones((*values.shape[:2], 1))
    colours = np.broadcast_to(values[:, :, :3], (*values.shape[:2], 3))
    return np.rint((colours * opacity + 1 - opacity) * 255).astype(np.uint8)
