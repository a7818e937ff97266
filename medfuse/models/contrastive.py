"""Aligners that tell a case's own partner from those of other cases."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError, nearest_name
from medfuse.models.aligner import NO_CONTEXT, Aligner, AlignmentContext, PairAligner

__all__ = ["InfoNce", "SigLip", "SupervisedContrastive", "symmetric_infonce"]


def symmetric_infonce(similarity: Tensor) -> Tensor:
    """Return the mean cross-entropy of finding each row's partner among the columns, and each column's among the rows.

    Parameters
    ----------
    similarity : Tensor, shape (n, n)
        Divided by the temperature; partners on the diagonal.

    Examples
    --------
    >>> round(float(symmetric_infonce(torch.zeros(4, 4))), 4) == round(log(4), 4)
    True
    """
    match = torch.arange(len(similarity), device=similarity.device)
    return (F.cross_entropy(similarity, match) + F.cross_entropy(similarity.T, match)) / 2


class InfoNce(PairAligner):
    """Symmetric InfoNCE over the cases that have both modalities of a pair, as CLIP is trained.

    The loss is the mean over all pairs of modalities. Fewer than two cases with both hold no contrast: zero.

    Parameters
    ----------
    modalities : tuple of str
    temperature : float
        To start with, in [0.01, 1], where training keeps it.
    learned : bool
        Whether training moves the temperature; else it stays.

    Raises
    ------
    ConfigError
        If the temperature is outside that range.

    Notes
    -----
    Source: van den Oord et al. 2018, Representation Learning with Contrastive Predictive Coding, eq. 4, made
    symmetric as in Radford et al. 2021, Learning Transferable Visual Models, figure 3; the lower bound of the
    temperature is that of its section 2.5.

    Examples
    --------
    >>> same, present = torch.eye(2), torch.ones(2, 2, dtype=torch.bool)
    >>> aligner = InfoNce(("image", "text"), temperature=0.01)
    >>> bool(aligner({"image": same, "text": same}, present) < 1e-6)
    True
    """

    MAX_LOG_SCALE = log(100.0)
    fewest_pairs: ClassVar[int] = 2
    log_scale: Tensor

    def __init__(self, modalities: tuple[str, ...], *, temperature: float = 0.1, learned: bool = True) -> None:
        super().__init__(modalities)
        if not 0.01 <= temperature <= 1:
            raise ConfigError("model.aligner.temperature", f"found {temperature}", expected="0.01 to 1")
        start = torch.tensor(-log(temperature))
        if learned:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, context: AlignmentContext = NO_CONTEXT
    ) -> Tensor:
        """Return the mean loss over all pairs of modalities."""
        with torch.no_grad():  # in place: clamping the value in use would leave no gradient to come back by
            self.log_scale.clamp_(min=0.0, max=self.MAX_LOG_SCALE)
        return super().forward(embeddings, present, context)

    def pair_loss(self, names: tuple[str, str], first: Tensor, second: Tensor) -> Tensor:
        """Return the cross-entropy of each case's partner, both ways."""
        return symmetric_infonce(self.log_scale.exp() * first @ second.T)


class SigLip(PairAligner):
    """Tell for every pair of embeddings, alone, whether they are of one case: a sigmoid, no softmax over the batch.

    The loss is the mean over all pairs of modalities.

    Parameters
    ----------
    modalities : tuple of str
    temperature : float
        To start with, above 0; its inverse is the source's t.
    bias : float
        To start with: the source's b, which keeps the many pairs that do not match from ruling the first steps.

    Raises
    ------
    ConfigError
        If the temperature is not above 0.

    Notes
    -----
    Source: Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training, section 3.2 and algorithm 1.

    Examples
    --------
    >>> one, present = torch.eye(2)[:1], torch.ones(1, 2, dtype=torch.bool)
    >>> loss = SigLip(("image", "text"), temperature=1.0, bias=-1.0)({"image": one, "text": one}, present)
    >>> round(float(loss.detach()), 4)  # the sigmoid of 1 - 1 is a half
    0.6931
    """

    def __init__(self, modalities: tuple[str, ...], *, temperature: float = 0.1, bias: float = -10.0) -> None:
        super().__init__(modalities)
        if not temperature > 0:
            raise ConfigError("model.aligner.temperature", f"found {temperature}", expected="a number above 0")
        self.log_scale = nn.Parameter(torch.tensor(-log(temperature)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def pair_loss(self, names: tuple[str, str], first: Tensor, second: Tensor) -> Tensor:
        """Return the summed log loss of each case's n pairs, averaged over the cases."""
        logits = self.log_scale.exp() * first @ second.T + self.bias
        matches = 2 * torch.eye(len(logits), device=logits.device, dtype=logits.dtype) - 1
        return -F.logsigmoid(matches * logits).sum() / len(logits)


class SupervisedContrastive(Aligner):
    """Bring together not only what is of one case, but all cases of one class.

    The embeddings of a case's modalities are its views. An embedding's positives are the other views of its case
    and all views of the cases with the same label; a case whose label is unknown has its own views alone, and still
    aligns. Every other embedding of the batch is what they are told from.

    Parameters
    ----------
    modalities : tuple of str
    temperature : float
        Fixed, above 0.
    target : str
        Whose labels are meant; empty for the first target of the configuration.

    Raises
    ------
    ConfigError
        If the temperature is not above 0, or, once labels come, there is no such target.

    Notes
    -----
    Source: Khosla et al. 2020, Supervised Contrastive Learning, equation 2, averaged over the embeddings that have a
    positive; without labels it is their equation 1.

    Examples
    --------
    >>> aligner = SupervisedContrastive(("image", "text"))
    >>> same, present = torch.eye(3), torch.ones(3, 2, dtype=torch.bool)
    >>> bool(aligner({"image": same, "text": same}, present) < 0.01)
    True
    """

    def __init__(self, modalities: tuple[str, ...], *, temperature: float = 0.1, target: str = "") -> None:
        super().__init__(modalities)
        if not temperature > 0:
            raise ConfigError("model.aligner.temperature", f"found {temperature}", expected="a number above 0")
        self.temperature = temperature
        self.target = target

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, context: AlignmentContext = NO_CONTEXT
    ) -> Tensor:
        """Return the mean over the embeddings that have a positive."""
        if len(self.modalities) < 2:
            return self.mean_of([], embeddings)
        views = torch.cat([embeddings[name][present[:, m]] for m, name in enumerate(self.modalities)])
        case = torch.cat([present[:, m].nonzero()[:, 0] for m in range(len(self.modalities))])
        itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
        positive = (self._classes(present, context)[case][:, None] == self._classes(present, context)[case]) & ~itself
        if not positive.any():
            return self.mean_of([], embeddings)
        similarity = (views @ views.T / self.temperature).masked_fill(itself, float("-inf"))
        log_shares = F.log_softmax(similarity, dim=1).masked_fill(~positive, 0.0)
        count = positive.sum(dim=1)
        each = -log_shares.sum(dim=1)[count > 0] / count[count > 0]
        return self.mean_of([each.mean()], embeddings)

    def _classes(self, present: Tensor, context: AlignmentContext) -> Tensor:
        """Return the group that each case belongs to: its class, or one of its own below zero."""
        own = -1 - torch.arange(len(present), device=present.device)
        if not context.labels:
            return own
        target = self.target or next(iter(context.labels))
        if target not in context.labels:
            raise ConfigError(
                "model.aligner.target", f"found {target!r}", expected=nearest_name(target, context.labels)
            )
        return torch.where(context.known[target], context.labels[target], own)
