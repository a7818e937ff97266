"""The contract of every image encoder, those of installed packages included."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.image_encoders import IMAGE_ENCODERS, ImageEncoder
from medfuse.models.precision import train_in
from medfuse.registry import build, with_entry_points

COMPONENTS = with_entry_points(IMAGE_ENCODERS, group="medfuse.image_encoders")
pytestmark = pytest.mark.parametrize("name", COMPONENTS)

# As wide as the contract needs.
OPTIONS: dict[str, dict[str, Any]] = {
    "convnext": {"width": 8, "depths": [1, 1, 2, 1]},
    "densenet121": {"growth": 4},
    "inflated_resnet": {"depth": 50, "width": 2},
    "mil": {"widths": [4, 8], "attention_size": 4},
    **{f"resnet{depth}": {"width": 8} for depth in (10, 18, 34, 50)},
    "se_resnet": {"width": 8, "reduction": 4},
}


def make(name: str, *, size: tuple[int, int, int] = (16, 17, 19), channels: int = 1) -> ImageEncoder:
    options = {"name": name, **OPTIONS.get(name, {})}
    return build(COMPONENTS, options, where="test", given={"in_channels": channels, "image_size": size})


@pytest.mark.parametrize(("size", "channels"), [((16, 16, 16), 1), ((28, 28, 28), 1), ((17, 19, 23), 3)])
def test_features_have_the_stated_size(name, size, channels):
    encoder, image = make(name, size=size, channels=channels).eval(), torch.rand(2, channels, *size)
    assert encoder(image).shape == (2, encoder.feature_size)
    assert encoder.feature_map(image).ndim == 5
    pooled = encoder.pool(encoder.feature_map(image))
    assert torch.equal(pooled, encoder(image)[:, : pooled.shape[1]])


def test_a_gradient_reaches_image_and_parameters(name, contract):
    encoder, image = make(name).train(), torch.rand(4, 1, 16, 17, 19, requires_grad=True)
    contract.gradient_reaches(encoder(image), module=encoder, inputs={"image": image})
    assert (image.grad.abs().sum(dim=(1, 2, 3, 4)) > 0).all()


def test_a_batch_of_one_equals_its_row_of_a_batch(name, contract):
    encoder, image = make(name), torch.rand(4, 1, 16, 17, 19)
    encoder.train()(image)  # running statistics that are not the initial ones
    encoder.eval()
    contract.rows_stand_alone(lambda rows: encoder(image[list(rows)]), 4)


def test_a_single_case_can_be_trained_on(name):
    assert torch.isfinite(make(name).train()(torch.rand(1, 1, 16, 17, 19))).all()


def test_it_can_be_trained_in_bfloat16(name):
    torch.manual_seed(0)  # of the narrow gates of se_resnet a draw may leave none open
    encoder, image = train_in(make(name), torch.bfloat16).train(), torch.rand(4, 1, 16, 17, 19)
    features = encoder(image)
    features.float().square().sum().backward()
    gradients = [weights.grad for weights in encoder.parameters()]
    assert all(torch.isfinite(gradient).all() and gradient.abs().sum() > 0 for gradient in gradients)


def test_it_survives_saving_and_loading(name, contract):
    image = torch.rand(2, 1, 16, 17, 19)
    contract.survives_saving(lambda: make(name), lambda encoder: encoder(image))


def test_eval_is_deterministic(name, contract):
    image = torch.rand(2, 1, 16, 17, 19)
    contract.eval_is_deterministic(make(name), lambda encoder: encoder(image))


def test_a_box_that_cannot_work_is_refused_when_built(name):
    with pytest.raises(ConfigError, match="voxels"):
        make(name, size=(16, 16, 1))
