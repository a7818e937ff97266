from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.config import RunConfig, load_config
from medfuse.errors import ConfigError
from medfuse.training.search import (
    Choice,
    Range,
    apply,
    check_space,
    default_space,
    describe_space,
    read_space,
    suggest,
)

CONFIG = load_config({"targets": [{"name": "malignancy", "classes": ["negative", "positive"]}]})


def space_of(tmp_path: Path, text: str) -> dict[str, Range | Choice]:
    (tmp_path / "space.yaml").write_text(text)
    return read_space(tmp_path / "space.yaml")


def test_ranges_and_choices_are_read(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        """
        search:
          optim.learning_rate: {low: 0.001, high: 0.1, log: true}
          optim.batch_size: {low: 8, high: 64, log: true}
          model.head.name: {choice: [linear, mlp]}
        """,
    )
    assert space == {
        "optim.learning_rate": Range(low=0.001, high=0.1, log=True),
        "optim.batch_size": Range(low=8, high=64, log=True),
        "model.head.name": Choice(choice=("linear", "mlp")),
    }
    check_space(CONFIG, space)


def test_a_space_reads_back(tmp_path: Path) -> None:
    import yaml

    space = {**default_space(CONFIG), "model.head.name": Choice(choice=("linear", "mlp"))}
    assert space_of(tmp_path, yaml.safe_dump({"search": describe_space(space)})) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("search: {optim.epochs: 3}", "optim.epochs: found a int; expected {low, high, log}"),
        ("search: {optim.epochs: {low: 3}}", "optim.epochs.high: found a wrong value; expected field required"),
        (
            "search: {optim.epochs: {low: 3, hihg: 4}}",
            "no such key 'hihg'; expected one of 'high', 'log', 'low' .did you",
        ),
        ("search: {optim.epochs: {low: 4, high: 3}}", "low below high"),
        ("search: {optim.learning_rate: {low: 0, high: 1, log: true}}", "low above 0"),
        ("search: {optim.learning_rate: {low: 1e-3, high: 1}}", "YAML reads 1e-3 as text"),
        ("search: {model.head.name: {choice: [linear]}}", "at least 2"),
        ("search: {}", "search: found no key"),
        ("serach: {}", "found other keys; expected search:"),
        ("[1]", "found other keys"),
        ("a: [", "found invalid YAML"),
    ],
)
def test_what_is_no_space_is_refused_by_its_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space_of(tmp_path, text)


@pytest.mark.parametrize(
    ("key", "dimension", "message"),
    [
        ("optim.lerning_rate", Range(low=0.1, high=0.2), "did you mean 'learning_rate'"),
        ("model.head.nmae", Choice(choice=("linear", "mlp")), "nmae"),
        ("model.image_encoder.dropuot", Range(low=0.0, high=0.5), "did you mean 'dropout'"),
        ("model.head.name", Choice(choice=("linear", "liner")), "did you mean 'linear'"),
        ("optim.epochs", Range(low=0, high=5), "optim.epochs: found 0"),
        ("seed", Range(low=0, high=5), "cannot be searched; expected a key under"),
        ("data.test_fold", Range(low=0, high=4), "cannot be searched"),
        ("data.validation_fraction", Range(low=0.1, high=0.2), "cannot be searched"),
    ],
)
def test_a_key_or_value_that_no_training_takes_is_refused(key: str, dimension: Range | Choice, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_space(CONFIG, {key: dimension})


def test_the_default_space_fits_any_modalities() -> None:
    for modalities in (["image"], ["text"], ["image", "text"]):
        config = load_config(CONFIG.model_dump(mode="json"), overrides=[f"model.modalities={modalities}"])
        space = default_space(config)
        check_space(config, space)
        assert ("optim.aligner_weight" in space) == (len(modalities) == 2)


@given(st.floats(min_value=1e-12, max_value=1e12, exclude_min=True))
def test_any_float_comes_through_as_it_is(value: float) -> None:
    assert apply(CONFIG, {"optim.learning_rate": value}).optim.learning_rate == value


def test_a_trial_draws_whole_numbers_floats_and_choices_within_their_bounds() -> None:
    space = {
        "optim.batch_size": Range(low=8, high=9),
        "optim.learning_rate": Range(low=0.001, high=0.1, log=True),
        "model.head.name": Choice(choice=("linear", "mlp")),
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), space) for _ in range(40)]
    assert {type(values["optim.batch_size"]) for values in drawn} == {int}
    assert {values["optim.batch_size"] for values in drawn} == {8, 9}
    assert {values["model.head.name"] for values in drawn} == {"linear", "mlp"}
    rates = [float(values["optim.learning_rate"]) for values in drawn]
    assert 0.001 <= min(rates) < 0.01 < max(rates) <= 0.1


def test_applying_nothing_changes_nothing() -> None:
    assert apply(CONFIG, {}) == CONFIG
    assert isinstance(apply(CONFIG, {"optim.epochs": 3}), RunConfig)
