from __future__ import annotations

import torch
from torch import nn

from medfuse.models.low_rank import LowRankLinear, add_adapters


def test_the_adapter_adds_the_product_of_its_matrices():
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4), torch.rand(3, 6)
    adapted = LowRankLinear(layer, rank=2)
    nn.init.normal_(adapted.widen)
    expected = x @ (layer.weight + adapted.widen @ adapted.narrow).T + layer.bias
    torch.testing.assert_close(adapted(x), expected)
    assert set(adapted.state_dict()) == {"weight", "bias", "narrow", "widen"}


def test_only_layers_of_the_names_are_adapted_at_any_depth():
    attention = nn.ModuleDict({"query": nn.Linear(3, 3), "key": nn.Linear(3, 3), "value": nn.Linear(3, 3, bias=False)})
    network = nn.Sequential(nn.Linear(3, 3), nn.ModuleDict({"attention": attention, "query": nn.LayerNorm(3)}))
    assert add_adapters(network, rank=1, names=("query", "value")) == 2
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    assert learning == {f"1.attention.{name}.{part}" for name in ("query", "value") for part in ("narrow", "widen")}
