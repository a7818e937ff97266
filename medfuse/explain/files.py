"""An explanation as files: the page, its figures as JSON, the map as NIfTI on the image's grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medfuse.errors import DataError
from medfuse.io import write_nifti
from medfuse.reporting import write_explanation_report
from medfuse.reporting.explanation_facts import CaseFacts
from medfuse.reporting.pdf import write_pdf
from medfuse.types import Explanation, Volume

__all__ = ["write_explanation"]


def write_explanation(
    explanation: Explanation,
    out: Path,
    *,
    provenance: Mapping[str, str],
    window: tuple[float, float] | None = None,
    facts: CaseFacts | None = None,
    pdf: bool = False,
) -> Path:
    """Write one case's explanation.

    Parameters
    ----------
    explanation : Explanation
    out : Path
        The case's own folder is made in it, named by its pseudonym.
    provenance : mapping of str to str
        Shown on the page.
    window : tuple of float, optional
        Lowest and highest value drawn, in the unit of the image; by default its own range.
    facts : CaseFacts, optional
        What the page tells of the lesion and the model.
    pdf : bool
        Print the page to report.pdf too, where the extra ``pdf`` is installed.

    Returns
    -------
    Path
        The case's folder, with report.html, explanation.json, feedback.json and, if there is a map, explanation.nii.gz.

    Raises
    ------
    DataError
        If the case's lesion_id cannot be part of a file name.
    """
    name = str(explanation.prediction.case)
    if not name.isprintable() or set(name) & set("/\\"):  # a table of lesions must not choose where files go
        found = "found a character that no file name may hold"
        raise DataError("lesion_id", found, expected="letters, digits and hyphens")
    folder = out / name
    level_and_width = None if window is None else (sum(window) / 2, window[1] - window[0])
    page = write_explanation_report(explanation, folder, provenance=provenance, window=level_and_width, facts=facts)
    if pdf:
        write_pdf(page)
    if explanation.image_map is not None and explanation.affine is not None:
        volume = Volume(explanation.image_map, explanation.affine, source="explanation")
        write_nifti(volume, folder / "explanation.nii.gz")
    return folder
