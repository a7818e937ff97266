"""The fusions by name, and the plain ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError
from medfuse.models.cross_attention import CrossAttention
from medfuse.models.expert_fusions import MixtureOfExperts, ProductOfExperts
from medfuse.models.fusion import Fusion, NullTokenFusion, present_only
from medfuse.models.heads import Head
from medfuse.models.tensor_fusions import LowRankFusion, TensorFusion

__all__ = ["FUSIONS", "Concatenation", "Fusion", "GatedFusion", "KnowledgeFusion", "LateFusion", "WeightedFusion"]


class Concatenation(NullTokenFusion):
    """Put the modalities side by side.

    Parameters
    ----------
    modalities : tuple of str
        Names of the columns of ``present``.
    embedding_size : int
        E.
    null_token : bool
        Let a learned vector stand for an absent modality; else zeros do.

    Notes
    -----
    Source: Baltrusaitis et al. 2019, Multimodal Machine Learning: A Survey and Taxonomy, section 3.1 (joint
    representation by concatenation).

    Examples
    --------
    >>> fusion = Concatenation(("image", "text"), 2)
    >>> fusion({"image": torch.ones(1, 2), "text": torch.ones(1, 2)}, torch.tensor([[True, True]])).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int, *, null_token: bool = True) -> None:
        super().__init__(modalities, embedding_size)
        if not null_token:
            del self.absent
            self.register_buffer("absent", torch.zeros(len(modalities), embedding_size), persistent=False)
        self.fused_size = len(modalities) * embedding_size

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        return torch.cat(self.filled(embeddings, present), dim=1)


class ModalityWeights(nn.Module):
    """A weight for each modality; those of the modalities that a case has sum to 1.

    Parameters
    ----------
    n_modalities : int
        M.
    weights : sequence of float, optional
        Fixed, and summing to 1. None learns them, from equal ones.

    Raises
    ------
    ConfigError
        If the fixed weights are not one above 0 a modality, or do not sum to 1.
    """

    def __init__(self, n_modalities: int, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_modalities), requires_grad=weights is None)
        if weights is None:
            return
        if len(weights) != n_modalities or min(weights) <= 0 or abs(sum(weights) - 1) > 1e-6:
            expected = f"{n_modalities} numbers above 0 that sum to 1"
            raise ConfigError("model.fusion.weights", f"found {list(weights)}", expected=expected)
        self.logits.data = torch.tensor([float(weight) for weight in weights]).log()

    def forward(self, present: Tensor) -> Tensor:
        """Return the weights, shape (B, M), 0 where a modality is absent; zeros for a case that has none."""
        shares = self.logits.softmax(dim=0) * present
        return shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-12)


class WeightedFusion(Fusion):
    """The weighted sum of the modalities: alpha times one and beta times the other, where alpha + beta = 1.

    The weights of absent modalities go to those that a case has.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int
    weights : sequence of float, optional
        Of the modalities, in their order, summing to 1. None learns them, by softmax, from equal ones.

    Raises
    ------
    ConfigError
        If the weights do not fit the modalities.

    Notes
    -----
    Source: Peters et al. 2018, Deep contextualized word representations, equation 1 (a sum whose weights are a
    softmax of learned numbers), there over layers, here over modalities, and without its scale.

    Examples
    --------
    >>> fusion = WeightedFusion(("image", "text"), 1, weights=[0.75, 0.25])
    >>> given = {"image": torch.tensor([[4.0], [4.0]]), "text": torch.tensor([[8.0], [8.0]])}
    >>> fusion(given, torch.tensor([[True, True], [False, True]])).tolist()
    [[5.0], [8.0]]
    """

    def __init__(
        self, modalities: tuple[str, ...], embedding_size: int, *, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.modalities = modalities
        self.weights = ModalityWeights(len(modalities), weights)
        self.fused_size = embedding_size

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        return torch.einsum("bm,bme->be", self.weights(present), present_only(self.modalities, embeddings, present))

    def weigh(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return the weights."""
        weights: Tensor = self.weights(present)
        return weights


class GatedFusion(NullTokenFusion):
    """Let a gate decide, number by number, how far each modality is heard; all gates see all modalities.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int

    Notes
    -----
    Source: Arevalo et al. 2017, Gated Multimodal Units for Information Fusion, section 3.1: of two modalities one gate
    is the other's rest (figure 2b), of any other number each has its own (figure 2a).

    Examples
    --------
    >>> fusion = GatedFusion(("image", "text"), 4)
    >>> given = {"image": torch.ones(2, 4), "text": torch.ones(2, 4)}
    >>> fusion.weigh(given, torch.ones(2, 2, dtype=torch.bool)).sum(dim=1).tolist()
    [1.0, 1.0]
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int) -> None:
        super().__init__(modalities, embedding_size)
        n = len(modalities)
        self.hidden = nn.ModuleList(nn.Linear(embedding_size, embedding_size, bias=False) for _ in modalities)
        self.n_gates = 1 if n == 2 else n
        self.gates = nn.Linear(n * embedding_size, self.n_gates * embedding_size, bias=False)
        self.fused_size = embedding_size

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        parts = self.filled(embeddings, present)
        said = torch.stack([layer(part).tanh() for layer, part in zip(self.hidden, parts, strict=True)], dim=1)
        return (self._gate(parts) * said).sum(dim=1)

    def weigh(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return the share of each modality's gate, or of its null token's, over all numbers."""
        opened = self._gate(self.filled(embeddings, present)).mean(dim=2)
        return opened / opened.sum(dim=1, keepdim=True)

    def _gate(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the gates, shape (B, M, E)."""
        opened: Tensor = self.gates(torch.cat(list(parts), dim=1)).unflatten(1, (self.n_gates, -1)).sigmoid()
        return torch.cat([opened, 1 - opened], dim=1) if len(parts) == 2 else opened


class KnowledgeFusion(NullTokenFusion):
    """A module of its own for what each modality knows, and a fusion layer over all of them.

    Each of the n modules is an MLP of two layers added to its embedding; the fusion layer is linear, over the modules'
    outputs side by side, with layer norm and ReLU.

    Parameters
    ----------
    modalities : tuple of str
        Any number n.
    embedding_size : int
    hidden_size : int
        Of each module.

    Raises
    ------
    ConfigError
        If the hidden size is not positive.

    Notes
    -----
    Source: our own reading of a knowledge-fusion network of n modules and a fusion layer; we know of no equations that
    define it.

    Examples
    --------
    >>> fusion = KnowledgeFusion(("image", "text", "table"), 4)
    >>> given = {name: torch.ones(2, 4) for name in ("image", "text", "table")}
    >>> fusion(given, torch.ones(2, 3, dtype=torch.bool)).shape
    torch.Size([2, 4])
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int, *, hidden_size: int = 64) -> None:
        super().__init__(modalities, embedding_size)
        if hidden_size < 1:
            raise ConfigError("model.fusion.hidden_size", f"found {hidden_size}", expected="1 or more")
        self.knowledge = nn.ModuleList(
            nn.Sequential(
                nn.Linear(embedding_size, hidden_size), nn.ReLU(inplace=True), nn.Linear(hidden_size, embedding_size)
            )
            for _ in modalities
        )
        self.layer = nn.Sequential(
            nn.Linear(len(modalities) * embedding_size, embedding_size),
            nn.LayerNorm(embedding_size),
            nn.ReLU(inplace=True),
        )
        self.fused_size = embedding_size

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        parts = self.filled(embeddings, present)
        known = [part + module(part) for module, part in zip(self.knowledge, parts, strict=True)]
        fused: Tensor = self.layer(torch.cat(known, dim=1))
        return fused


class LateFusion(Fusion):
    """Each modality answers alone; the answers' logits are averaged by weights.

    The weights of absent modalities go to those that a case has. The fused vector holds the embeddings side by side
    and the weights behind them, for the heads to answer from.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int
    weights : sequence of float, optional
        Of the modalities, in their order, summing to 1. None learns them, by softmax, from equal ones.

    Raises
    ------
    ConfigError
        If the weights do not fit the modalities.

    Notes
    -----
    Source: Kittler et al. 1998, On Combining Classifiers, section 2; a weighted mean of logits is, in logarithms, its
    product rule with weights.

    Examples
    --------
    >>> fusion = LateFusion(("image", "text"), 1, weights=[0.75, 0.25])
    >>> given = {"image": torch.tensor([[4.0]]), "text": torch.tensor([[8.0]])}
    >>> fusion(given, torch.tensor([[True, True]]))
    tensor([[4.0000, 8.0000, 0.7500, 0.2500]])
    """

    def __init__(
        self, modalities: tuple[str, ...], embedding_size: int, *, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.modalities = modalities
        self.embedding_size = embedding_size
        self.weights = ModalityWeights(len(modalities), weights)
        self.fused_size = len(modalities) * (embedding_size + 1)

    def forward(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Fuse."""
        parts = present_only(self.modalities, embeddings, present).flatten(start_dim=1)
        return torch.cat([parts, self.weights(present)], dim=1)

    def weigh(self, embeddings: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return the weights."""
        weights: Tensor = self.weights(present)
        return weights

    def make_head(self, make: Callable[[int], Head]) -> Head:
        """Return a head a modality, whose logits are averaged."""
        return LateHead([make(self.embedding_size) for _ in self.modalities])


class LateHead(Head):
    """The weighted mean of the logits that each modality's own head gives; reads what `LateFusion` fused.

    Parameters
    ----------
    heads : sequence of Head
        One a modality.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, fused: Tensor) -> Tensor:
        """Return logits."""
        n = len(self.heads)
        parts = fused[:, :-n].chunk(n, dim=1)
        logits = torch.stack([head(part) for head, part in zip(self.heads, parts, strict=True)], dim=1)
        return (logits * fused[:, -n:, None]).sum(dim=1)


FUSIONS: dict[str, type[Fusion]] = {
    "concatenation": Concatenation,
    "cross_attention": CrossAttention,
    "gated": GatedFusion,
    "knowledge": KnowledgeFusion,
    "late": LateFusion,
    "low_rank": LowRankFusion,
    "mixture_of_experts": MixtureOfExperts,
    "product_of_experts": ProductOfExperts,
    "tensor": TensorFusion,
    "weighted": WeightedFusion,
}
