"""Studies or prepared samples in, calibrated predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from medfuse.data import collate
from medfuse.data.positions import with_positions
from medfuse.inference.bundle import Bundle, load_bundle
from medfuse.inference.calibration import Calibration, conditions_of
from medfuse.inference.novelty import ImageStatistics
from medfuse.inference.uncertainty import with_uncertainty
from medfuse.tensors import Sample
from medfuse.types import OUT_OF_DISTRIBUTION, Prediction, Study, Target, answering

__all__ = ["Predictor", "modalities_of", "predict_logits"]

BATCH_SIZE = 32
TOKEN_MULTIPLE = 64
"""Tokens of a batch are padded to a multiple of it: texts of one such length are summed alike, whatever is beside."""


class Predictor:
    """A trained model with its preparation and calibration.

    Parameters
    ----------
    bundle : Bundle
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.preprocessing = bundle.preprocessing
        limit = bundle.evidence.novelty
        self._statistics = None if limit is None else ImageStatistics(bundle.preprocessing.image_shape)

    @classmethod
    def load(cls, folder: Path | str) -> Predictor:
        """Load a bundle folder; see `medfuse.inference.load_bundle`."""
        return cls(load_bundle(Path(folder)))

    def predict(self, study: Study) -> list[Prediction]:
        """Predict every lesion of a study.

        Parameters
        ----------
        study : Study

        Returns
        -------
        list of Prediction
            One a lesion and target; a study without lesions is the case ``whole``.

        Raises
        ------
        DataError
            If a lesion cannot be prepared.
        """
        lesions = with_positions(study, "require").lesions
        return self.predict_samples([self.preprocessing(study, lesion) for lesion in lesions])

    def predict_many(self, studies: Iterable[Study]) -> Iterator[list[Prediction]]:
        """Predict study after study."""
        for study in studies:
            yield self.predict(study)

    def predict_samples(self, samples: Sequence[Sample]) -> list[Prediction]:
        """Predict prepared samples.

        Parameters
        ----------
        samples : sequence of Sample
            Prepared by this predictor's ``preprocessing``.

        Returns
        -------
        list of Prediction
            By target, then in the order of the samples.
        """
        if not samples:
            return []
        modalities = self.preprocessing.modalities
        run = _run(self.bundle, samples)
        used = [modalities_of(sample, modalities) for sample in samples]
        novelties = [self._novelty(sample) for sample in samples]
        flags = [_flags(*facts, modalities) for facts in zip(samples, used, novelties, strict=True)]
        predictions: list[Prediction] = []
        for target in self.bundle.targets:
            calibration = self.bundle.calibration[target.name]
            tables = {
                condition: calibration[condition].probabilities(by_target[target.name], target).tolist()
                for condition, by_target in run.logits.items()
            }
            spreads = {
                condition: _spreads(by_target[target.name], calibration[condition], target)
                for condition, by_target in run.members.items()
                if by_target
            }
            plain = []
            for row, sample in enumerate(samples):
                answered = {
                    condition: tuple(tables[condition][row])
                    for condition, needed in conditions_of(modalities).items()
                    if set(needed) <= set(used[row])
                }
                answer = answering(answered)
                plain.append(
                    Prediction(
                        sample.case,
                        target.name,
                        target.classes,
                        answered,
                        calibration[answer].threshold,
                        used[row],
                        self.bundle.model_id,
                        flags[row],
                        novelty=novelties[row],
                        spread=spreads[answer][row] if spreads else (),
                    )
                )
            predictions += with_uncertainty(plain, target, self.bundle.evidence.uncertainty.get(target.name, {}))
        return predictions

    def _novelty(self, sample: Sample) -> float | None:
        limit = self.bundle.evidence.novelty
        if limit is None or self._statistics is None or sample.image is None:
            return None
        return limit.score(self._statistics(sample.image))


_NAMES = {"image": "image", "text": "report", "table": "table"}


def _flags(
    sample: Sample, used: tuple[str, ...], novelty: float | None, modalities: tuple[str, ...]
) -> tuple[str, ...]:
    missing = tuple(f"missing {_NAMES[modality]}" for modality in modalities if modality not in used)
    unlike = (OUT_OF_DISTRIBUTION,) if novelty is not None and novelty > 1 else ()
    return (*missing, *sample.doubts, *unlike)


def _spreads(members: Tensor, calibration: Calibration, target: Target) -> list[tuple[tuple[float, float], ...]]:
    """Return of each case and class what the members that find it least and most probable say."""
    each = torch.stack([calibration.probabilities(logits, target) for logits in members])
    both = torch.stack([each.amin(dim=0), each.amax(dim=0)], dim=2).tolist()
    return [tuple((low, high) for low, high in row) for row in both]


ByCondition = dict[str, dict[str, Tensor]]
_Parts = dict[str, dict[str, list[Tensor]]]


class _Run(NamedTuple):
    """Logits by condition, then by target: the model's, shape (cases, N), and an ensemble's members'."""

    logits: ByCondition
    members: ByCondition


def predict_logits(bundle: Bundle, samples: Sequence[Sample]) -> ByCondition:
    """Run a model over samples under every condition that it can be asked.

    Parameters
    ----------
    bundle : Bundle
    samples : sequence of Sample
        At least one.

    Returns
    -------
    dict of str to dict of str to Tensor of shape (cases, N)
        By condition, then by target. A row whose case lacks the condition's modalities is computed without
        them and must not be used.
    """
    return _run(bundle, samples).logits


def _run(bundle: Bundle, samples: Sequence[Sample]) -> _Run:
    preprocessing = bundle.preprocessing
    conditions = conditions_of(preprocessing.modalities)
    logits: _Parts = {condition: {} for condition in conditions}
    members: _Parts = {condition: {} for condition in conditions}
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH_SIZE):
            batch = collate(
                samples[start : start + BATCH_SIZE],
                modalities=preprocessing.modalities,
                image_shape=preprocessing.image_shape,
                token_multiple=TOKEN_MULTIPLE,
            )
            for condition, kept in conditions.items():
                output = bundle.model(batch.only(*kept))
                for found, parts in ((output.logits, logits), (output.members, members)):
                    for name, values in found.items():
                        parts[condition].setdefault(name, []).append(values)
    return _Run(_joined(logits, dim=0), _joined(members, dim=1))


def _joined(parts: _Parts, *, dim: int) -> ByCondition:
    return {c: {name: torch.cat(rows, dim=dim) for name, rows in by_target.items()} for c, by_target in parts.items()}


def modalities_of(sample: Sample, modalities: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of a model's modalities a sample has."""
    parts = {"image": sample.image, "text": sample.token_ids, "table": sample.table}
    return tuple(modality for modality in modalities if parts[modality] is not None)
