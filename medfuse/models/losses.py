"""What training minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medfuse.config import OptimConfig
from medfuse.models.aligners import Aligner
from medfuse.tensors import Batch, ModelOutput
from medfuse.types import Target

__all__ = ["classification_loss", "study_loss"]


def classification_loss(logits: Tensor, labels: Tensor, known: Tensor, target: Target) -> Tensor:
    """Return the mean cross-entropy over the cases whose label is known.

    Parameters
    ----------
    logits : Tensor, shape (B, N)
        N is 1 for a binary target.
    labels : Tensor, shape (B,), int64
        Class index; anything where not known.
    known : Tensor, shape (B,), bool
    target : Target

    Returns
    -------
    Tensor, shape ()
        Zero, with a graph, if no label is known.

    Examples
    --------
    >>> target = Target("malignancy", "binary", ("negative", "positive"))
    >>> one = torch.ones(1, dtype=torch.int64)
    >>> round(float(classification_loss(torch.zeros(1, 1), one, one.bool(), target)), 4)
    0.6931
    """
    labels = torch.where(known, labels, 0)
    if target.kind == "binary":
        each = F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype), reduction="none")
    else:
        each = F.cross_entropy(logits, labels, reduction="none")
    return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)


def study_loss(
    output: ModelOutput,
    batch: Batch,
    *,
    targets: Sequence[Target],
    attributes: Sequence[Target] = (),
    optim: OptimConfig,
    aligner: Aligner,
) -> dict[str, Tensor]:
    """Return the loss of a batch and its parts.

    Parameters
    ----------
    output : ModelOutput
    batch : Batch
    targets : sequence of Target
    attributes : sequence of Target
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
    parts = {
        "classification": sum((_fused_loss(output, batch, target) for target in targets), zero),
        "alignment": aligner(output.embeddings, batch.present),
        "auxiliary": sum((_single_loss(output, batch, target) for target in targets), zero),
        "attributes": sum(
            (_fused_loss(output, batch, one) + _single_loss(output, batch, one) for one in attributes), zero
        )
        / max(len(attributes), 1),
    }
    total = (
        parts["classification"]
        + optim.aligner_weight * parts["alignment"]
        + optim.auxiliary_weight * parts["auxiliary"]
        + optim.attribute_weight * parts["attributes"]
    )
    return {"total": total, **parts}


def _fused_loss(output: ModelOutput, batch: Batch, target: Target) -> Tensor:
    labels, known = batch.targets[target.name], batch.target_mask[target.name]
    return classification_loss(output.logits[target.name], labels, known, target)


def _single_loss(output: ModelOutput, batch: Batch, target: Target) -> Tensor:
    """Return the sum of each present modality's own loss; zero outside training."""
    labels, known = batch.targets[target.name], batch.target_mask[target.name]
    losses = [
        classification_loss(output.auxiliary[name][target.name], labels, known & batch.present[:, column], target)
        for column, name in enumerate(batch.modalities)
        if name in output.auxiliary
    ]
    return torch.stack(losses).sum() if losses else output.logits[target.name].sum() * 0.0
