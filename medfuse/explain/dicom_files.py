"""An explanation as DICOM objects beside its page, where its images came as DICOM."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from medfuse.errors import DataError
from medfuse.io import read_source_series
from medfuse.io.volumes import ImageSource
from medfuse.reporting import explained_results, write_dicom_results
from medfuse.types import Explanation, Prediction

__all__ = ["write_dicom"]

log = logging.getLogger("medfuse")


def write_dicom(
    explanation: Explanation,
    folder: Path,
    *,
    source: ImageSource | None,
    predictions: Iterable[Prediction] = (),
    page: Path | None = None,
) -> list[Path]:
    """Write what a PACS can keep of an explanation; where that is not possible a warning says why.

    Parameters
    ----------
    explanation : Explanation
    folder : Path
        The case's own.
    source : ImageSource, optional
        The images that were explained; None for a case without one.
    predictions : iterable of Prediction
        Of the same case, of the model's other targets.
    page : Path, optional
        The printed page, a PDF.

    Returns
    -------
    list of Path
        sr.dcm, and seg.dcm, pm.dcm and pdf.dcm where there is something to put into them. They carry the images' real
        identity. Empty where none could be written.
    """
    try:
        if source is None:
            raise DataError("source series", "found a case without an image", expected="a DICOM series")
        series = read_source_series(source)
        content = page.read_bytes() if page is not None else b""
        results = explained_results(explanation, source=series, predictions=predictions, page=content)
        return write_dicom_results(folder, results, source=series)
    except DataError as error:
        log.warning("no DICOM results for %s: %s", explanation.prediction.case, error)
        return []
