from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from medfuse.config import EncoderTransfer, RunConfig, TransferConfig
from medfuse.data import Case
from medfuse.errors import ConfigError
from medfuse.training import Fit, fit, train
from medfuse.training.fitting import build_member_for, make_preprocessing
from medfuse.training.module import rate_groups
from medfuse.training.parts import Parts, split_cases
from medfuse.training.transfer import layer_rates

PREFIX = "encoders.image."


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], toy_config: RunConfig) -> Parts:
    return split_cases(toy_cases, toy_config.data, seed=toy_config.seed)


@pytest.fixture(scope="module")
def saved(toy_bundle: Path) -> Path:
    return toy_bundle / "weights.safetensors"


def with_transfer(config: RunConfig, *, epochs: int = 2, **image: Any) -> RunConfig:
    optim = config.optim.model_copy(update={"epochs": epochs})
    transfer = TransferConfig(image=EncoderTransfer(**image))
    return config.model_copy(update={"optim": optim, "transfer": transfer, "seed": 3})


def changed(done: Fit, saved: Path) -> dict[str, bool]:
    """Tell of every weight and buffer of the image encoder whether it is another one than in the file."""
    before = {k: v for k, v in load_file(saved).items() if k.startswith(PREFIX)}
    after: dict[str, Tensor] = done.bundle.model.state_dict()
    return {name: not torch.equal(after[name], tensor) for name, tensor in before.items()}


@pytest.mark.parametrize("freeze_epochs", [2, "all"])
def test_a_frozen_encoder_stays_what_was_loaded_while_the_rest_learns(
    freeze_epochs: int | str, toy_config: RunConfig, parts: Parts, saved: Path
) -> None:
    config = with_transfer(toy_config, weights=str(saved), prefix=PREFIX, freeze_epochs=freeze_epochs)
    done = fit(config, train=parts.train, validation=parts.validation)
    same = changed(done, saved)
    assert same and not any(same.values())
    fresh = fit(with_transfer(toy_config, epochs=1), train=parts.train, validation=parts.validation)
    head = [name for name in done.bundle.model.state_dict() if name.startswith("heads.") and name.endswith("weight")]
    assert not torch.equal(done.bundle.model.state_dict()[head[0]], fresh.bundle.model.state_dict()[head[0]])


def test_an_encoder_moves_once_its_frozen_epochs_are_over(toy_config: RunConfig, parts: Parts, saved: Path) -> None:
    config = with_transfer(toy_config, epochs=3, weights=str(saved), prefix=PREFIX, freeze_epochs=1)
    # The mean of the last epochs, whichever was best: the first alone would be the loaded weights.
    config = config.model_copy(update={"optim": config.optim.model_copy(update={"average_best": 3})})
    assert all(changed(fit(config, train=parts.train, validation=parts.validation), saved).values())


def test_every_name_of_the_file_is_reported_and_kept_in_run_json(
    toy: Any, toy_config: RunConfig, toy_cases: Sequence[Case], saved: Path, tmp_path: Path
) -> None:
    config = with_transfer(toy_config, epochs=1, weights=str(saved), prefix=PREFIX)
    train(config, out=tmp_path / "run", manifest=toy.manifest, cases=toy_cases)
    report = json.loads((tmp_path / "run" / "run.json").read_text())["weights"]["image"]
    names = [name.removeprefix(PREFIX) for name in load_file(saved) if name.startswith(PREFIX)]
    assert set(report["loaded"]) == set(names)
    assert (report["missing"], report["unexpected"], report["misshapen"]) == ([], [], [])
    assert report["ignored"] == len(load_file(saved)) - len(names)
    assert report["file"] == "weights.safetensors"


def test_a_file_that_does_not_fit_is_refused_by_its_key(toy_config: RunConfig, parts: Parts, saved: Path) -> None:
    config = with_transfer(toy_config, weights=str(saved), prefix="elsewhere.")
    with pytest.raises(ConfigError, match=r"transfer\.image\.weights: found .* names, none of which fits"):
        fit(config, train=parts.train, validation=parts.validation)


def test_rates_fall_from_layer_to_layer_towards_the_input(toy_config: RunConfig, parts: Parts) -> None:
    config = with_transfer(toy_config, layer_decay=0.5)
    texts = [case.text.text for case in parts.train if case.text]
    targets = [target.build() for target in config.targets]
    model = build_member_for(make_preprocessing(config, texts), config.model, targets)
    rates = layer_rates(model, config.transfer, 0.008)
    encoder = model.encoders["image"]
    assert set(rates) == set(encoder.parameters())
    assert rates[encoder.pooled_norm.weight] == 0.008
    convolutions = [module for module in encoder.blocks if isinstance(module, torch.nn.Conv3d)]
    expected = [0.008 * 0.5**depth for depth in reversed(range(len(convolutions)))]
    assert [rates[conv.weight] for conv in convolutions] == pytest.approx(expected)
    groups = {p: group["lr"] for group in rate_groups(model, 0.008, rates=rates) for p in group["params"]}
    assert all(groups[p] == rates.get(p, 0.008) for p in model.parameters())


def test_equal_rates_need_no_groups(toy_config: RunConfig) -> None:
    config = with_transfer(toy_config)
    model = torch.nn.Module()
    model.encoders = torch.nn.ModuleDict({"image": torch.nn.Linear(1, 1)})
    assert layer_rates(model, config.transfer, 0.1) == {}
