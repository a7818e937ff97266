"""The lightning module: which loss, which optimiser, which schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medfuse.config import OptimConfig
from medfuse.errors import TrainingError
from medfuse.models import StudyClassifier, study_loss
from medfuse.tensors import Batch
from medfuse.types import Target

__all__ = ["ClassifierModule"]


class ClassifierModule(lightning.LightningModule):
    """Train a StudyClassifier with AdamW, a one-cycle learning rate and a running mean of the weights.

    Parameters
    ----------
    model : StudyClassifier
    targets, attributes : sequence of Target
        What is answered, and what is learnt beside it.
    optim : OptimConfig
    steps : int
        Optimiser steps of the whole training.

    Notes
    -----
    Source: Loshchilov & Hutter 2019 (AdamW); Smith & Topin 2018 (one cycle).
    """

    def __init__(
        self,
        model: StudyClassifier,
        *,
        targets: Sequence[Target],
        attributes: Sequence[Target] = (),
        optim: OptimConfig,
        steps: int,
    ) -> None:
        super().__init__()
        self.model = model
        # What is validated and kept: single steps on few cases are noisy, their running mean is not.
        average = get_ema_multi_avg_fn(optim.weight_average)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        self.targets = tuple(targets)
        self.attributes = tuple(attributes)
        self.optim = optim
        self.steps = steps

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the total loss of a batch; a loss that is not finite ends the training by name."""
        losses = self._losses(batch, self.model)
        total = losses["total"]
        if not torch.isfinite(total):
            where = f"epoch {self.current_epoch} batch {batch_idx}"
            raise TrainingError(where, "the loss is not finite", expected="a smaller optim.learning_rate")
        self.log_dict(
            {f"train_{name}": value.detach() for name, value in losses.items()},
            batch_size=len(batch),
            on_step=False,
            on_epoch=True,
        )
        return total

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the running mean of the weights towards the new ones."""
        self.averaged.update_parameters(self.model)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the classification loss alone: it is what the answer rests on."""
        losses = self._losses(batch, self.averaged.module)
        self.log("validation_loss", losses["classification"], batch_size=len(batch), prog_bar=True)

    def _losses(self, batch: Batch, model: nn.Module) -> dict[str, Tensor]:
        return study_loss(
            model(batch),
            batch,
            targets=self.targets,
            attributes=self.attributes,
            optim=self.optim,
            aligner=self.model.aligner,
        )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a one-cycle schedule stepped a batch."""
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.optim.learning_rate, weight_decay=self.optim.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.optim.learning_rate, total_steps=max(self.steps, 2)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
