from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medfuse.models.image_encoders import SmallCnn


def test_pooling_gives_the_mean_then_the_maximum_of_each_channel():
    encoder = SmallCnn(1, (8, 8, 8), widths=(2, 3)).eval()
    feature_map = torch.zeros(1, 3, 4, 4, 4)
    feature_map[0, 0, 1, 2, 3], feature_map[0, 1] = 64.0, 2.0
    # A fresh norm divides by sqrt(1 + 1e-5).
    assert encoder.pool(feature_map).tolist() == [pytest.approx([1.0, 2.0, 0.0, 64.0, 2.0, 0.0], rel=1e-4)]


def test_each_block_halves_the_resolution():
    encoder = SmallCnn(1, (32, 28, 17), widths=(2, 3, 5)).eval()
    assert encoder.feature_map(torch.zeros(1, 1, 32, 28, 17)).shape == (1, 5, 4, 4, 3)


def test_the_feature_map_shows_where_something_is():
    torch.manual_seed(0)
    encoder, image = SmallCnn(1, (16, 16, 16), widths=(4, 8)).eval(), torch.zeros(1, 1, 16, 16, 16)
    image[0, 0, 12, 4, 8] = 100.0
    change = (encoder.feature_map(image) - encoder.feature_map(torch.zeros_like(image))).abs().sum(dim=1)[0]
    i, j, k = (int(index) for index in torch.unravel_index(change.argmax(), change.shape))
    assert max(abs(i - 3), abs(j - 1), abs(k - 2)) <= 1


@pytest.mark.parametrize("training", [True, False])
def test_dropout_takes_whole_maps_in_training_only(training):
    encoder = SmallCnn(1, (8, 8, 8), widths=(2, 200), dropout=0.5).train(training)
    torch.manual_seed(0)
    gone = (encoder.pool(torch.ones(1, 200, 4, 4, 4))[0, :200] == 0).float().mean()
    assert float(gone) == pytest.approx(0.5 if training else 0.0, abs=0.1)


def test_a_single_case_can_be_trained_on():
    encoder = SmallCnn(1, (8, 8, 8), widths=(2, 3)).train()
    features = encoder(torch.rand(1, 1, 8, 8, 8))
    features.sum().backward()
    assert bool(torch.isfinite(features).all())


def test_three_channels_are_told_apart():
    torch.manual_seed(0)
    encoder, image = SmallCnn(3, (8, 8, 8), widths=(4, 8)).eval(), torch.rand(1, 3, 8, 8, 8)
    swapped = image[:, [1, 0, 2]]
    assert not F.cosine_similarity(encoder(image), encoder(swapped)).allclose(torch.ones(1), atol=1e-6)
