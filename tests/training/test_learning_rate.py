import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import TrainingError
from medfuse.training.learning_rate import HIGHEST, LOWEST, RangeCurve, find_learning_rate, smooth, steepest
from medfuse.training.parts import Parts, split_cases

N_STEPS = 40


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], toy_config: RunConfig) -> Parts:
    return split_cases(toy_cases, toy_config.data, seed=toy_config.seed)


@pytest.fixture(scope="module")
def curve(toy_config: RunConfig, parts: Parts) -> RangeCurve:
    return find_learning_rate(toy_config, train=parts.train, validation=parts.validation, n_steps=N_STEPS)


def test_the_rate_grows_by_the_same_factor_each_step(curve: RangeCurve) -> None:
    assert curve.rates[0] == pytest.approx(LOWEST)
    assert np.diff(np.log(curve.rates)) == pytest.approx(math.log(HIGHEST / LOWEST) / (N_STEPS - 1))
    assert len(curve.rates) == len(curve.losses) <= N_STEPS
    assert np.isfinite(curve.losses).all()


def test_the_suggestion_is_a_rate_that_was_tried_before_the_loss_is_lowest(curve: RangeCurve) -> None:
    assert curve.suggestion in curve.rates
    assert curve.suggestion <= curve.rates[int(np.argmin(smooth(curve.losses)))]
    assert 1e-4 < curve.suggestion < 1


def test_two_tests_are_equal_and_neither_follows_the_config_s_own_rate(
    toy_config: RunConfig, parts: Parts, curve: RangeCurve
) -> None:
    optim = toy_config.optim.model_copy(update={"learning_rate": 0.3})
    again = find_learning_rate(
        toy_config.model_copy(update={"optim": optim}),
        train=parts.train, validation=parts.validation, n_steps=N_STEPS,
    )  # fmt: skip
    assert again.losses[:5] == pytest.approx(curve.losses[:5], rel=1e-4)
    third = find_learning_rate(toy_config, train=parts.train, validation=parts.validation, n_steps=N_STEPS)
    assert np.array_equal(third.losses, curve.losses) and third.suggestion == curve.suggestion


def test_the_curve_is_written_as_csv(curve: RangeCurve, tmp_path: Path) -> None:
    curve.save(tmp_path / "learning_rate.csv")
    table = pd.read_csv(tmp_path / "learning_rate.csv")
    assert list(table.columns) == ["step", "learning_rate", "loss", "smoothed_loss"]
    assert table["loss"].to_numpy() == pytest.approx(curve.losses)


def test_accumulated_batches_make_one_step(toy_config: RunConfig, parts: Parts) -> None:
    optim = toy_config.optim.model_copy(update={"accumulate": 2, "batch_size": 4})
    config = toy_config.model_copy(update={"optim": optim})
    found = find_learning_rate(config, train=parts.train, validation=parts.validation, n_steps=25)
    assert np.diff(np.log(found.rates)) == pytest.approx(math.log(HIGHEST / LOWEST) / 24)
    assert len(found.losses) == len(found.rates)


def test_a_loss_that_never_falls_gives_no_rate() -> None:
    with pytest.raises(TrainingError, match="does not fall at any rate"):
        steepest(np.array([0.1, 1.0, 10.0]), np.array([1.0, 2.0, 3.0]))


def test_the_steepest_fall_of_a_known_curve_is_found() -> None:
    rates = np.geomspace(1e-5, 1, 101)
    # A logistic fall in log rate is steepest in its middle; behind it the loss explodes.
    losses = 1 / (1 + np.exp(2 * np.log(rates / 1e-3))) + np.where(rates > 0.05, 100 * rates, 0)
    assert steepest(rates, losses) == pytest.approx(1e-3, rel=0.1)
