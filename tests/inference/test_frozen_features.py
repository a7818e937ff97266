from pathlib import Path

import numpy as np
import pytest
import torch

from medfuse.errors import UsageError
from medfuse.inference.frozen_features import box_statistics, frozen_features
from medfuse.models.inflated_resnet import InflatedResNet

SMALL = {"name": "inflated_resnet", "depth": 50, "width": 2}
IMAGES = np.random.default_rng(0).random((3, 1, 17, 16, 19), dtype=np.float32)


def test_features_are_the_means_of_the_loaded_encoders_last_map(tmp_path: Path) -> None:
    torch.manual_seed(7)
    source = InflatedResNet(1, (17, 16, 19), depth=50, width=2).eval()
    saved = {
        f"module.{name}": tensor.bfloat16() if tensor.is_floating_point() else tensor
        for name, tensor in source.state_dict().items()
    }
    torch.save(
        {"state_dict": {name.removeprefix("module."): tensor for name, tensor in saved.items()}}, tmp_path / "w.pt"
    )
    found, report = frozen_features(IMAGES, SMALL, weights=tmp_path / "w.pt")
    assert report is not None and not (report.missing or report.unexpected or report.misshapen)
    source.load_state_dict(
        {
            name: tensor.bfloat16().float() if tensor.is_floating_point() else tensor
            for name, tensor in source.state_dict().items()
        }
    )
    with torch.no_grad():
        expected = source.feature_map(torch.from_numpy(IMAGES)).mean(dim=(2, 3, 4)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_without_weights_the_seed_alone_decides_and_no_other_draw_moves() -> None:
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    first, report = frozen_features(IMAGES, SMALL, seed=3)
    assert report is None and torch.equal(before, torch.rand(1))
    np.testing.assert_array_equal(first, frozen_features(IMAGES, SMALL, seed=3)[0])
    assert not np.array_equal(first, frozen_features(IMAGES, SMALL, seed=4)[0])


def test_no_images_are_refused_and_statistics_have_a_row_an_image() -> None:
    with pytest.raises(UsageError, match="found no images"):
        frozen_features(IMAGES[:0], SMALL)
    assert len(box_statistics(IMAGES)) == 3
