"""What training minimises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.config import LossConfig, OptimConfig
from medfuse.errors import ConfigError
from medfuse.models.aligner import Aligner, AlignmentContext
from medfuse.tensors import Batch, ModelOutput
from medfuse.types import Target

__all__ = ["AnyLoss", "TargetLoss", "UncertainLoss", "study_loss"]

AnyLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of logits, labels and what is known of them: `TargetLoss`, or one that learns its weight."""


class TargetLoss:
    """The mean loss over the cases whose label is known.

    Parameters
    ----------
    target : Target
    config : LossConfig
    counts : sequence of int, optional
        Training cases of each class; needed for class weights and logit adjustment.

    Raises
    ------
    ConfigError
        If they are needed and a class has no case, or an ordinal target is to be adjusted.

    Notes
    -----
    Source: Lin et al. 2017, Focal Loss, equation 5; Menon et al. 2021, Long-tail learning via logit adjustment,
    equation 10; of an ordinal target, Cao et al. 2020, Rank consistent ordinal regression for neural networks: the sum
    of the binary losses at all thresholds, of equal importance. In several processes the mean is that over all of them.

    Examples
    --------
    >>> target = Target("malignancy", "binary", ("negative", "positive"))
    >>> one = torch.ones(1, dtype=torch.int64)
    >>> round(float(TargetLoss(target, LossConfig())(torch.zeros(1, 1), one, one.bool())), 4)
    0.6931
    """

    def __init__(self, target: Target, config: LossConfig, *, counts: Sequence[int] = ()) -> None:
        self.target = target
        self.config = config
        self._weights: Tensor | None = None
        self._shift: Tensor | None = None
        if config.class_weights == "none" and not config.logit_adjustment:
            return
        if len(counts) != len(target.classes) or min(counts) < 1:
            found = f"found no training case of a class of {target.name!r}"
            raise ConfigError("optim.loss", found, expected="cases of every class, or neither weights nor adjustment")
        if config.logit_adjustment and target.kind == "ordinal":
            found = f"found {config.logit_adjustment} with the ordinal target {target.name!r}"
            raise ConfigError("optim.loss.logit_adjustment", found, expected="0, or class_weights: balanced")
        shares = torch.tensor(counts, dtype=torch.float32) / sum(counts)
        if config.class_weights == "balanced":
            self._weights = 1 / (len(counts) * shares)
        if config.logit_adjustment:
            self._shift = config.logit_adjustment * shares.log()

    def __call__(self, logits: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """Return the loss, shape (); zero, with a graph, if no label is known.

        Parameters
        ----------
        logits : Tensor, shape (B, N)
            See `medfuse.types.Target.n_outputs`.
        labels : Tensor, shape (B,), int64
            Class index; anything where not known.
        known : Tensor, shape (B,), bool
        """
        labels = torch.where(known, labels, 0)
        if self._shift is not None:
            shift = self._shift.to(logits)
            logits = logits + (shift[1] - shift[0] if self.target.kind == "binary" else shift)
        if self.target.kind == "multiclass":
            each = self._focus(F.cross_entropy(logits, labels, reduction="none"))
        else:  # is the answer above each threshold? A binary target has one
            above = labels[:, None] > torch.arange(logits.shape[1], device=labels.device)
            apart = F.binary_cross_entropy_with_logits(logits, above.to(logits.dtype), reduction="none")
            each = self._focus(apart).sum(dim=1)
        if self._weights is not None:
            each = each * self._weights.to(logits)[labels]
        return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)

    def _focus(self, each: Tensor) -> Tensor:
        if self.config.name != "focal":
            return each
        return (1 - torch.exp(-each)).clamp(min=1e-12) ** self.config.gamma * each


class UncertainLoss(nn.Module):
    """A loss that learns its weight beside those of other tasks: how uncertain the task is by itself.

    Parameters
    ----------
    loss : TargetLoss

    Notes
    -----
    Source: Kendall, Gal & Cipolla 2018, Multi-Task Learning Using Uncertainty to Weigh Losses, equation 10, with s, the
    logarithm of the task's variance: exp(-s) times the loss, and s / 2 that keeps the weight from vanishing.

    Examples
    --------
    >>> target = Target("malignancy", "binary", ("negative", "positive"))
    >>> loss, one = UncertainLoss(TargetLoss(target, LossConfig())), torch.ones(1, dtype=torch.int64)
    >>> round(float(loss(torch.zeros(1, 1), one, one.bool()).detach()), 4)  # a variance of 1, to start with
    0.6931
    """

    def __init__(self, loss: TargetLoss) -> None:
        super().__init__()
        self.loss = loss
        self.log_variance = nn.Parameter(torch.zeros(()))

    @property
    def target(self) -> Target:
        """Whose loss it is."""
        return self.loss.target

    def forward(self, logits: Tensor, labels: Tensor, known: Tensor) -> Tensor:
        """Return the weighted loss, shape (); zero, with a graph, if no label is known."""
        weighted = torch.exp(-self.log_variance) * self.loss(logits, labels, known) + self.log_variance / 2
        return weighted * known.any()


def study_loss(
    output: ModelOutput,
    batch: Batch,
    *,
    targets: Mapping[str, AnyLoss],
    attributes: Mapping[str, AnyLoss],
    optim: OptimConfig,
    aligner: Aligner,
) -> dict[str, Tensor]:
    """Return the loss of a batch and its parts.

    Parameters
    ----------
    output : ModelOutput
    batch : Batch
    targets : mapping of str to AnyLoss
        By the target's name.
    attributes : mapping of str to AnyLoss
        Learnt beside the targets, from the fused vector and from each modality alone.
    optim : OptimConfig
        Holds the weights of the parts.
    aligner : Aligner

    Returns
    -------
    dict of str to Tensor of shape ()
        ``classification``, ``alignment``, ``auxiliary``, ``attributes`` and their weighted sum ``total``.
    """
    zero = next(iter(output.logits.values())).sum() * 0.0
    fused = {name: _fused_loss(output, batch, name, loss) for name, loss in (*targets.items(), *attributes.items())}
    alone = {name: _single_loss(output, batch, name, loss) for name, loss in (*targets.items(), *attributes.items())}
    parts = {
        "classification": sum((fused[name] for name in targets), zero),
        "alignment": aligner(output.embeddings, batch.present, _context(output, batch, targets)),
        "auxiliary": sum((alone[name] for name in targets), zero),
        "attributes": sum((fused[name] + alone[name] for name in attributes), zero) / max(len(attributes), 1),
    }
    total = (
        parts["classification"]
        + optim.aligner_weight * parts["alignment"]
        + optim.auxiliary_weight * parts["auxiliary"]
        + optim.attribute_weight * parts["attributes"]
    )
    return {"total": total, **parts}


def _context(output: ModelOutput, batch: Batch, targets: Mapping[str, AnyLoss]) -> AlignmentContext:
    return AlignmentContext(
        labels={name: batch.targets[name] for name in targets},
        known={name: batch.target_mask[name] for name in targets},
        unscaled=output.unscaled,
        local=output.local,
    )


def _fused_loss(output: ModelOutput, batch: Batch, name: str, loss: AnyLoss) -> Tensor:
    return loss(output.logits[name], batch.targets[name], batch.target_mask[name])


def _single_loss(output: ModelOutput, batch: Batch, name: str, loss: AnyLoss) -> Tensor:
    """Return the sum of each present modality's own loss; zero outside training."""
    labels, known = batch.targets[name], batch.target_mask[name]
    losses = [
        loss(output.auxiliary[modality][name], labels, known & batch.present[:, column])
        for column, modality in enumerate(batch.modalities)
        if modality in output.auxiliary
    ]
    return torch.stack(losses).sum() if losses else output.logits[name].sum() * 0.0
