"""Every case of a study, explained and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from medfuse.data import Preprocessing
from medfuse.data.positions import Position, with_positions
from medfuse.data.preprocessing import lesion_text
from medfuse.explain.case_facts import case_facts, shown_volume
from medfuse.explain.dicom_files import write_dicom
from medfuse.explain.explaining import ExplainOptions, explain, held_against
from medfuse.explain.files import write_explanation
from medfuse.explain.masks import lesion_mask
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, StudyEntry, read_study
from medfuse.types import Lesion

__all__ = ["PageOptions", "explain_study"]


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How cases are explained, and what is written beside their pages.

    Parameters
    ----------
    pdf : bool
        Print each page to report.pdf too.
    dicom : bool
        Write what a PACS can keep: sr.dcm, seg.dcm, pm.dcm and, where the extra ``pdf`` is installed, pdf.dcm. They
        carry the images' real identity.
    run : Path, optional
        Folder of the run that made the model, for how well it does by group and what it cannot say.
    methods : ExplainOptions
    """

    pdf: bool = False
    dicom: bool = False
    run: Path | None = None
    methods: ExplainOptions = field(default_factory=ExplainOptions)


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
            options=page.methods,
        )
        mask = lesion_mask(entry, study, lesion, preprocessing=preprocessing) if shown else None
        if mask is not None:
            explanation = held_against(explanation, mask)
        provenance = {"model": predictor.bundle.model_id, **predictor.bundle.provenance}
        target = explanation.prediction.target
        facts = case_facts(study, lesion, sample=sample, preprocessing=preprocessing, run=page.run, target=target)
        written = write_explanation(
            explanation,
            out,
            provenance=provenance,
            window=preprocessing.shown_window,
            facts=facts,
            pdf=page.pdf or page.dicom,
        )
        if page.dicom:
            source = next((entry.images[key] for key in _channels(lesion, preprocessing) if key in entry.images), None)
            answers, printed = predictor.predict_samples([sample]), written / "report.pdf"
            write_dicom(
                explanation, written, source=source, predictions=answers, page=printed if printed.exists() else None
            )
        folders.append(written)
    return folders


def _channels(lesion: Lesion, preprocessing: Preprocessing) -> list[str]:
    """Return under which names a study may hold the images of a lesion, the one that is shown first."""
    return [lesion.channels.get(channel.source, channel.source) for channel in preprocessing.image.channels]
