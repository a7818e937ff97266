"""Adapters of low rank: a pretrained network learns through a few numbers beside weights that stay."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LowRankLinear", "add_adapters"]


class LowRankLinear(nn.Linear):
    """A linear layer whose own weights stay; what it learns is the product of two narrow matrices beside them.

    It starts as the layer that it is made from: the second matrix is zero.

    Parameters
    ----------
    layer : Linear
        Its weights are taken over, under their names.
    rank : int
        r, above 0.

    Notes
    -----
    Source: Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, equation 3; alpha is set to r, so that
    the product counts as it is.

    Examples
    --------
    >>> layer = nn.Linear(6, 4)
    >>> adapted, x = LowRankLinear(layer, rank=2), torch.rand(3, 6)
    >>> torch.equal(adapted(x), layer(x)), sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    (True, 20)
    """

    def __init__(self, layer: nn.Linear, *, rank: int) -> None:
        # On meta, no numbers are drawn for weights that are replaced at once.
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.requires_grad_(False)
        self.narrow = nn.Parameter(torch.empty(rank, layer.in_features))  # A
        self.widen = nn.Parameter(torch.zeros(layer.out_features, rank))  # B
        nn.init.normal_(self.narrow, std=1 / math.sqrt(layer.in_features))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the layer's output, and the adapter's beside it."""
        return super().forward(input) + F.linear(F.linear(input, self.narrow), self.widen)


def add_adapters(module: nn.Module, *, rank: int, names: tuple[str, ...]) -> int:
    """Freeze a network and adapt its linear layers of some names.

    Parameters
    ----------
    module : Module
        Changed in place; of all its weights those of the adapters alone are trained.
    rank : int
    names : tuple of str
        Last parts of the layers' names.

    Returns
    -------
    int
        How many layers were adapted.

    Examples
    --------
    >>> block = nn.ModuleDict({"query": nn.Linear(2, 2), "key": nn.Linear(2, 2)})
    >>> add_adapters(block, rank=1, names=("query", "value"))
    1
    """
    module.requires_grad_(False)
    found = [
        (parent, name, layer)
        for parent in module.modules()
        for name, layer in parent.named_children()
        if name in names and isinstance(layer, nn.Linear)
    ]
    for parent, name, layer in found:
        setattr(parent, name, LowRankLinear(layer, rank=rank))
    return len(found)
