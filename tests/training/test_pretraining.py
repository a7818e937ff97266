from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.inference import build_member_for
from medfuse.training.case_data import CaseData
from medfuse.training.fitting import fit, make_preprocessing
from medfuse.training.parts import Parts, split_cases
from medfuse.training.pretraining import pretrain


@pytest.fixture(scope="module")
def config(toy_config: RunConfig) -> RunConfig:
    options = {"epochs": 3, "latent_size": 8, "learning_rate": 0.01}
    return toy_config.model_copy(update={"pretrain": toy_config.pretrain.model_copy(update=options)})


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], config: RunConfig) -> Parts:
    return split_cases(toy_cases, config.data, seed=config.seed)


def pretrained(config: RunConfig, train: Sequence[Case], validation: Sequence[Case]):
    texts = [case.text.text for case in train if case.text]
    preprocessing = make_preprocessing(config, texts, [case.row for case in train])
    torch.manual_seed(config.seed)
    model = build_member_for(preprocessing, config.model, [target.build() for target in config.targets])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = CaseData(config, preprocessing, model=model, parts={"train": train, "validation": validation})
    return model, before, pretrain(model, data, config, preprocessing)


def test_the_report_is_told_better_than_by_word_frequencies_and_every_error_is_named(
    config: RunConfig, parts: Parts
) -> None:
    options = {"epochs": 40, "noise": 0.0, "divergence_weight": 0.001, "learning_rate": 0.02}
    longer = config.model_copy(update={"pretrain": config.pretrain.model_copy(update=options)})
    _, _, errors = pretrained(longer, parts.train, parts.train)
    assert set(errors) == {
        "image", "image_from_text", "image_of_mean", "text", "text_from_image", "text_of_frequencies",
    }  # fmt: skip
    assert errors["text"] < 0.98 * errors["text_of_frequencies"]  # most words are the same in every report
    assert errors["image"] < errors["image_of_mean"]
    assert all(error > 0 for error in errors.values())


def test_encoders_move_and_heads_fusion_and_running_statistics_do_not(config: RunConfig, parts: Parts) -> None:
    model, before, _ = pretrained(config, parts.train, parts.validation)
    buffers = {name for name, _ in model.named_buffers()}
    for name, tensor in model.state_dict().items():
        moves = name.startswith(("encoders.", "projections.")) and name not in buffers
        assert torch.equal(tensor, before[name]) != moves, name
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_labels_play_no_part(config: RunConfig, parts: Parts) -> None:
    short = config.model_copy(update={"pretrain": config.pretrain.model_copy(update={"epochs": 2})})
    blank = [replace(case, targets={}) for case in parts.train]
    with_labels, _, errors = pretrained(short, parts.train, parts.validation)
    without, _, others = pretrained(short, blank, parts.validation)
    assert errors == others
    for name, tensor in with_labels.state_dict().items():
        assert torch.equal(without.state_dict()[name], tensor)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_is_told_from_itself(config: RunConfig, parts: Parts, modality: str) -> None:
    model = config.model.model_copy(update={"modalities": (modality,)})
    short = config.model_copy(
        update={"model": model, "pretrain": config.pretrain.model_copy(update={"epochs": 1, "variational": False})}
    )
    having = [c for c in parts.train if (c.has_image if modality == "image" else c.text)]
    _, _, errors = pretrained(short, having, parts.validation)
    prior = "image_of_mean" if modality == "image" else "text_of_frequencies"
    assert set(errors) == {modality, prior}


def test_a_training_starts_from_it_and_states_its_errors(config: RunConfig, parts: Parts) -> None:
    short = config.model_copy(
        update={
            "pretrain": config.pretrain.model_copy(update={"epochs": 1}),
            "optim": config.optim.model_copy(update={"epochs": 2}),
        }
    )
    done = fit(short, train=parts.train, validation=parts.validation)
    assert set(done.reconstruction) >= {"image", "text"}
    again = fit(short, train=parts.train, validation=parts.validation)
    assert again.reconstruction == done.reconstruction
    for name, tensor in done.bundle.model.state_dict().items():
        assert torch.equal(again.bundle.model.state_dict()[name], tensor)
    plain = fit(
        short.model_copy(update={"pretrain": config.pretrain.model_copy(update={"epochs": 0})}),
        train=parts.train,
        validation=parts.validation,
    )
    assert plain.reconstruction == {}
    assert any(
        not torch.equal(plain.bundle.model.state_dict()[name], tensor)
        for name, tensor in done.bundle.model.state_dict().items()
    )
