"""The lightning module: which loss, which optimiser, which schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medfuse.config import OptimConfig
from medfuse.errors import TrainingError
from medfuse.evaluation import calibrated_loss
from medfuse.models import StudyClassifier, TargetLoss, study_loss
from medfuse.models.answers import class_logits
from medfuse.models.chunks import forward_in_chunks
from medfuse.models.distributed import gather_output
from medfuse.models.losses import AnyLoss, UncertainLoss
from medfuse.models.text_encoder import TextEncoder
from medfuse.tensors import Batch
from medfuse.training.distilling import Teacher
from medfuse.types import Target

__all__ = ["Carried", "ClassifierModule", "make_schedule", "rate_groups"]


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """What a training takes over from others.

    Parameters
    ----------
    rates : mapping of Parameter to float
        Highest learning rates of weights that have one of their own.
    teacher : Teacher, optional
        Whose answers are learnt beside the labels.
    """

    rates: Mapping[nn.Parameter, float] = field(default_factory=dict)
    teacher: Teacher | None = None


class ClassifierModule(lightning.LightningModule):
    """Train a StudyClassifier with AdamW, a schedule and a running mean of the weights.

    Parameters
    ----------
    model : StudyClassifier
    losses : mapping of str to TargetLoss
        Of what is answered, by target.
    attributes : mapping of str to TargetLoss
        Of what is learnt beside it.
    optim : OptimConfig
    steps : int
        Optimiser steps of the whole training.
    carried : Carried
        What comes from other trainings.

    Notes
    -----
    Source: Loshchilov & Hutter 2019 (AdamW).
    """

    def __init__(
        self,
        model: StudyClassifier,
        *,
        losses: Mapping[str, TargetLoss],
        attributes: Mapping[str, TargetLoss],
        optim: OptimConfig,
        steps: int,
        carried: Carried = Carried(),
    ) -> None:
        super().__init__()
        self.model = model
        # What is validated and kept: single steps on few cases are noisy, their running mean is not.
        average = get_ema_multi_avg_fn(optim.weight_average)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        self.averaged.requires_grad_(False)
        self.uncertain = nn.ModuleList()
        self.losses = self._weighed(losses, optim)
        self.attributes = self._weighed(attributes, optim)
        self.targets = tuple(loss.target for loss in losses.values())
        self.optim = optim
        self.steps = steps
        self.carried = carried
        self._validated: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def _weighed(self, losses: Mapping[str, TargetLoss], optim: OptimConfig) -> dict[str, AnyLoss]:
        """Return losses that learn their weights, if that is asked for; the weights are this module's."""
        if optim.task_weighting == "fixed":
            return dict(losses)
        learning = {name: UncertainLoss(loss) for name, loss in losses.items()}
        self.uncertain.extend(learning.values())
        return dict(learning)

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
        """Move the running mean of the weights towards the new ones, once an optimiser step."""
        trainer = self._trainer
        if trainer is None or trainer.is_last_batch or not (batch_idx + 1) % self.optim.accumulate:
            self.averaged.update_parameters(self.model)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm; one that is not finite ends the training by name."""
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.clip_norm or math.inf)
        if not torch.isfinite(norm):
            where = f"epoch {self.current_epoch} step {self.global_step}"
            raise TrainingError(where, "a gradient is not finite", expected="a smaller optim.learning_rate")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Gather logits and labels of the targets."""
        output = self.averaged.module(batch)
        for target in self.targets:
            known = batch.target_mask[target.name]
            logits, labels = output.logits[target.name][known], batch.targets[target.name][known]
            self._validated.setdefault(target.name, []).append((logits.double().cpu(), labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log the loss of the classification alone, once calibrated: that is how its answers will be given."""
        losses = [_loss_once_calibrated(target, self._validated[target.name]) for target in self.targets]
        self._validated.clear()
        self.log("validation_loss", sum(losses) / len(losses), prog_bar=True)

    def _losses(self, batch: Batch, model: nn.Module) -> dict[str, Tensor]:
        output, whole = gather_output(forward_in_chunks(model, batch, self.optim.chunks), batch)
        losses = study_loss(
            output,
            whole,
            targets=self.losses,
            attributes=self.attributes,
            optim=self.optim,
            aligner=self.model.aligner,
        )
        if (teacher := self.carried.teacher) is not None:
            losses["distillation"] = teacher.loss(output, batch)
            losses["total"] = losses["total"] + teacher.config.weight * losses["distillation"]
        return losses

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with a schedule stepped a batch; pretrained weights have a rate of their own."""
        parts = rate_groups(self.model, self.optim.learning_rate, rates=self.carried.rates)
        if len(self.uncertain):
            learnt = {"params": list(self.uncertain.parameters()), "lr": self.optim.learning_rate, "weight_decay": 0.0}
            parts.append(learnt)
        optimizer = torch.optim.AdamW(
            parts,
            weight_decay=self.optim.weight_decay,
            fused=True,
        )
        schedule = make_schedule(optimizer, self.optim, steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rate_groups(
    model: nn.Module, learning_rate: float, *, rates: Mapping[nn.Parameter, float] | None = None
) -> list[dict[str, Any]]:
    """Return a model's parameters by learning rate, as an optimiser takes them.

    Parameters
    ----------
    model : Module
    learning_rate : float
        Of all but the text encoders that have one of their own.
    rates : mapping of Parameter to float, optional
        Of single parameters; they win.
    """
    encoders = [module for module in model.modules() if isinstance(module, TextEncoder)]
    own = {p: e.learning_rate for e in encoders if e.learning_rate is not None for p in e.parameters()}
    own |= rates or {}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        groups.setdefault(own.get(parameter, learning_rate), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def make_schedule(optimizer: torch.optim.Optimizer, optim: OptimConfig, *, steps: int) -> LRScheduler:
    """Return the course of the learning rate.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups' rates are the highest that are reached.
    optim : OptimConfig
    steps : int
        Optimiser steps of the whole training.

    Notes
    -----
    Source: Smith & Topin 2018, Super-convergence (one cycle); Loshchilov & Hutter 2017, SGDR, equation 5 without
    restarts (cosine).
    """
    steps = max(steps, 2)
    if optim.schedule == "one_cycle":
        highest = [group["lr"] for group in optimizer.param_groups]
        # torch divides by the rising steps less one.
        rising = optim.warmup if abs(optim.warmup * steps - 1) > 1e-6 else optim.warmup * 1.001
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=highest, total_steps=steps, pct_start=rising)
    rising_steps = int(optim.warmup * steps)

    def share(step: int) -> float:
        if step < rising_steps:
            return (step + 1) / rising_steps
        if optim.schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * (step - rising_steps) / max(steps - rising_steps, 1))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def _loss_once_calibrated(target: Target, parts: Sequence[tuple[Tensor, Tensor]]) -> float:
    logits, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    if not torch.isfinite(logits).all():
        return math.nan
    values = class_logits(logits, target)
    return calibrated_loss(labels.numpy(), (values[:, 0] if target.kind == "binary" else values).numpy())
