"""Studies or prepared samples in, calibrated predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from medfuse.data import collate
from medfuse.data.positions import with_positions
from medfuse.inference.bundle import Bundle, load_bundle
from medfuse.inference.calibration import conditions_of
from medfuse.tensors import Sample
from medfuse.types import Prediction, Study, answering

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
        logits = predict_logits(self.bundle, samples)
        predictions = []
        for target in self.bundle.targets:
            calibration = self.bundle.calibration[target.name]
            tables = {
                condition: calibration[condition].probabilities(by_target[target.name], target).tolist()
                for condition, by_target in logits.items()
            }
            for row, sample in enumerate(samples):
                used = modalities_of(sample, modalities)
                answered = {
                    condition: tuple(tables[condition][row])
                    for condition, needed in conditions_of(modalities).items()
                    if set(needed) <= set(used)
                }
                threshold = calibration[answering(answered)].threshold
                predictions.append(
                    Prediction(
                        sample.case,
                        target.name,
                        target.classes,
                        answered,
                        threshold,
                        used,
                        self.bundle.model_id,
                        (*(f"missing {_NAMES[m]}" for m in modalities if m not in used), *sample.doubts),
                    )
                )
        return predictions


_NAMES = {"image": "image", "text": "report", "table": "table"}


def predict_logits(bundle: Bundle, samples: Sequence[Sample]) -> dict[str, dict[str, Tensor]]:
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
    preprocessing = bundle.preprocessing
    conditions = conditions_of(preprocessing.modalities)
    parts: dict[str, dict[str, list[Tensor]]] = {c: {t.name: [] for t in bundle.targets} for c in conditions}
    with torch.inference_mode():
        for start in range(0, len(samples), BATCH_SIZE):
            batch = collate(
                samples[start : start + BATCH_SIZE],
                modalities=preprocessing.modalities,
                image_shape=preprocessing.image_shape,
                token_multiple=TOKEN_MULTIPLE,
            )
            for condition, kept in conditions.items():
                for name, logits in bundle.model(batch.only(*kept)).logits.items():
                    parts[condition][name].append(logits)
    return {
        condition: {name: torch.cat(rows) for name, rows in by_target.items()} for condition, by_target in parts.items()
    }


def modalities_of(sample: Sample, modalities: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of a model's modalities a sample has."""
    parts = {"image": sample.image, "text": sample.token_ids, "table": sample.table}
    return tuple(modality for modality in modalities if parts[modality] is not None)
