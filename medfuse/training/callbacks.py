"""What happens around each step and epoch: seeds, the best weights, early stopping, time, progress."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from medfuse.errors import MedfuseError
from medfuse.whole_files import write_whole

__all__ = ["KeepBest", "SeedSteps", "ShowEpochs", "StopInTime", "TimeUpError"]

log = logging.getLogger("medfuse")

Weights = dict[str, Tensor]


class SeedSteps(lightning.Callback):
    """Seed torch anew for every step, so that dropout is a function of (seed, epoch, step) and of nothing before.

    A resumed training draws what an unbroken one would, without any generator's state being kept.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the step; equally in every process."""
        sequence = np.random.SeedSequence((self.seed, trainer.current_epoch, batch_idx))
        torch.manual_seed(int(sequence.generate_state(1)[0]))


class KeepBest(lightning.Callback):
    """Keep the weights of the epochs of lowest validation loss; stop when it has not fallen for long.

    Parameters
    ----------
    patience : int
        Epochs without a better validation loss before the training stops.
    n_best : int
        Epochs whose weights are averaged.
    folder : Path, optional
        Where ``best/weights.safetensors`` is written.

    Notes
    -----
    Source: Wortsman et al. 2022, Model soups (the uniform one, of one run's epochs).
    """

    def __init__(self, *, patience: int, n_best: int = 1, folder: Path | None = None) -> None:
        self.patience = patience
        self.n_best = n_best
        self.folder = folder
        self.kept: list[tuple[float, int, Weights]] = []
        self.history: list[dict[str, float]] = []

    @property
    def best_loss(self) -> float:
        """Lowest validation loss so far."""
        return self.kept[0][0] if self.kept else float("inf")

    @property
    def best_epoch(self) -> int:
        """Its epoch, from 0; -1 before there is one."""
        return self.kept[0][1] if self.kept else -1

    @property
    def best_weights(self) -> Weights:
        """The mean of the kept weights; what is no number with a fraction is that of the best epoch."""
        if not self.kept:
            return {}
        best = self.kept[0][2]
        if len(self.kept) == 1:
            return best
        return {
            name: torch.stack([weights[name] for _, _, weights in self.kept]).mean(dim=0)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in best.items()
        }

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare, keep, write, and perhaps stop. It runs after the epoch's validation."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.append({"epoch": float(trainer.current_epoch), **figures})
        loss, epoch = figures["validation_loss"], trainer.current_epoch
        if loss < (self.kept[-1][0] if len(self.kept) == self.n_best else float("inf")):
            weights = pl_module.get_submodule("averaged.module").state_dict()
            copy = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            # Of equal epochs the earlier one comes first.
            self.kept = sorted([*self.kept, (loss, epoch, copy)], key=lambda one: one[:2])[: self.n_best]
            if self.folder and trainer.is_global_zero:
                _write(self.best_weights, self.folder / "best")
        trainer.should_stop |= self._is_out_of_patience()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Do not go on with a training that had stopped early."""
        trainer.should_stop |= self._is_out_of_patience()

    def _is_out_of_patience(self) -> bool:
        return bool(self.history) and self.history[-1]["epoch"] - self.best_epoch >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training must know."""
        return {"kept": self.kept, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.kept, self.history = state_dict["kept"], state_dict["history"]


def _write(weights: Weights, folder: Path) -> None:
    from safetensors.torch import save

    data = save({name: tensor.contiguous() for name, tensor in weights.items()})
    write_whole(folder / "weights.safetensors", data)


class TimeUpError(MedfuseError):
    """The time of a training is up in the middle of an epoch."""


class StopInTime(lightning.Callback):
    """Stop before the time is up: after an epoch if the next would not fit, at the latest in the midst of one.

    Parameters
    ----------
    seconds : float
        Counted from when this is made, so that what comes before the training counts too.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_up = False
        self._started = self._epoch_started = time.monotonic()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note when the epoch begins."""
        self._epoch_started = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End an epoch that takes too long: what it did is lost, and done again when the training goes on."""
        if time.monotonic() - self._started > self.seconds:
            self.is_up = True
            raise TimeUpError("training", "the time is up")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop if another epoch like this one would not fit."""
        now = time.monotonic()
        if now - self._started + (now - self._epoch_started) > self.seconds:
            self.is_up = trainer.current_epoch + 1 < (trainer.max_epochs or 0)
            trainer.should_stop = True


class ShowEpochs(lightning.Callback):
    """Log one line an epoch: its losses, its seconds, and the time left if no epoch is saved.

    Parameters
    ----------
    label : str
        Name of the training.
    every : int
        Epochs between lines.
    """

    def __init__(self, label: str, *, every: int = 1) -> None:
        self.label = label
        self.every = every
        self._started = 0.0
        self._first = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self._first = trainer.current_epoch

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the epoch."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        if not trainer.is_global_zero or (done % self.every and done != total):
            return
        a_epoch = (time.monotonic() - self._started) / (done - self._first)
        figures = trainer.callback_metrics
        log.info(
            "%s: epoch %d of %d, train loss %.3f, validation loss %.3f, %.1f s an epoch, at most %.0f s left",
            self.label,
            done,
            total,
            float(figures["train_total"]),
            float(figures["validation_loss"]),
            a_epoch,
            a_epoch * (total - done),
        )
