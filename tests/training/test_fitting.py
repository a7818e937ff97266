import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medfuse.config import RunConfig
from medfuse.data import Case, to_samples
from medfuse.errors import DataError, TrainingError
from medfuse.evaluation import calibrated_loss, choose_threshold, fit_calibration
from medfuse.inference import Calibration, predict_logits
from medfuse.text import PretrainedTokenizer
from medfuse.training import Fit, fit
from medfuse.training.calibrating import calibrate
from medfuse.training.fitting import make_preprocessing
from medfuse.training.parts import Parts, split_cases


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], toy_config: RunConfig) -> Parts:
    return split_cases(toy_cases, toy_config.data, seed=toy_config.seed)


@pytest.fixture(scope="module")
def short(toy_config: RunConfig) -> RunConfig:
    return toy_config.model_copy(update={"optim": toy_config.optim.model_copy(update={"epochs": 2})})


def weights(done: Fit) -> dict[str, torch.Tensor]:
    return done.bundle.model.state_dict()


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    return config.model_copy(update={"seed": seed})


def test_the_same_seed_gives_the_same_model(short: RunConfig, parts: Parts) -> None:
    torch.manual_seed(5)
    first = fit(short, train=parts.train, validation=parts.validation)
    torch.manual_seed(6)
    second = fit(short, train=parts.train, validation=parts.validation)
    other = fit(with_seed(short, 1), train=parts.train, validation=parts.validation)
    assert all(torch.equal(weights(first)[name], weights(second)[name]) for name in weights(first))
    assert first.bundle.calibration == second.bundle.calibration
    assert first.history == second.history
    assert not all(torch.equal(weights(first)[name], weights(other)[name]) for name in weights(first))


def test_the_model_of_the_best_epoch_is_restored(short: RunConfig, parts: Parts, tmp_path: Path) -> None:
    optim = short.optim.model_copy(update={"epochs": 6})
    done = fit(
        short.model_copy(update={"optim": optim}),
        train=parts.train, validation=parts.validation, checkpoints=tmp_path,
    )  # fmt: skip
    losses = [row["validation_loss"] for row in done.history]
    assert done.best_epoch == int(np.argmin(losses))
    best = load_file(tmp_path / "best" / "weights.safetensors")
    assert all(torch.equal(tensor, best[name]) for name, tensor in weights(done).items())
    assert not done.bundle.model.training


def test_the_best_epoch_s_validation_loss_comes_back_from_its_model(toy_fit: Fit, parts: Parts) -> None:
    samples = to_samples(parts.validation, toy_fit.bundle.preprocessing)
    labels = [s.targets["malignancy"] for s in samples]
    has = [(s.image is not None, s.token_ids is not None) for s in samples]
    assert all(image and text for image, text in has)
    logits = predict_logits(toy_fit.bundle, samples)["fused"]["malignancy"][:, 0]
    # Once calibrated, as the answers will be given.
    assert calibrated_loss(labels, logits.numpy()) == pytest.approx(
        toy_fit.history[toy_fit.best_epoch]["validation_loss"], rel=1e-4
    )


def test_calibration_and_threshold_are_those_of_the_validation_cases(toy_fit: Fit, parts: Parts) -> None:
    bundle = toy_fit.bundle
    samples = to_samples(parts.validation, bundle.preprocessing)
    labels = [s.targets["malignancy"] for s in samples]
    for condition, logits in predict_logits(bundle, samples).items():
        values = logits["malignancy"].double()
        found = bundle.calibration["malignancy"][condition]
        temperature, biases = fit_calibration(labels, values[:, 0].numpy())
        assert (found.temperature, found.biases) == (pytest.approx(temperature), pytest.approx(biases))
        positive = Calibration(temperature, biases=biases).probabilities(values, bundle.targets[0])[:, 1].numpy()
        assert found.threshold == pytest.approx(choose_threshold(labels, positive))


def test_a_case_that_lacks_a_modality_does_not_calibrate_it(toy_fit: Fit, parts: Parts) -> None:
    bundle = toy_fit.bundle
    extra = [replace(case, text=None) for case in parts.validation]
    wrong = [replace(c, targets={"malignancy": 1 - c.targets["malignancy"]}) for c in extra]
    one, two = (
        calibrate(bundle, cases).calibration["malignancy"] for cases in (parts.validation, [*parts.validation, *wrong])
    )
    assert set(one) == {"fused", "image", "text"}
    for condition in ("text", "fused"):
        before, after = one[condition], two[condition]
        # Equal but for rounding: the batches differ.
        assert (before.temperature, before.threshold) == pytest.approx((after.temperature, after.threshold), rel=1e-5)
        assert before.biases == pytest.approx(after.biases, rel=1e-5)
    assert one["image"].temperature != pytest.approx(two["image"].temperature, rel=0.05)


def test_a_condition_without_both_classes_is_left_uncalibrated_and_said_so(
    short: RunConfig, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    validation = [replace(case, text=None) for case in parts.validation]
    with caplog.at_level(logging.WARNING, logger="medfuse"):
        done = fit(short, train=parts.train, validation=validation)
    found = done.bundle.calibration["malignancy"]
    assert found["text"] == found["fused"] == Calibration()
    assert found["image"] != Calibration()
    assert sum("not calibrated" in record.getMessage() for record in caplog.records) == 2


def test_prevalence_is_the_share_of_positive_training_cases(toy_fit: Fit, parts: Parts) -> None:
    labels = [case.targets["malignancy"] for case in parts.train]
    assert toy_fit.bundle.prevalence == {"malignancy": pytest.approx(sum(labels) / len(labels))}


def test_the_tokenizer_knows_the_training_texts_alone(short: RunConfig, parts: Parts) -> None:
    first = parts.validation[0]
    assert first.text is not None
    strange = replace(first, text=replace(first.text, text=first.text.text + " FINDINGS: Zygomatic."))
    done = fit(short, train=parts.train, validation=[strange, *parts.validation[1:]])
    tokenizer = done.bundle.preprocessing.tokenizer
    assert tokenizer is not None
    assert "zygomatic" not in tokenizer.to_json()
    assert "spiculated" in tokenizer.to_json()


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_alone_is_learnt(toy_config: RunConfig, parts: Parts, modality: str) -> None:
    config = toy_config.model_copy(update={"model": toy_config.model.model_copy(update={"modalities": (modality,)})})
    has = [c for c in parts.train if (c.image if modality == "image" else c.text) is not None]
    done = fit(config, train=has, validation=parts.validation)
    assert set(done.bundle.calibration["malignancy"]) == {modality}
    assert (done.bundle.preprocessing.tokenizer is None) == (modality == "image")
    losses = [row["train_classification"] for row in done.history]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_that_lacks_a_class_is_refused_by_name(short: RunConfig, parts: Parts, part: str) -> None:
    given = {"train": parts.train, "validation": parts.validation}
    given[part] = tuple(case for case in given[part] if case.targets["malignancy"] == 0)
    with pytest.raises(DataError, match=f"{part} part: found 1 classes of target 'malignancy'"):
        fit(short, **given)  # type: ignore[arg-type]


def test_without_a_finite_validation_loss_the_training_fails_by_name(
    short: RunConfig, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medfuse.training.module import ClassifierModule

    def broken(self: ClassifierModule) -> None:
        for parameter in self.averaged.parameters():
            parameter.data.fill_(float("nan"))

    monkeypatch.setattr(ClassifierModule, "on_validation_epoch_start", broken)
    with pytest.raises(TrainingError, match="no epoch had a finite validation loss"):
        fit(short, train=parts.train, validation=parts.validation)


def test_training_writes_nothing_that_was_not_asked_for(
    short: RunConfig, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(short, train=parts.train, validation=parts.validation)
    assert list(tmp_path.iterdir()) == []


def test_without_texts_there_is_no_tokenizer(short: RunConfig) -> None:
    assert make_preprocessing(short).tokenizer is None
    assert make_preprocessing(short, ["A nodule."]).tokenizer is not None


def test_a_pretrained_encoder_brings_its_own_tokenizer(pretrained_config: RunConfig) -> None:
    made = make_preprocessing(pretrained_config, ["A nodule."])
    assert isinstance(made.tokenizer, PretrainedTokenizer)
    assert made.tokenizer.encode("a nodule", max_length=9).ids == (5 + 2, 6 + 2)
    assert make_preprocessing(pretrained_config).tokenizer is None


def test_frozen_pretrained_weights_leave_training_as_they_came(pretrained_fit: Fit, encoder_folder: Path) -> None:
    came = load_file(encoder_folder / "model.safetensors")
    left = {name.removeprefix("encoders.text.encoder."): tensor for name, tensor in weights(pretrained_fit).items()}
    kept = [name for name in came if not name.startswith("pooler.")]
    assert kept
    assert all(torch.equal(left[name], came[name]) for name in kept)


def test_trainable_pretrained_weights_move_at_their_own_rate(
    pretrained_config: RunConfig, parts: Parts, encoder_folder: Path
) -> None:
    options = {**pretrained_config.model.text_encoder, "trainable": True, "learning_rate": 0.0001}
    model = pretrained_config.model.model_copy(update={"text_encoder": options})
    done = fit(pretrained_config.model_copy(update={"model": model}), train=parts.train, validation=parts.validation)
    name = "encoder.layer.0.attention.self.query.weight"
    came = load_file(encoder_folder / "model.safetensors")[name]
    moved = (weights(done)[f"encoders.text.encoder.{name}"] - came).abs().max().item()
    steps = len(done.history) * (len(parts.train) // pretrained_config.optim.batch_size)
    assert 0 < moved < 2 * steps * 0.0001
