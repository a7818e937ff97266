"""The aligner that hides which modality an embedding came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.aligner import NO_CONTEXT, Aligner, AlignmentContext

__all__ = ["Adversarial", "reverse_gradient"]


class _Reversal(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(tensor: Tensor, strength: float) -> Tensor:
    """Return the tensor as it is; what comes back through it is multiplied by ``-strength``.

    Examples
    --------
    >>> x = torch.ones(1, requires_grad=True)
    >>> reverse_gradient(3 * x, 0.5).sum().backward()
    >>> x.grad
    tensor([-1.5000])
    """
    reversed_: Tensor = _Reversal.apply(tensor, strength)  # type: ignore[no-untyped-call]
    return reversed_


class Adversarial(Aligner):
    """A discriminator learns to tell the modality of an embedding; the encoders learn to leave it at a loss.

    It makes the modalities' distributions alike, not the two embeddings of one case: no case needs both. The loss is
    the discriminator's cross-entropy, each modality counting the same; with one modality in the batch there is
    nothing to tell, and it is zero.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int
        E.
    hidden_size : int
        Of the discriminator's one hidden layer, with ReLU.
    strength : float
        What the gradient into the encoders is multiplied by, beside -1; above 0. The source lets it rise from 0 in
        the course of a training; here it stays.

    Raises
    ------
    ConfigError
        If an option is out of range.

    Notes
    -----
    Source: Ganin et al. 2016, Domain-Adversarial Training of Neural Networks, section 4.2 (gradient reversal), with
    modalities as domains as in Wang et al. 2017, Adversarial Cross-Modal Retrieval (modality classifier).

    Examples
    --------
    >>> aligner, present = Adversarial(("image", "text"), 2), torch.tensor([[True, False], [False, True]])
    >>> bool(aligner({"image": torch.eye(2), "text": torch.eye(2)}, present) > 0)
    True
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        embedding_size: int,
        *,
        hidden_size: int = 64,
        strength: float = 1.0,
    ) -> None:
        super().__init__(modalities)
        if hidden_size < 1:
            raise ConfigError("model.aligner.hidden_size", f"found {hidden_size}", expected="1 or more")
        if not strength > 0:
            raise ConfigError("model.aligner.strength", f"found {strength}", expected="a number above 0")
        self.strength = strength
        self.discriminator = nn.Sequential(
            nn.Linear(embedding_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, len(modalities))
        )

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, context: AlignmentContext = NO_CONTEXT
    ) -> Tensor:
        """Return the discriminator's loss, whose gradient reaches the embeddings reversed."""
        seen = [m for m in range(len(self.modalities)) if present[:, m].any()]
        if len(seen) < 2:
            return self.mean_of([], embeddings)
        losses = []
        for m in seen:
            own = embeddings[self.modalities[m]][present[:, m]]
            logits = self.discriminator(reverse_gradient(own, self.strength))
            losses.append(F.cross_entropy(logits, torch.full((len(own),), m, device=own.device)))
        return self.mean_of(losses, embeddings)
