from __future__ import annotations

import pytest
import torch
from torch import nn

from medfuse.models.norms import BatchNorm, RunningNorm


@pytest.mark.parametrize(("shape", "theirs"), [((6, 4), nn.BatchNorm1d), ((3, 4, 2, 3, 2), nn.BatchNorm3d)])
def test_it_is_torchs_batch_norm_in_training_and_eval(shape, theirs):
    torch.manual_seed(0)
    ours, other = BatchNorm(4), theirs(4)
    for _ in range(3):
        features = torch.randn(shape) * 3 + 1
        torch.testing.assert_close(ours(features), other(features))
    assert ours.state_dict().keys() == other.state_dict().keys()
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor)
    torch.testing.assert_close(ours.eval()(features), other.eval()(features))


def test_one_value_a_channel_is_normalised_by_the_running_statistics():
    norm = BatchNorm(2)
    assert torch.allclose(norm(torch.tensor([[3.0, 4.0]])), torch.tensor([[3.0, 4.0]]), atol=1e-4)
    assert norm.running_mean.tolist() == [0.0, 0.0]


def test_the_running_norm_keeps_a_small_variance_beside_a_large_mean():
    torch.manual_seed(0)
    cases = 1000 + 0.01 * torch.randn(300, 2, dtype=torch.float64)
    norm = RunningNorm(2)
    for batch in cases.float().split(32):
        norm(batch)
    torch.testing.assert_close(norm.variance, cases.var(dim=0, correction=0).float(), rtol=0.05, atol=0)
