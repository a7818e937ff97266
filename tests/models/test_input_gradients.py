import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medfuse.models.input_gradients import input_gradient
from medfuse.models.precision import Conv3d, train_in


@given(
    taps=st.tuples(*[st.integers(1, 7)] * 3),
    stride=st.tuples(*[st.integers(1, 4)] * 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    more=st.tuples(*[st.integers(0, 6)] * 3),
    data=st.data(),
)
def test_gradient_at_the_input_is_torch_s(
    taps: tuple[int, int, int],
    stride: tuple[int, int, int],
    channels: tuple[int, int],
    more: tuple[int, int, int],
    data: st.DataObject,
) -> None:
    torch.manual_seed(0)
    padding = data.draw(st.tuples(*[st.integers(0, k // 2) for k in taps]))
    edges = [k + n for k, n in zip(taps, more, strict=True)]
    image = torch.randn(2, channels[0], *edges, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(channels[1], channels[0], *taps, dtype=torch.float64)
    out = torch.nn.functional.conv3d(image, weight, stride=stride, padding=padding)
    gradient = torch.randn_like(out)
    [expected] = torch.autograd.grad(out, image, gradient)
    found = input_gradient(gradient, weight, stride=stride, padding=padding, size=(edges[0], edges[1], edges[2]))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_stem_answers_and_derives_as_a_trained_one(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    stem = train_in(Conv3d(1, 8, kernel_size=7, stride=2, padding=3, bias=False), dtype)
    image = torch.rand(2, 1, 16, 16, 16)

    def run() -> tuple[str, torch.Tensor, torch.Tensor]:
        moving = image.clone().requires_grad_()
        out = stem(moving)
        [gradient] = torch.autograd.grad(out.float().square().sum(), moving)
        return type(out.grad_fn).__name__, out.detach(), gradient

    kind, out, gradient = run()
    stem.requires_grad_(False)
    frozen_kind, frozen_out, frozen_gradient = run()
    assert kind == "ConvolutionBackward0" and frozen_kind == "_StridedConv3dBackward"
    assert torch.equal(out, frozen_out)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.02}[dtype]
    assert (gradient - frozen_gradient).abs().max() <= tolerance * gradient.abs().max()
