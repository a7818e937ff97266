"""What happens around each epoch: seeds, the best weights, early stopping, progress."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import lightning
from torch import Tensor

from medfuse.data import CaseDataset

__all__ = ["KeepBest", "ShowEpochs", "StartEpoch"]

log = logging.getLogger("medfuse")


class StartEpoch(lightning.Callback):
    """Tell the dataset which epoch it is, since its random changes depend on it."""

    def __init__(self, dataset: CaseDataset) -> None:
        self.dataset = dataset

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Hand the epoch on."""
        self.dataset.epoch = trainer.current_epoch


class KeepBest(lightning.Callback):
    """Keep the weights of the epoch with the lowest validation loss; stop when it has not fallen for long.

    Parameters
    ----------
    patience : int
        Epochs without a better validation loss before the training stops.
    folder : Path, optional
        Where ``best/weights.safetensors`` and ``last/weights.safetensors`` are written.
    """

    def __init__(self, *, patience: int, folder: Path | None = None) -> None:
        self.patience = patience
        self.folder = folder
        self.best_loss = float("inf")
        self.best_epoch = -1
        self.best_weights: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare, keep, write, and perhaps stop. It runs after the epoch's validation."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.history.append({"epoch": float(trainer.current_epoch), **figures})
        weights = pl_module.get_submodule("averaged.module").state_dict()
        if self.folder:
            _write(weights, self.folder / "last")
        if figures["validation_loss"] < self.best_loss:
            self.best_loss, self.best_epoch = figures["validation_loss"], trainer.current_epoch
            self.best_weights = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            if self.folder:
                _write(weights, self.folder / "best")
        elif trainer.current_epoch - self.best_epoch >= self.patience:
            trainer.should_stop = True


def _write(weights: dict[str, Tensor], folder: Path) -> None:
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".weights.part"
    partial.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}))
    partial.replace(folder / "weights.safetensors")


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

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the epoch."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        if done % self.every and done != total:
            return
        a_epoch = (time.monotonic() - self._started) / done
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
