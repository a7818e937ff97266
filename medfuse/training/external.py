"""A saved model + another site's labelled manifest -> a predictions table, and whom the model has met before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import pandas as pd

from medfuse.data import Case, CaseSet, Preparer, load_cases, open_store
from medfuse.image_config import CacheConfig
from medfuse.inference import Bundle, TrainingCases
from medfuse.io import Manifest, Pseudonymizer
from medfuse.progress import Progress
from medfuse.training.predictions import prediction_table

__all__ = ["ScoredManifest", "score_manifest"]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredManifest:
    """What a saved model says of a manifest's labelled cases.

    Parameters
    ----------
    table : DataFrame
        As contract.md lays predictions out; split ``"test"``.
    thresholds : mapping of str to mapping of str to float
        The model's own, chosen on its validation cases: by target, then by condition; of binary targets.
    loaded : CaseSet
        The cases, and those that were refused with their reasons.
    n_patients, n_images : int
        Patients of the cases, and cases with an image.
    known_patients, known_images : tuple of str
        case_id of each case whose patient the model was trained on, or whose very image it was. Patients are known
        again only under the pseudonym key of the training.
    notes : tuple of str
        What a reader of the figures must know of it, in sentences.
    """

    table: pd.DataFrame
    thresholds: Mapping[str, Mapping[str, float]]
    loaded: CaseSet
    n_patients: int
    n_images: int
    known_patients: tuple[str, ...]
    known_images: tuple[str, ...]
    notes: tuple[str, ...]


def score_manifest(
    bundle: Bundle,
    manifest: Manifest,
    *,
    pseudonymizer: Pseudonymizer,
    cache: CacheConfig | None = None,
    progress: Progress = iter,
) -> ScoredManifest:
    """Predict every labelled case of a manifest that the model was not trained from.

    Parameters
    ----------
    bundle : Bundle
    manifest : Manifest
        With a column ``label_<name>`` of each of the model's targets, of the model's classes.
    pseudonymizer : Pseudonymizer
        Of the training's key, so that its patients are known again.
    cache : CacheConfig, optional
        Where prepared images are kept; by default in memory only.
    progress : callable
        Wraps the studies.

    Returns
    -------
    ScoredManifest
        A bad study or lesion is named in ``loaded.refused``; the others are scored.

    Raises
    ------
    ManifestError
        If a target has no column, or a label is no class of it.
    DataError
        If no labelled case is left.
    """
    store = open_store(cache) if cache is not None else None
    with store or nullcontext():
        loaded = load_cases(
            manifest,
            preparer=Preparer(bundle.preprocessing, pseudonymizer, store),
            targets=bundle.targets,
            progress=progress,
        )
    table = prediction_table(bundle, loaded.cases, split="test")
    known = bundle.evidence.training_cases
    patients, images = ((), ()) if known is None else _known(known, loaded.cases)
    n_patients = len({case.patient_key for case in loaded.cases})
    n_images = sum(case.has_image for case in loaded.cases)
    thresholds = {
        target.name: {name: found.threshold for name, found in bundle.calibration[target.name].items()}
        for target in bundle.targets
        if target.kind == "binary"
    }
    notes = _notes(len(loaded.cases), patients, images, is_known=known is not None)
    return ScoredManifest(table, thresholds, loaded, n_patients, n_images, patients, images, notes)


def _known(training: TrainingCases, cases: Sequence[Case]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    patients = tuple(str(case.id) for case in cases if training.n_known_patients([case.patient_key]))
    images = tuple(
        str(case.id)
        for case in cases
        if case.has_image and (image := case.image) is not None and training.n_known_images([image])
    )
    return patients, images


def _notes(n: int, patients: Sequence[str], images: Sequence[str], *, is_known: bool) -> tuple[str, ...]:
    """Say what of these cases the training has seen.

    Examples
    --------
    >>> _notes(9, ["a", "b"], [], is_known=True)
    ('2 of 9 cases are of patients that the model was trained on: the figures flatter it.',)
    """
    if not is_known:
        return ("Nothing is known of the model's training cases: some of these may be among them.",)
    notes = []
    if patients:
        notes.append(f"{len(patients)} of {n} cases are of patients that the model was trained on")
    if images:
        notes.append(f"{len(images)} of {n} cases show an image that the model was trained on")
    if notes:
        return tuple(f"{note}: the figures flatter it." for note in notes)
    return (
        "No image of these is one of the model's training images, and no patient one of its patients, as far as"
        " pseudonyms of this key tell.",
    )
