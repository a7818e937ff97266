"""What every aligner offers: a loss that brings the modalities of one case together in the shared space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn

from medfuse.tensors import LocalFeatures

__all__ = ["NO_CONTEXT", "Aligner", "AlignmentContext", "NoAlignment", "PairAligner"]


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentContext:
    """What an aligner may read beside the embeddings of unit length.

    Parameters
    ----------
    labels : mapping of str to Tensor of shape (B,), int64
        Class index by target, in the order of the configuration; anything where unknown.
    known : mapping of str to Tensor of shape (B,), bool
        By target: True where the label is known.
    unscaled : mapping of str to Tensor of shape (B, E)
        The embeddings before they were brought to unit length.
    local : mapping of str to LocalFeatures
        By modality; filled only for an aligner that says ``reads_local``.
    """

    labels: Mapping[str, Tensor] = field(default_factory=dict)
    known: Mapping[str, Tensor] = field(default_factory=dict)
    unscaled: Mapping[str, Tensor] = field(default_factory=dict)
    local: Mapping[str, LocalFeatures] = field(default_factory=dict)


NO_CONTEXT = AlignmentContext()


class Aligner(nn.Module, ABC):
    """What every aligner offers: a loss over embeddings of unit length, in training alone.

    Parameters
    ----------
    modalities : tuple of str
        Names of the columns of ``present``. Of one alone there is nothing to align: the loss is zero.

    Attributes
    ----------
    reads_local : bool
        Whether it needs ``AlignmentContext.local``.
    fewest_pairs : int
        Cases with two modalities that a loss above zero takes.
    """

    reads_local: ClassVar[bool] = False
    fewest_pairs: ClassVar[int] = 1

    def __init__(self, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.modalities = modalities

    @abstractmethod
    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, context: AlignmentContext = NO_CONTEXT
    ) -> Tensor:
        """Return the loss, 0 or more.

        Parameters
        ----------
        embeddings : mapping of str to Tensor of shape (B, E)
            Of unit length; what stands in an absent modality's place changes nothing.
        present : Tensor, shape (B, M), bool
        context : AlignmentContext, optional

        Returns
        -------
        Tensor, shape ()
            With a graph, also where there is nothing to align and it is zero.
        """

    def pairs(
        self, embeddings: Mapping[str, Tensor], present: Tensor
    ) -> Iterator[tuple[tuple[str, str], Tensor, Tensor]]:
        """Yield every pair of modalities with both embeddings of the cases that have both, if those are enough."""
        for first, second in combinations(range(len(self.modalities)), 2):
            both = present[:, first] & present[:, second]
            if int(both.sum()) >= self.fewest_pairs:
                names = (self.modalities[first], self.modalities[second])
                yield names, embeddings[names[0]][both], embeddings[names[1]][both]

    def mean_of(self, losses: Sequence[Tensor], embeddings: Mapping[str, Tensor]) -> Tensor:
        """Return the mean; zero of none. Every embedding and parameter gets a gradient, if need be of zero."""
        unused = [*embeddings.values(), *self.parameters()] if not losses else list(self.parameters())
        zero = torch.stack([tensor.sum() for tensor in unused]).sum() * 0.0 if unused else 0.0
        return torch.stack(list(losses)).mean() + zero if losses else torch.as_tensor(zero)


class PairAligner(Aligner):
    """An aligner that looks at two modalities at a time; its loss is the mean over all pairs of them."""

    @abstractmethod
    def pair_loss(self, names: tuple[str, str], first: Tensor, second: Tensor) -> Tensor:
        """Return the loss, shape (), of the n cases that have both modalities.

        Parameters
        ----------
        names : tuple of str
            The two modalities.
        first, second : Tensor, shape (n, E)
            Their embeddings, of unit length; n is at least ``fewest_pairs``.
        """

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, context: AlignmentContext = NO_CONTEXT
    ) -> Tensor:
        """Return the mean loss over all pairs of modalities."""
        losses = [self.pair_loss(names, a, b) for names, a, b in self.pairs(embeddings, present)]
        return self.mean_of(losses, embeddings)


class NoAlignment(Aligner):
    """No alignment: a loss of zero."""

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, context: AlignmentContext = NO_CONTEXT
    ) -> Tensor:
        """Return zero."""
        return self.mean_of([], embeddings)
