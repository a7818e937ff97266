"""The learning-rate range test: train a few steps at a rate that grows, and see where the loss falls fastest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import MedfuseError, TrainingError
from medfuse.training.fitting import fit
from medfuse.types import Array

__all__ = ["RangeCurve", "find_learning_rate", "smooth", "steepest"]

LOWEST, HIGHEST, N_STEPS = 1e-5, 1.0, 120
SMOOTHING = 0.9
DIVERGED = 4.0
FEWEST_STEPS = 20
UNSURE = 5  # the first of so many parts of the curve is not looked at


@dataclass(frozen=True, slots=True, eq=False)
class RangeCurve:
    """What a range test saw.

    Parameters
    ----------
    rates, losses : ndarray, shape (steps,)
        Learning rate and training loss of each step.
    suggestion : float
        The rate at which the smoothed loss falls fastest, for ``optim.learning_rate``.
    """

    rates: Array
    losses: Array
    suggestion: float

    def save(self, path: Path) -> None:
        """Write step, learning_rate, loss and smoothed_loss as CSV."""
        columns = {"learning_rate": self.rates, "loss": self.losses, "smoothed_loss": smooth(self.losses)}
        pd.DataFrame(columns).rename_axis("step").to_csv(path)


def find_learning_rate(
    config: RunConfig, *, train: Sequence[Case], validation: Sequence[Case], n_steps: int = N_STEPS
) -> RangeCurve:
    """Run a range test.

    Parameters
    ----------
    config : RunConfig
        Its own learning rate and schedule are not followed; the rates of pretrained parts keep their share.
    train, validation : sequence of Case
        Only the training loss counts.
    n_steps : int
        Steps from the lowest to the highest rate.

    Returns
    -------
    RangeCurve
        Equal for an equal config and cases.

    Raises
    ------
    TrainingError
        If the loss is lost within the first steps.

    Notes
    -----
    Source: Smith 2017, Cyclical learning rates for training neural networks, section 3.3.
    """
    test = _RangeTest(n_steps, own_rate=config.optim.learning_rate)
    # Every epoch has a step at least, so these are enough; the test ends the training itself.
    longest = {"epochs": n_steps * config.optim.accumulate, "patience": n_steps * config.optim.accumulate}
    long = config.model_copy(update={"optim": config.optim.model_copy(update=longest)})
    try:
        fit(long, train=train, validation=validation, callbacks=[test])
    except _RangeTestEndError:
        pass
    except TrainingError:  # a loss that is not finite ends the test as a large one does
        if len(test.losses) < FEWEST_STEPS:
            raise
    rates, losses = np.array(test.rates), np.array(test.losses)
    return RangeCurve(rates, losses, steepest(rates, smooth(losses)))


class _RangeTestEndError(MedfuseError):
    """The test has seen enough."""


class _RangeTest(lightning.Callback):
    """Set the rate of each step, note its loss, and end the training when the loss is lost."""

    def __init__(self, n_steps: int, *, own_rate: float) -> None:
        self.n_steps = n_steps
        self.own_rate = own_rate
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the rate."""
        rate = LOWEST * (HIGHEST / LOWEST) ** (trainer.global_step / (self.n_steps - 1))
        for group in trainer.optimizers[0].param_groups:
            share = group.get("max_lr", group["initial_lr"]) / self.own_rate
            group["lr"] = rate * share
        if trainer.global_step == len(self.rates):
            self.rates.append(rate)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss, of the last of the batches that make a step."""
        if trainer.global_step < len(self.rates):
            return
        self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        smoothed = smooth(np.array(self.losses))
        is_lost = len(self.losses) > FEWEST_STEPS and smoothed[-1] > DIVERGED * smoothed.min()
        if len(self.losses) == self.n_steps or is_lost:
            raise _RangeTestEndError("range test", "done")


def smooth(losses: Array) -> Array:
    """Return the exponential running mean, without the pull of its start.

    Parameters
    ----------
    losses : ndarray, shape (steps,)

    Returns
    -------
    ndarray, shape (steps,)

    Examples
    --------
    >>> smooth(np.array([2.0, 2.0, 2.0])).round(6).tolist()
    [2.0, 2.0, 2.0]
    """
    mean, means = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(loss)
        means.append(mean / (1 - SMOOTHING**step))
    return np.array(means)


def steepest(rates: Array, smoothed: Array) -> float:
    """Return the rate at which the loss falls fastest for a relative step of the rate, before its minimum.

    Parameters
    ----------
    rates, smoothed : ndarray, shape (steps,)

    Returns
    -------
    float

    Raises
    ------
    TrainingError
        If the loss does not fall anywhere.

    Examples
    --------
    >>> rates = np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    >>> float(steepest(rates, np.array([2.0, 1.9, 1.4, 0.5, 3.0])))
    0.01
    """
    first = len(rates) // UNSURE  # the running mean of the first few losses is little but noise
    last = max(int(np.argmin(smoothed)), first + 1)
    slopes = np.gradient(smoothed, np.log(rates))[first : last + 1]
    if not (math.isfinite(slopes.min()) and slopes.min() < 0):
        raise TrainingError("range test", "the loss does not fall at any rate", expected="a model that learns")
    return float(rates[first + int(np.argmin(slopes))])
