"""Every case of a study, explained and written."""

from __future__ import annotations

from pathlib import Path

from medfuse.data.positions import Position, with_positions
from medfuse.data.preprocessing import lesion_text, lesion_volume
from medfuse.explain.explaining import explain
from medfuse.explain.files import write_explanation
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, StudyEntry, read_study

__all__ = ["explain_study"]


def explain_study(
    entry: StudyEntry, *, predictor: Predictor, out: Path, pseudonymizer: Pseudonymizer, position: Position = "require"
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
    preprocessing = predictor.preprocessing
    folders = []
    for lesion in study.lesions:
        sample = preprocessing(study, lesion)
        shown = sample.image is not None and lesion_volume(study, lesion) is not None
        explanation = explain(
            predictor,
            sample,
            text=lesion_text(study, lesion),
            affine=preprocessing.box_affine(study, lesion) if shown else None,
        )
        provenance = {"model": predictor.bundle.model_id, **predictor.bundle.provenance}
        folders.append(write_explanation(explanation, out, provenance=provenance, window=preprocessing.shown_window))
    return folders
