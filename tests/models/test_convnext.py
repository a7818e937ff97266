from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.convnext import ConvNext, _Block


def test_a_block_is_the_published_one():
    torch.manual_seed(0)
    block, features = _Block(3, drop=0.0), torch.rand(2, 3, 9, 8, 7)
    with torch.no_grad():
        block.scale.copy_(torch.tensor([0.5, 1.0, 2.0]))
    # Each channel by its own kernel, then each voxel by itself.
    each = [
        F.conv3d(features[:, c : c + 1], block.spread.weight[c : c + 1], block.spread.bias[c : c + 1], padding=3)
        for c in range(3)
    ]
    x = torch.cat(each, dim=1).permute(0, 2, 3, 4, 1)
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    first, last = block.layers[0], block.layers[2]
    x = F.gelu(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    expected = features + (x * block.scale).permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(block(features), expected)


def test_a_dropped_case_passes_a_block_unchanged_and_the_others_count_more():
    torch.manual_seed(0)
    block, features = _Block(2, drop=0.5).train(), torch.rand(200, 2, 2, 2, 2)
    with torch.no_grad():
        block.scale.fill_(1.0)
    change = block(features) - features
    dropped = change.flatten(1).abs().sum(1) == 0
    assert 60 < int(dropped.sum()) < 140
    torch.testing.assert_close(change[~dropped], 2 * (block.eval()(features) - features)[~dropped])


@pytest.mark.parametrize(("edge", "left"), [(28, 1), (63, 3), (64, 2), (96, 3)])
def test_the_patches_fit_the_box(edge, left):
    encoder = ConvNext(1, (edge, edge, edge), width=1, depths=(1, 1, 1, 1)).eval()
    assert encoder.feature_map(torch.zeros(1, 1, edge, edge, edge)).shape == (1, 8, left, left, left)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": (1, 1, 1)}, "depths: found 3 stages; expected 4"),
        ({"depths": (1, 0, 1, 1)}, "depths: found 0"),
        ({"width": 0}, "width: found 0"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ConvNext(1, (16, 16, 16), **options)
