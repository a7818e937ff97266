"""Fusion in which each modality is an expert: their product, and their mixture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError
from medfuse.models.fusion import Fusion, present_only

__all__ = ["MixtureOfExperts", "ProductOfExperts", "product_of_gaussians"]

LOG_VARIANCES = (-10.0, 10.0)
"""Bounds of an expert's log variance."""


def product_of_gaussians(means: Tensor, log_variances: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the normal densities of the experts that are there with a standard normal prior.

    Parameters
    ----------
    means, log_variances : Tensor, shape (B, M, Z)
        What stands at an absent expert changes nothing.
    present : Tensor, shape (B, M), bool

    Returns
    -------
    mean, log_variance : Tensor, shape (B, Z)
        Of the product, again a normal density; those of the prior where no expert is there.

    Notes
    -----
    Source: Wu & Goodman 2018, Multimodal Generative Models for Scalable Weakly-Supervised Learning, section 2, on the
    joint posterior: the precisions add up, and the mean is the experts' mean weighted by them.

    Examples
    --------
    >>> mean, log_variance = product_of_gaussians(torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.ones(1, 1).bool())
    >>> mean.item(), round(log_variance.exp().item(), 6)  # an expert of variance 1 against a prior of variance 1
    (0.5, 0.5)
    """
    precisions = torch.where(present[..., None], torch.exp(-log_variances.clamp(*LOG_VARIANCES)), 0.0)
    total = 1 + precisions.sum(dim=1)
    weighted = torch.where(present[..., None], precisions * means, 0.0).sum(dim=1)
    return weighted / total, -total.log()


class ProductOfExperts(Fusion):
    """Each modality is a Gaussian expert on a latent vector; the fused vector is the mean of their product.

    An expert that is unsure, of great variance, is hardly heard; an absent one is not. The prior is a standard
    normal, so that the less is known the nearer to zero is the fused vector.

    Parameters
    ----------
    modalities : tuple of str
        Names of the columns of ``present``.
    embedding_size : int
        E.
    latent_size : int
        F, the length of the latent vector.

    Raises
    ------
    ConfigError
        If the latent size is not positive.

    Notes
    -----
    Source: Wu & Goodman 2018, Multimodal Generative Models for Scalable Weakly-Supervised Learning, section 2, on the
    joint posterior; here as a fusion, where nothing is drawn at random. See `product_of_gaussians`.
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int, *, latent_size: int = 64) -> None:
        super().__init__()
        if latent_size < 1:
            raise ConfigError("model.fusion.latent_size", f"found {latent_size}", expected="1 or more")
        self.modalities = modalities
        self.experts = nn.ModuleList(nn.Linear(embedding_size, 2 * latent_size) for _ in modalities)
        self.fused_size = latent_size

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        means, log_variances = self._ask(embeddings, present)
        return product_of_gaussians(means, log_variances, present)[0]

    def weigh(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return each expert's share of their precision, the mean over the latent numbers."""
        _, log_variances = self._ask(embeddings, present)
        precisions = torch.where(present[..., None], torch.exp(-log_variances.clamp(*LOG_VARIANCES)), 0.0)
        return (precisions / precisions.sum(dim=1, keepdim=True).clamp(min=1e-12)).mean(dim=2)

    def _ask(self, embeddings: Mapping[str, Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        parts = present_only(self.modalities, embeddings, present).unbind(dim=1)
        said = torch.stack([expert(part) for expert, part in zip(self.experts, parts, strict=True)], dim=1)
        means, log_variances = said.chunk(2, dim=2)
        return means, log_variances


class MixtureOfExperts(Fusion):
    """Each modality has an expert; a gate that sees all modalities says how far each expert that is there counts.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int
    hidden_size : int
        Of each expert, an MLP of two layers.

    Raises
    ------
    ConfigError
        If the hidden size is not positive.

    Notes
    -----
    Source: Jacobs et al. 1991, Adaptive Mixtures of Local Experts (a softmax gate over experts). Here an
    expert reads its own modality, the gate reads all, zeros where one is absent, and the experts of absent modalities
    are left out of the softmax.
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int, *, hidden_size: int = 64) -> None:
        super().__init__()
        if hidden_size < 1:
            raise ConfigError("model.fusion.hidden_size", f"found {hidden_size}", expected="1 or more")
        self.modalities = modalities
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(embedding_size, hidden_size), nn.ReLU(inplace=True), nn.Linear(hidden_size, embedding_size)
            )
            for _ in modalities
        )
        self.gate = nn.Linear(len(modalities) * embedding_size, len(modalities))
        self.fused_size = embedding_size

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        parts = present_only(self.modalities, embeddings, present).unbind(dim=1)
        said = torch.stack([expert(part) for expert, part in zip(self.experts, parts, strict=True)], dim=1)
        return torch.einsum("bm,bme->be", self.weigh(embeddings, present), said)

    def weigh(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return what the gate gives each expert."""
        asked = self.gate(present_only(self.modalities, embeddings, present).flatten(start_dim=1))
        # The lowest finite number, not minus infinity: a case without any modality has no softmax of those.
        shares: Tensor = asked.masked_fill(~present, torch.finfo(asked.dtype).min).softmax(dim=1) * present
        return shares
