"""Manifest -> prepared cases: images once, texts kept as text until a tokenizer is trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, overload

from torch import Tensor

from medfuse.data.prepared import PreparedImage, Preparer
from medfuse.data.preprocessing import Preprocessing
from medfuse.data.table import LABEL, ONLY_LABEL, is_label
from medfuse.errors import DataError, ManifestError, MedfuseError, nearest_name
from medfuse.io import LesionEntry, Manifest, StudyEntry
from medfuse.io.manifest import PRIVATE
from medfuse.io.studies import read_text
from medfuse.progress import Progress
from medfuse.tensors import Sample
from medfuse.types import CaseId, ReportText, Target

__all__ = ["Case", "CaseSet", "LazySamples", "load_cases", "to_samples"]

log = logging.getLogger("medfuse")
SHOWN = 5
"""Refusals that are named where no case is left."""


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
    prepared : PreparedImage, optional
        Where the image is kept.
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
    prepared: PreparedImage | None
    text: ReportText | None
    targets: Mapping[str, int]
    row: Mapping[str, str]

    @property
    def has_image(self) -> bool:
        """Whether there is an image, without reading it."""
        return self.prepared is not None and self.prepared.box is not None

    @property
    def image(self) -> Tensor | None:
        """The image, shape (C, I, J, K), float32, in [0, 1], if there is one; read anew each time."""
        return None if self.prepared is None else self.prepared.tensor()


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
    preparer: Preparer,
    targets: Sequence[Target],
    keep_unlabelled: bool = False,
    progress: Progress = iter,
) -> CaseSet:
    """Read and prepare the cases of a manifest.

    Parameters
    ----------
    manifest : Manifest
    preparer : Preparer
    targets : sequence of Target
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
    preprocessing, pseudonymizer = preparer.preprocessing, preparer.pseudonymizer
    entries = manifest.entries(unit=preprocessing.unit)
    preparer.check_room(entries)
    for entry in progress(entries):
        known = tuple(e for e in entry.lesions if labels[entry.study_uid, e.lesion_id])
        n_unlabelled += len(entry.lesions) - len(known)
        wanted = replace(entry, lesions=entry.lesions if keep_unlabelled else known)
        if not wanted.lesions:
            continue
        bad: list[tuple[str, MedfuseError]] = []
        images = preparer(wanted, refusals=bad)
        study_key, patient_key = pseudonymizer.study(entry.study_uid), pseudonymizer.patient(entry.patient_id)
        for part in wanted.lesions:
            if part.lesion_id not in images:
                continue
            image = images[part.lesion_id]
            try:
                text = _read_report(entry, part, preprocessing, image)
            except DataError as error:
                bad.append((part.lesion_id, error))
                continue
            identity = (entry.study_uid, part.lesion_id)
            free = {str(k): str(v) for k, v in rows[identity].items() if not str(k).startswith(PRIVATE)}
            case_id = CaseId(study_key, part.lesion_id)
            cases.append(Case(case_id, patient_key, entry.patient_id, image, text, labels[identity], free))
        refused.extend((study_key, lesion_id, str(error)) for lesion_id, error in bad)
    if not cases:
        for study_key, lesion_id, reason in refused[:SHOWN]:  # the caller gets no CaseSet to read them from
            log.warning("refused %s %s: %s", study_key, lesion_id, reason)
        found = f"found no usable case ({n_unlabelled} without a label, {len(refused)} refused)"
        raise DataError("manifest.csv", found, expected="at least one labelled case")
    return CaseSet(tuple(cases), tuple(refused), n_unlabelled)


def _read_report(
    entry: StudyEntry, part: LesionEntry, preprocessing: Preprocessing, image: PreparedImage
) -> ReportText | None:
    """Read a case's text; refuse what casts doubt on one answer: in a training it would spoil them all."""
    text = read_text(part.report) or read_text(entry.report)
    if text is None and not entry.images and "table" not in preprocessing.modalities:
        raise DataError("case", "found neither image nor report", expected="at least one of them")
    has = {"image": image.box is not None, "text": text is not None}
    if not any(has.get(modality, True) for modality in preprocessing.modalities):
        raise DataError("case", "found nothing that the model reads", expected=" or ".join(preprocessing.modalities))
    for doubt in preprocessing.doubts(image.facts, text):
        raise DataError("case", f"found an {doubt.partition(':')[0]}", expected="one unit")
    return text


def _labels(manifest: Manifest, targets: Sequence[Target]) -> dict[tuple[str, str], dict[str, int]]:
    labels: dict[tuple[str, str], dict[str, int]] = {}
    column_of = {target.name: _label_column(manifest, target, is_only=len(targets) == 1) for target in targets}
    for number, row in enumerate(manifest.frame.to_dict("records"), start=2):
        known = labels.setdefault((row["study_uid"], row["lesion_id"]), {})
        for target in targets:
            value = row[column_of[target.name]]
            if value in target.classes:
                known[target.name] = target.classes.index(value)
            elif value:
                where = f"manifest.csv row {number} column {column_of[target.name]}"
                raise ManifestError(
                    where, "found a label that is no class", expected=nearest_name(value, target.classes)
                )
    return labels


def _label_column(manifest: Manifest, target: Target, *, is_only: bool) -> str:
    """Return the column of a target; the only target may have the column ``label``."""
    columns = list(map(str, manifest.frame.columns))
    own = LABEL + target.name
    if own in columns:
        return own
    if is_only and ONLY_LABEL in columns:
        return ONLY_LABEL
    known = [name for name in columns if is_label(name)] or columns
    raise ManifestError("manifest.csv", f"found no column {own!r}", expected=nearest_name(own, known))


class _Rest(NamedTuple):
    """A sample but for its image."""

    case: CaseId
    token_ids: Tensor | None
    flags: Tensor | None
    targets: Mapping[str, int]
    table: Tensor | None


class LazySamples(Sequence[Sample]):
    """Samples whose images are read when they are asked for: a few hundred bytes a case, and its tokens.

    Parameters
    ----------
    cases : sequence of Case
    preprocessing : Preprocessing
        See `to_samples`.
    attributes : mapping of str to Target

    Raises
    ------
    DataError
        See `to_samples`.
    """

    def __init__(
        self, cases: Sequence[Case], preprocessing: Preprocessing, *, attributes: Mapping[str, Target]
    ) -> None:
        reads_image = "image" in preprocessing.modalities
        self._images = [case.prepared if reads_image and case.has_image else None for case in cases]
        self._rest = [
            _Rest(
                case.id,
                preprocessing.prepare_text(case.text),
                preprocessing.prepare_flags(case.text),
                {**case.targets, **_attribute_labels(case, attributes)},
                preprocessing.prepare_table(case.row),
            )
            for case in cases
        ]
        for image, rest in zip(self._images, self._rest, strict=True):
            if image is None:
                Sample(
                    rest.case, token_ids=rest.token_ids, table=rest.table
                )  # refused here, not in the midst of a training

    def __len__(self) -> int:
        return len(self._rest)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Return a sample, or a list of a part of them."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        image, rest = self._images[index], self._rest[index]
        tensor = None if image is None else image.tensor()
        return Sample(
            rest.case, tensor, token_ids=rest.token_ids, flags=rest.flags, targets=rest.targets, table=rest.table
        )


def to_samples(
    cases: Sequence[Case], preprocessing: Preprocessing, *, attributes: Mapping[str, Target] | None = None
) -> Sequence[Sample]:
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
    sequence of Sample
        Each is made when it is asked for.

    Raises
    ------
    DataError
        If a case has none of the modalities.
    """
    return LazySamples(cases, preprocessing, attributes=attributes or {})


def _attribute_labels(case: Case, attributes: Mapping[str, Target]) -> dict[str, int]:
    return {
        target.name: target.classes.index(case.row[column])
        for column, target in attributes.items()
        if case.row.get(column) in target.classes
    }
