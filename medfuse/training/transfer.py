"""Encoders that start from another training: loaded, held still for a while, moved less in their first layers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn

from medfuse.models import StudyClassifier
from medfuse.models.transfer import layers_of, load_weights
from medfuse.transfer_config import EncoderTransfer, TransferConfig

__all__ = ["FreezeEncoders", "carry_over", "layer_rates"]

log = logging.getLogger("medfuse")


def carry_over(model: StudyClassifier, config: TransferConfig) -> dict[str, dict[str, Any]]:
    """Load the encoders' weights; keep those that are never to move from asking for gradients.

    Parameters
    ----------
    model : StudyClassifier
        Changed in place.
    config : TransferConfig

    Returns
    -------
    dict of str to dict
        By modality, the names as `medfuse.models.transfer.KeyReport` has them, and the file's name.

    Raises
    ------
    ConfigError
        See `medfuse.models.transfer.load_weights`.
    """
    reports = {}
    for modality, encoder, options in _parts(model, config):
        if options.weights:
            path, where = Path(options.weights).expanduser(), f"transfer.{modality}.weights"
            report = load_weights(encoder, path, prefix=options.prefix, where=where)
            log.info("%s encoder from %s: %s", modality, path.name, report)
            reports[modality] = {"file": path.name, **asdict(report)}
        if options.freeze_epochs == "all":
            encoder.requires_grad_(False)
    return reports


def layer_rates(model: nn.Module, config: TransferConfig, learning_rate: float) -> dict[nn.Parameter, float]:
    """Return the learning rate of every parameter whose encoder has rates by layer.

    Parameters
    ----------
    model : StudyClassifier
    config : TransferConfig
    learning_rate : float
        Of the last layer, unless the encoder has a rate of its own.
    """
    rates: dict[nn.Parameter, float] = {}
    for _, encoder, options in _parts(model, config):
        if options.layer_decay == 1.0:
            continue
        highest = getattr(encoder, "learning_rate", None) or learning_rate
        for depth, layer in enumerate(reversed(layers_of(encoder))):
            rates |= dict.fromkeys(layer, highest * options.layer_decay**depth)
    return rates


class FreezeEncoders(lightning.Callback):
    """Hold encoders still for their first epochs: in eval mode, and without a step of the optimiser.

    Their gradients are thrown away and not left out, so that several processes agree on what they exchange.

    Parameters
    ----------
    config : TransferConfig
    """

    def __init__(self, config: TransferConfig) -> None:
        self.config = config

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the mode of every encoder that is frozen, or was."""
        for _, encoder, options in _parts(pl_module.get_submodule("model"), self.config):
            if options.freeze_epochs:
                encoder.train(not _is_frozen(options, trainer.current_epoch))

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Drop the gradients of the frozen; they count in no norm either."""
        for _, encoder, options in _parts(pl_module.get_submodule("model"), self.config):
            if _is_frozen(options, trainer.current_epoch):
                for parameter in encoder.parameters():
                    parameter.grad = None


def _is_frozen(options: EncoderTransfer, epoch: int) -> bool:
    return options.freeze_epochs == "all" or epoch < options.freeze_epochs


def _parts(model: nn.Module, config: TransferConfig) -> list[tuple[str, nn.Module, EncoderTransfer]]:
    encoders: Mapping[str, nn.Module] = dict(model.get_submodule("encoders").named_children())
    return [(name, encoder, getattr(config, name)) for name, encoder in encoders.items() if hasattr(config, name)]
