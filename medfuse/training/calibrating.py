"""A trained model -> one that knows how sure it is: calibration, intervals, sets, its limit, its training cases."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from medfuse.data import Case, to_samples
from medfuse.evaluation import choose_threshold, fit_calibration
from medfuse.inference import (
    Bundle,
    Calibration,
    Evidence,
    NoveltyLimit,
    TrainingCases,
    Uncertainty,
    embed_samples,
    fit_novelty,
    fit_uncertainty,
    predict_logits,
)
from medfuse.inference.calibration import conditions_of
from medfuse.inference.novelty import MAX_IMAGES, ImageStatistics
from medfuse.inference.predictor import modalities_of
from medfuse.inference.training_cases import UNKNOWN, even_part, fingerprint, image_fingerprint
from medfuse.models.answers import class_logits
from medfuse.types import Array, Target

__all__ = ["calibrate", "learn_limit", "remember_cases", "with_evidence"]

log = logging.getLogger("medfuse")


def with_evidence(bundle: Bundle, train: Sequence[Case], validation: Sequence[Case]) -> Bundle:
    """Return a bundle that is calibrated and knows its training and validation cases.

    Parameters
    ----------
    bundle : Bundle
        Its weights are final; nothing else of it is read but its preprocessing and targets.
    train, validation : sequence of Case
        Of different patients.
    """
    calibrated = calibrate(bundle, validation)
    evidence = Evidence(
        calibrated.evidence.uncertainty,
        learn_limit(bundle, train, validation),
        remember_cases(bundle, train),
    )
    return replace(calibrated, evidence=evidence)


def calibrate(bundle: Bundle, validation: Sequence[Case]) -> Bundle:
    """Fit calibration, threshold, intervals and prediction sets of every target and condition.

    Parameters
    ----------
    bundle : Bundle
        Its own calibration is not read.
    validation : sequence of Case
        Each counts only under conditions whose modalities it has.

    Returns
    -------
    Bundle
        With the neutral calibration, and no interval, where the cases lack a class, which is logged.
    """
    samples = to_samples(validation, bundle.preprocessing)
    logits = predict_logits(bundle, samples)
    modalities = bundle.preprocessing.modalities
    present = [set(modalities_of(sample, modalities)) for sample in samples]
    calibration: dict[str, dict[str, Calibration]] = {}
    uncertainty: dict[str, dict[str, Uncertainty]] = {}
    for target in bundle.targets:
        calibration[target.name], uncertainty[target.name] = {}, {}
        for condition, needed in conditions_of(modalities).items():
            # A case that lacks a modality is never answered under this condition: it must not shape the answer.
            known = [
                i for i, case in enumerate(validation) if target.name in case.targets and set(needed) <= present[i]
            ]
            labels = [validation[i].targets[target.name] for i in known]
            values = logits[condition][target.name][known].double()
            if len(set(labels)) < 2:
                log.warning("%s, %s: not calibrated, since its validation cases lack a class", target.name, condition)
            fitted = _calibration_of(target, values, labels) if len(set(labels)) > 1 else Calibration()
            calibration[target.name][condition] = fitted
            if known:
                table = fitted.probabilities(values, target).numpy()
                patients = [validation[i].patient_key for i in known]
                uncertainty[target.name][condition] = fit_uncertainty(target, labels, table, patients)
    return replace(bundle, calibration=calibration, evidence=replace(bundle.evidence, uncertainty=uncertainty))


def _calibration_of(target: Target, logits: Tensor, labels: Sequence[int]) -> Calibration:
    """Fit the calibration of one target and condition; only a binary target is called by a threshold."""
    values = class_logits(logits, target).numpy()
    temperature, biases = fit_calibration(labels, values[:, 0] if target.kind == "binary" else values)
    fitted = Calibration(temperature, biases=biases)
    if target.kind != "binary":
        return fitted
    positive = fitted.probabilities(logits, target)[:, 1].numpy()
    return replace(fitted, threshold=choose_threshold(labels, positive))


def learn_limit(bundle: Bundle, train: Sequence[Case], validation: Sequence[Case]) -> NoveltyLimit | None:
    """Learn what training images look like and how far from it validation images lie; None if there are too few.

    Parameters
    ----------
    bundle : Bundle
        Its preprocessing says what an image is; its weights are not read.
    train, validation : sequence of Case
    """
    if "image" not in bundle.preprocessing.modalities:
        return None
    shown, held = ([case for case in cases if case.has_image] for cases in (train, validation))
    if len(shown) < 2 or not held:
        return None
    statistics = ImageStatistics(bundle.preprocessing.image_shape)
    part = even_part(len(shown), bytes_each=1, at_most=MAX_IMAGES)
    learnt, known = (_describe(cases, statistics) for cases in ([shown[row] for row in part], held))
    return fit_novelty(learnt, known, [case.patient_key for case in held])


def _describe(cases: Sequence[Case], statistics: ImageStatistics) -> Array:
    return np.stack([statistics(image) for case in cases if (image := case.image) is not None])


def remember_cases(bundle: Bundle, train: Sequence[Case]) -> TrainingCases:
    """Return what a model keeps of its training cases; see `medfuse.inference.TrainingCases`.

    Parameters
    ----------
    bundle : Bundle
        Its weights are final.
    train : sequence of Case
    """
    modalities = bundle.preprocessing.modalities
    kept = [train[row] for row in even_part(len(train), bytes_each=_embedding_bytes(bundle, train[:1]))]
    found = embed_samples(bundle, to_samples(kept, bundle.preprocessing)).unit
    images = (image for case in train if case.has_image and (image := case.image) is not None)
    known_images = {image_fingerprint(image) for image in images} if "image" in modalities else set()
    return TrainingCases(
        tuple(str(case.id) for case in kept),
        {modality: found[modality].astype(np.float16) for modality in modalities},
        {
            target.name: np.array([case.targets.get(target.name, UNKNOWN) for case in kept], dtype=np.int16)
            for target in bundle.targets
        },
        bundle.targets,
        np.array(sorted({fingerprint(case.patient_key.encode()) for case in train}), dtype=np.int64),
        np.array(sorted(known_images), dtype=np.int64),
    )


def _embedding_bytes(bundle: Bundle, one_case: Sequence[Case]) -> int:
    """Bytes of one case's embeddings as they are kept."""
    one = embed_samples(bundle, to_samples(one_case, bundle.preprocessing)).unit
    return sum(2 * array.shape[1] for array in one.values())
