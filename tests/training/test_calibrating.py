from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medfuse.config import RunConfig
from medfuse.data import Case, to_samples
from medfuse.inference import Predictor, embed_samples, fit_novelty
from medfuse.inference.novelty import ImageStatistics
from medfuse.training import Fit, split_cases
from medfuse.training.calibrating import learn_limit, remember_cases
from medfuse.training.parts import Parts
from medfuse.types import OUT_OF_DISTRIBUTION


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], toy_config: RunConfig) -> Parts:
    return split_cases(toy_cases, toy_config.data, seed=toy_config.seed)


def test_the_limit_is_fitted_on_training_images_and_set_on_validation_images(toy_fit: Fit, parts: Parts) -> None:
    statistics = ImageStatistics(toy_fit.bundle.preprocessing.image_shape)

    def described(cases: Sequence[Case]) -> Any:
        return np.stack([statistics(image) for case in cases if (image := case.image) is not None])

    patients = [case.patient_key for case in parts.validation if case.has_image]
    expected = fit_novelty(described(parts.train), described(parts.validation), patients)
    found = toy_fit.bundle.evidence.novelty
    assert found is not None
    assert found.limit == pytest.approx(expected.limit)
    assert found.n_validation == len(patients)
    assert found.promise == pytest.approx(1 / (len(set(patients)) + 1))
    predictions = Predictor(toy_fit.bundle).predict_samples(to_samples(parts.validation, toy_fit.bundle.preprocessing))
    assert max(one.novelty or 0 for one in predictions) == pytest.approx(1)


def test_an_image_is_flagged_by_its_pixels_alone(toy_fit: Fit, parts: Parts) -> None:
    predictor = Predictor(toy_fit.bundle)
    case = next(case for case in parts.test if case.has_image and case.text)
    [sample] = to_samples([case], toy_fit.bundle.preprocessing)
    assert sample.image is not None
    plain, inverted, textless = predictor.predict_samples(
        [sample, replace(sample, image=1 - sample.image), replace(sample, token_ids=None)]
    )
    assert OUT_OF_DISTRIBUTION not in plain.flags
    assert OUT_OF_DISTRIBUTION in inverted.flags
    assert inverted.novelty is not None
    assert inverted.novelty > 1
    assert textless.novelty == plain.novelty
    [alone] = predictor.predict_samples([replace(sample, image=None)])
    assert alone.novelty is None


def test_a_model_without_images_has_no_limit(toy_fit: Fit, parts: Parts) -> None:
    bundle = toy_fit.bundle
    text_only = replace(bundle, preprocessing=replace(bundle.preprocessing, modalities=("text",)))
    assert learn_limit(text_only, parts.train, parts.validation) is None
    blind = [replace(case, prepared=None) for case in parts.validation]
    assert learn_limit(bundle, parts.train, blind) is None


def test_training_cases_are_kept_by_pseudonym_with_labels_and_embeddings(toy_fit: Fit, parts: Parts) -> None:
    found = toy_fit.bundle.evidence.training_cases
    assert found is not None
    assert found.case_keys == tuple(str(case.id) for case in parts.train)
    assert found.labels["malignancy"].tolist() == [case.targets["malignancy"] for case in parts.train]
    unit = embed_samples(toy_fit.bundle, to_samples(parts.train, toy_fit.bundle.preprocessing)).unit
    for modality, array in unit.items():
        assert found.embeddings[modality] == pytest.approx(array, abs=1e-3)
    assert found.n_known_patients(case.patient_key for case in parts.train) == len(
        {case.patient_key for case in parts.train}
    )
    assert found.n_known_patients(case.patient_key for case in parts.test) == 0
    images = [image for case in parts.train if (image := case.image) is not None]
    assert found.n_known_images(images) == len(images)


def test_no_training_case_is_nearer_to_a_training_case_than_itself(toy_fit: Fit, parts: Parts) -> None:
    found = toy_fit.bundle.evidence.training_cases
    assert found is not None
    unit = embed_samples(toy_fit.bundle, to_samples(parts.train, toy_fit.bundle.preprocessing)).unit
    for row, case in enumerate(parts.train):
        nearest = found.nearest({name: array[row] for name, array in unit.items()}, len(parts.train))
        own = next(one for one in nearest if one.case_key == str(case.id))
        assert own.similarity == pytest.approx(1, abs=2e-3)
        assert own.similarity >= nearest[0].similarity - 2e-3


def test_of_many_cases_an_even_part_is_kept(toy_fit: Fit, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    from medfuse.training import calibrating

    real = calibrating.even_part
    monkeypatch.setattr(calibrating, "even_part", lambda n, *, bytes_each: real(n, bytes_each=bytes_each, at_most=200))
    found = remember_cases(toy_fit.bundle, parts.train)
    assert 0 < len(found.case_keys) < len(parts.train)
    assert sum(array.nbytes for array in found.embeddings.values()) <= 200
    assert len(found.patients) == len({case.patient_key for case in parts.train})
