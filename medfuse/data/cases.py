"""Manifest -> prepared cases: images once, texts kept as text until a tokenizer is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from medfuse.data.preprocessing import Preprocessing, lesion_text
from medfuse.errors import DataError, ManifestError, MedfuseError, nearest_name
from medfuse.io import Manifest, Pseudonymizer, read_study
from medfuse.progress import Progress
from medfuse.tensors import Sample
from medfuse.types import CaseId, Lesion, ReportText, Study, Target

__all__ = ["Case", "CaseSet", "load_cases", "to_samples"]

LABEL = "label_"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One labelled case, its image prepared.

    Parameters
    ----------
    id : CaseId
    patient_key : str
        Keyed pseudonym.
    patient_id : str
        The real one, so that a split is the same whatever the key; never written or shown.
    image : Tensor, shape (C, I, J, K), optional
    text : ReportText, optional
        Untouched; it is tokenized once a tokenizer has been trained on the training texts.
    targets : mapping of str to int
        Class index by target; an unknown label is left out.
    row : mapping of str to str
        The manifest's split, fold and free columns.
    """

    id: CaseId
    patient_key: str
    patient_id: str = field(repr=False)
    image: Tensor | None
    text: ReportText | None
    targets: Mapping[str, int]
    row: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class CaseSet:
    """What `load_cases` gives.

    Parameters
    ----------
    cases : tuple of Case
    refused : tuple of (study_key, lesion_id, reason)
        A refused study has an empty lesion_id.
    n_unlabelled : int
        Cases of which no target's label is known; they are left out unless asked for.
    """

    cases: tuple[Case, ...]
    refused: tuple[tuple[str, str, str], ...]
    n_unlabelled: int


def load_cases(
    manifest: Manifest,
    *,
    preprocessing: Preprocessing,
    targets: Sequence[Target],
    pseudonymizer: Pseudonymizer,
    keep_unlabelled: bool = False,
    progress: Progress = iter,
) -> CaseSet:
    """Read and prepare the cases of a manifest.

    Parameters
    ----------
    manifest : Manifest
    preprocessing : Preprocessing
        Its tokenizer is not needed yet.
    targets : sequence of Target
    pseudonymizer : Pseudonymizer
    keep_unlabelled : bool
        Keep cases of which no target is known: training can still learn attributes and alignment from them.
    progress : callable
        Wraps the studies, for example to show a bar.

    Returns
    -------
    CaseSet
        A bad study or lesion is named there; the others go on.

    Raises
    ------
    ManifestError
        If a target has no column or a label is no class of it.
    DataError
        If no case is left.
    """
    labels = _labels(manifest, targets)
    rows = {(r["study_uid"], r["lesion_id"]): r for r in manifest.frame.to_dict("records")}
    cases: list[Case] = []
    refused: list[tuple[str, str, str]] = []
    n_unlabelled = 0
    for entry in progress(manifest.entries(unit=preprocessing.unit)):
        known = tuple(e for e in entry.lesions if labels[entry.study_uid, e.lesion_id])
        n_unlabelled += len(entry.lesions) - len(known)
        wanted = entry.lesions if keep_unlabelled else known
        if not wanted:
            continue
        study_key = pseudonymizer.study(entry.study_uid)
        bad: list[tuple[str, MedfuseError]] = []
        try:
            study = read_study(replace(entry, lesions=wanted), pseudonymizer=pseudonymizer, refusals=bad)
        except DataError as error:
            # Where each lesion has its own reason, the study's "no lesion can be read" would only hide them.
            refused += [(study_key, lesion_id, str(why)) for lesion_id, why in bad or [("", error)]]
            continue
        for lesion in study.lesions:
            try:
                _check_trust(preprocessing, study, lesion)
                image = preprocessing.prepare_image(study, lesion)
            except DataError as error:
                bad.append((lesion.lesion_id, error))
                continue
            identity = (entry.study_uid, lesion.lesion_id)
            text = lesion_text(study, lesion)
            case_id = CaseId(study_key, lesion.lesion_id)
            free = {str(k): str(v) for k, v in rows[identity].items() if not str(k).startswith(_PRIVATE)}
            cases.append(Case(case_id, study.patient_key, entry.patient_id, image, text, labels[identity], free))
        refused.extend((study_key, lesion_id, str(error)) for lesion_id, error in bad)
    if not cases:
        found = f"found no usable case ({n_unlabelled} without a label, {len(refused)} refused)"
        raise DataError("manifest.csv", found, expected="at least one labelled case")
    return CaseSet(tuple(cases), tuple(refused), n_unlabelled)


def _check_trust(preprocessing: Preprocessing, study: Study, lesion: Lesion) -> None:
    """Refuse what casts doubt on one answer: in a training it would spoil them all."""
    for doubt in preprocessing.doubts(study, lesion):
        raise DataError(f"study {study.study_key}", f"found an {doubt.partition(':')[0]}", expected="one unit")


# Columns that begin like this stay out of ``Case.row``: real ids, texts, and paths (``image_path_ct`` too).
_PRIVATE = ("patient_id", "study_uid", "series_uid", "report_text", "image_path", "report_path", "mask_path")


def _labels(manifest: Manifest, targets: Sequence[Target]) -> dict[tuple[str, str], dict[str, int]]:
    columns = [c for c in manifest.frame.columns if c.startswith(LABEL)]
    labels: dict[tuple[str, str], dict[str, int]] = {}
    for target in targets:
        if LABEL + target.name not in columns:
            found = f"found no column {LABEL + target.name!r}"
            raise ManifestError("manifest.csv", found, expected=nearest_name(LABEL + target.name, columns))
    for number, row in enumerate(manifest.frame.to_dict("records"), start=2):
        known = labels.setdefault((row["study_uid"], row["lesion_id"]), {})
        for target in targets:
            value = row[LABEL + target.name]
            if value in target.classes:
                known[target.name] = target.classes.index(value)
            elif value:
                where = f"manifest.csv row {number} column {LABEL + target.name}"
                raise ManifestError(
                    where, "found a label that is no class", expected=nearest_name(value, target.classes)
                )
    return labels


def to_samples(
    cases: Sequence[Case], preprocessing: Preprocessing, *, attributes: Mapping[str, Target] | None = None
) -> list[Sample]:
    """Turn prepared cases into samples.

    Parameters
    ----------
    cases : sequence of Case
        Loaded with the same image options as ``preprocessing`` has.
    preprocessing : Preprocessing
        With its tokenizer; a modality that it does not read is left out.
    attributes : mapping of str to Target, optional
        By column of the manifest: further targets, for training; another value than a class is unknown.

    Returns
    -------
    list of Sample

    Raises
    ------
    DataError
        If a case has none of the modalities.
    """
    reads_image = "image" in preprocessing.modalities
    return [
        Sample(
            case.id,
            image=case.image if reads_image else None,
            token_ids=preprocessing.prepare_text(case.text),
            flags=preprocessing.prepare_flags(case.text),
            targets={**case.targets, **_attribute_labels(case, attributes or {})},
        )
        for case in cases
    ]


def _attribute_labels(case: Case, attributes: Mapping[str, Target]) -> dict[str, int]:
    return {
        target.name: target.classes.index(case.row[column])
        for column, target in attributes.items()
        if case.row.get(column) in target.classes
    }
