from __future__ import annotations

import pytest
import torch
from torch import nn

from medfuse.models.image_encoders import SmallCnn
from medfuse.models.precision import Conv3d, is_right_in_bfloat16, train_in

EDGES = [(d, 9, 9) for d in range(1, 10)] + [(9, d, 9) for d in range(1, 10)] + [(9, 9, d) for d in range(1, 10)]


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.float() - expected).detach().norm() / expected.detach().norm())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("shape", EDGES)
def test_gradients_are_within_a_hundredth_of_float32_at_every_depth(shape, kernel, stride):
    torch.manual_seed(0)
    plain = nn.Conv3d(8, 16, kernel, stride=stride, padding=kernel // 2)
    ours = train_in(Conv3d(8, 16, kernel, stride=stride, padding=kernel // 2), torch.bfloat16)
    ours.load_state_dict(plain.state_dict())
    image = torch.randn(4, 8, *shape)
    theirs, mine = (image.clone().requires_grad_() for _ in range(2))
    expected = plain(theirs)
    slope = torch.randn_like(expected)
    expected.backward(slope)
    found = ours(mine)
    found.backward(slope.to(found.dtype))
    assert off(found, expected) < 0.01
    assert off(mine.grad, theirs.grad) < 0.01
    assert off(ours.weight.grad, plain.weight.grad) < 0.01
    assert ours.weight.grad.dtype == torch.float32


def test_an_input_shorter_than_the_kernel_stays_in_float32_whatever_the_autocast():
    conv = train_in(Conv3d(1, 2, 3, padding=1), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(torch.rand(1, 1, 2, 8, 8)).dtype == torch.float32
        assert conv(torch.rand(1, 1, 8, 8, 8)).dtype == torch.bfloat16
    assert not any(is_right_in_bfloat16(shape, (3, 3, 3)) for shape in ((1, 8, 8), (8, 1, 8), (8, 8, 2), (3, 8, 8)))


def test_answers_are_computed_in_float32():
    torch.manual_seed(0)
    encoder = SmallCnn(1, (16, 16, 16), widths=(4, 8))
    image = torch.rand(3, 1, 16, 16, 16)
    expected = encoder.eval()(image)
    assert torch.equal(train_in(encoder, torch.bfloat16).eval()(image), expected)
    trained = encoder.train()(image)
    assert trained.dtype == torch.float32 and not torch.equal(trained, train_in(encoder, torch.float32)(image))
    assert all(weight.dtype == torch.float32 for weight in encoder.parameters())
