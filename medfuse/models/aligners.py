"""Losses that bring the modalities of one case together in the shared space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import combinations
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import ConfigError

__all__ = ["ALIGNERS", "Aligner", "InfoNce", "NoAlignment"]


class Aligner(nn.Module, ABC):
    """What every aligner offers: a loss over embeddings of unit length.

    Parameters
    ----------
    modalities : tuple of str
        Names of the columns of ``present``.
    """

    def __init__(self, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.modalities = modalities

    @abstractmethod
    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        embeddings : mapping of str to Tensor of shape (B, E)
            Of unit length; what stands in an absent modality's place changes nothing.
        present : Tensor, shape (B, M), bool

        Returns
        -------
        Tensor, shape ()
            With a graph, also where there is nothing to align and it is zero.
        """


class InfoNce(Aligner):
    """Symmetric InfoNCE with a learned temperature, over the cases that have both modalities of a pair.

    The loss is the mean over all pairs of modalities. Fewer than two cases with both hold no contrast: zero.

    Parameters
    ----------
    modalities : tuple of str
    temperature : float
        To start with, in [0.01, 1], where training keeps it.

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

    def __init__(self, modalities: tuple[str, ...], *, temperature: float = 0.1) -> None:
        super().__init__(modalities)
        if not 0.01 <= temperature <= 1:
            raise ConfigError("model.aligner.temperature", f"found {temperature}", expected="0.01 to 1")
        self.log_scale = nn.Parameter(torch.tensor(-log(temperature)))

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return the mean loss over all pairs of modalities."""
        with torch.no_grad():  # in place: clamping the value in use would leave no gradient to come back by
            self.log_scale.clamp_(min=0.0, max=self.MAX_LOG_SCALE)
        losses = []
        for first, second in combinations(range(len(self.modalities)), 2):
            both = present[:, first] & present[:, second]
            if int(both.sum()) < 2:
                continue
            a, b = (embeddings[self.modalities[m]][both] for m in (first, second))
            similarity = self.log_scale.exp() * a @ b.T
            match = torch.arange(len(a), device=a.device)
            losses.append((F.cross_entropy(similarity, match) + F.cross_entropy(similarity.T, match)) / 2)
        return torch.stack(losses).mean() if losses else _zero(embeddings) + 0.0 * self.log_scale


class NoAlignment(Aligner):
    """No alignment: a loss of zero."""

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return zero."""
        return _zero(embeddings)


def _zero(embeddings: Mapping[str, Tensor]) -> Tensor:
    """Return zero with a graph, so that it can be added to any loss."""
    return torch.stack([embedding.sum() for embedding in embeddings.values()]).sum() * 0.0


ALIGNERS: dict[str, type[Aligner]] = {"infonce": InfoNce, "none": NoAlignment}
