from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from medfuse.config import RunConfig
from medfuse.data import Case, collate, to_samples
from medfuse.explain import explain
from medfuse.inference import Bundle, Predictor, save_bundle
from medfuse.models import Ensemble
from medfuse.training import Fit, fit
from medfuse.training.parts import Parts, split_cases

N = 3


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], toy_config: RunConfig) -> Parts:
    return split_cases(toy_cases, toy_config.data, seed=toy_config.seed)


def with_members(config: RunConfig, members: int, *, seed: int = 0) -> RunConfig:
    return config.model_copy(
        update={
            "seed": seed,
            "model": config.model.model_copy(update={"members": members}),
            "optim": config.optim.model_copy(update={"epochs": 2}),
        }
    )


@pytest.fixture(scope="module")
def done(toy_config: RunConfig, parts: Parts) -> Fit:
    return fit(with_members(toy_config, N), train=parts.train, validation=parts.validation)


def batch_of(bundle: Bundle, cases: Sequence[Case]) -> Any:
    preprocessing = bundle.preprocessing
    return collate(
        to_samples(cases, preprocessing), modalities=preprocessing.modalities, image_shape=preprocessing.image_shape
    )


def test_its_logits_are_the_mean_of_those_of_models_trained_from_as_many_seeds(
    done: Fit, toy_config: RunConfig, parts: Parts
) -> None:
    batch = batch_of(done.bundle, parts.test)
    with torch.no_grad():
        alone = [
            fit(with_members(toy_config, 1, seed=seed), train=parts.train, validation=parts.validation).bundle.model(
                batch
            )
            for seed in range(N)
        ]
        found = done.bundle.model(batch)
        embedded = done.bundle.model.embed(batch.token_ids)
        from_embedded = done.bundle.model.forward_embedded(batch, embedded)
    expected = torch.stack([output.logits["malignancy"] for output in alone]).mean(dim=0)
    torch.testing.assert_close(found.logits["malignancy"], expected)
    torch.testing.assert_close(from_embedded.logits["malignancy"], expected)
    torch.testing.assert_close(
        found.members["malignancy"], torch.stack([output.logits["malignancy"] for output in alone])
    )
    assert alone[0].members == {}
    assert not torch.allclose(alone[0].logits["malignancy"], alone[1].logits["malignancy"])
    for column, name in enumerate(batch.modalities):
        lengths = found.embeddings[name].norm(dim=1)
        torch.testing.assert_close(lengths, batch.present[:, column].float())


def test_its_bundle_comes_back_from_disk(done: Fit, parts: Parts, tmp_path: Path) -> None:
    save_bundle(done.bundle, tmp_path / "model")
    predictor = Predictor.load(tmp_path / "model")
    assert isinstance(predictor.bundle.model, Ensemble)
    assert predictor.bundle.config.members == N
    samples = to_samples(parts.test, done.bundle.preprocessing)
    assert [p.probabilities for p in predictor.predict_samples(samples)] == [
        p.probabilities for p in Predictor(done.bundle).predict_samples(samples)
    ]


def test_a_prediction_says_how_far_the_members_are_apart(done: Fit, parts: Parts) -> None:
    bundle, cases = done.bundle, [case for case in parts.test if case.has_image and case.text]
    members = bundle.model(batch_of(bundle, cases)).members["malignancy"].detach()
    calibration = bundle.calibration["malignancy"]["fused"]
    each = torch.stack([calibration.probabilities(logits, bundle.targets[0]) for logits in members])
    predictions = Predictor(bundle).predict_samples(to_samples(cases, bundle.preprocessing))
    for row, prediction in enumerate(predictions):
        low, high = prediction.spread[1]
        assert (low, high) == (
            pytest.approx(float(each[:, row, 1].min()), abs=1e-6),
            pytest.approx(float(each[:, row, 1].max()), abs=1e-6),
        )
        assert low < prediction.probabilities["fused"][1] < high
        assert prediction.spread[0] == pytest.approx((1 - high, 1 - low))


def test_history_names_the_member(done: Fit) -> None:
    assert [row["member"] for row in done.history] == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


def test_its_answers_can_be_explained(done: Fit, parts: Parts) -> None:
    sample = to_samples(parts.test[:1], done.bundle.preprocessing)[0]
    case = next(case for case in parts.test if case.id == sample.case)
    assert case.text is not None
    found = explain(Predictor(done.bundle), sample, text=case.text)
    assert set(found.methods) == {"image", "text"}
    assert found.sentence_scores
