from __future__ import annotations

import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.multiple_instance import MultipleInstance


@pytest.fixture
def encoder() -> MultipleInstance:
    torch.manual_seed(0)
    return MultipleInstance(1, (20, 16, 8), patch=8, widths=(2, 4), attention_size=3).eval()


def test_each_patch_is_seen_alone_and_in_its_place(encoder):
    image = torch.rand(2, 1, 20, 16, 8)
    found = encoder.feature_map(image)
    assert found.shape == (2, 8, 3, 2, 1)
    torch.testing.assert_close(found[:, :, 1, 0, 0], encoder.instance(image[:, :, 8:16, :8]))
    # Zeros fill the last patch along the first axis.
    last = torch.zeros(2, 1, 8, 8, 8)
    last[:, :, :4] = image[:, :, 16:, 8:]
    torch.testing.assert_close(found[:, :, 2, 1, 0], encoder.instance(last))


def test_pooling_is_the_published_attention(encoder):
    maps = torch.randn(2, 8, 3, 2, 1)
    h = maps.flatten(2).transpose(1, 2)
    gated = torch.tanh(h @ encoder.content.weight.T + encoder.content.bias) * torch.sigmoid(
        h @ encoder.gate.weight.T + encoder.gate.bias
    )
    scores = (gated @ encoder.weight.weight.T)[..., 0]
    a = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(encoder.pool(maps), (a[..., None] * h).sum(dim=1))
    torch.testing.assert_close(encoder.attention(maps).flatten(1), a)


def test_the_order_of_the_patches_changes_nothing(encoder):
    maps = torch.randn(2, 8, 3, 2, 1)
    torch.testing.assert_close(encoder.pool(maps.flip(2, 3)), encoder.pool(maps))


def test_it_learns_from_the_study_alone_which_patch_counts():
    torch.manual_seed(0)
    encoder = MultipleInstance(1, (16, 16, 16), patch=8, widths=(4, 8), attention_size=8)
    answer = torch.nn.Linear(encoder.feature_size, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *answer.parameters()], lr=0.01)
    labels = torch.arange(32) % 2
    image = 0.1 * torch.rand(32, 1, 16, 16, 16)
    for case in torch.nonzero(labels).flatten().tolist():
        corner = [8 * int(bit) for bit in f"{case % 8:03b}"]
        place = tuple(slice(start + 2, start + 6) for start in corner)
        image[(case, 0, *place)] += 1.0
    for _ in range(40):
        logits = answer(encoder(image))[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encoder.eval()
    attention = encoder.attention(encoder.feature_map(image)).flatten(1)[labels == 1]
    marked = torch.nonzero(labels).flatten() % 8
    assert (attention.argmax(dim=1) == marked).float().mean() > 0.9


def test_sizes_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="expected 16 voxels or more"):
        MultipleInstance(1, (32, 32, 8))
    with pytest.raises(ConfigError, match="widths: found 4 blocks for a box of"):
        MultipleInstance(1, (32, 32, 32), patch=8, widths=(1, 1, 1, 1))
    with pytest.raises(ConfigError, match="attention_size"):
        MultipleInstance(1, (32, 32, 32), attention_size=0)
