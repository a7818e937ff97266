"""Every case of a study, explained and written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medfuse.data.positions import Position, with_positions
from medfuse.data.preprocessing import lesion_text
from medfuse.explain.case_facts import case_facts, shown_volume
from medfuse.explain.explaining import explain, held_against
from medfuse.explain.files import write_explanation
from medfuse.explain.masks import lesion_mask
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, StudyEntry, read_study

__all__ = ["PageOptions", "explain_study"]


@dataclass(frozen=True, slots=True)
class PageOptions:
    """What is written beside the pages, and what they are told.

    Parameters
    ----------
    pdf : bool
        Print each page to report.pdf too.
    figures : Path, optional
        metrics.json of the model's evaluation, for how well it does by group.
    """

    pdf: bool = False
    figures: Path | None = None


def explain_study(
    entry: StudyEntry,
    *,
    predictor: Predictor,
    out: Path,
    pseudonymizer: Pseudonymizer,
    position: Position = "require",
    page: PageOptions | None = None,
) -> list[Path]:
    """Explain every case of a study.

    Parameters
    ----------
    entry : StudyEntry
    predictor : Predictor
    out : Path
        Gets a folder a case, named by its pseudonym.
    pseudonymizer : Pseudonymizer
    position : {"require", "centre"}
        See `medfuse.data.positions.with_positions`.
    page : PageOptions, optional

    Returns
    -------
    list of Path
        The cases' folders.

    Raises
    ------
    DataError
        If the study or one of its cases cannot be read or prepared.
    """
    study = with_positions(read_study(entry, pseudonymizer=pseudonymizer, whole=False), position)
    preprocessing, page = predictor.preprocessing, page or PageOptions()
    folders = []
    for lesion in study.lesions:
        sample = preprocessing(study, lesion)
        shown = sample.image is not None and shown_volume(study, lesion, preprocessing=preprocessing) is not None
        explanation = explain(
            predictor,
            sample,
            text=lesion_text(study, lesion),
            affine=preprocessing.box_affine(study, lesion) if shown else None,
        )
        mask = lesion_mask(entry, study, lesion, preprocessing=preprocessing) if shown else None
        if mask is not None:
            explanation = held_against(explanation, mask)
        provenance = {"model": predictor.bundle.model_id, **predictor.bundle.provenance}
        target = explanation.prediction.target
        facts = case_facts(
            study, lesion, sample=sample, preprocessing=preprocessing, figures=page.figures, target=target
        )
        written = write_explanation(
            explanation, out, provenance=provenance, window=preprocessing.shown_window, facts=facts, pdf=page.pdf
        )
        folders.append(written)
    return folders
