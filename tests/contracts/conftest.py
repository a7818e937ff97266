"""What every component is held to, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
Forward = Callable[[nn.Module], Tensor]


@dataclass(frozen=True)
class Contract:
    """Checks that the contract tests of all kinds share."""

    def same(self, found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected, **TOLERANCE)

    def gradient_reaches(self, output: Tensor, *, module: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        # Squares, not a sum: the gradient of a sum through a normalisation is zero by construction.
        (output**2).sum().backward()
        for name, tensor in {**inputs, **dict(module.named_parameters())}.items():
            assert tensor.grad is not None, f"no gradient at {name}"
            assert torch.isfinite(tensor.grad).all(), f"gradient at {name} is not finite"
            assert tensor.grad.abs().sum() > 0, f"the gradient at {name} is zero"

    def rows_stand_alone(self, forward: Callable[[Sequence[int]], Tensor], n: int) -> None:
        together = forward(range(n))
        for row in range(n):
            self.same(forward([row])[0], together[row])

    def survives_saving(self, make: Callable[[], nn.Module], forward: Forward) -> None:
        module, other = make(), make()
        with torch.no_grad():
            for tensor in _floats(module.state_dict().values()):
                tensor += 0.01 * torch.rand_like(tensor)
        other.load_state_dict(load(save({k: v.contiguous() for k, v in module.state_dict().items()})))
        assert torch.equal(forward(module.eval()), forward(other.eval()))

    def eval_is_deterministic(self, module: nn.Module, forward: Forward) -> None:
        module.eval()
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        torch.manual_seed(1)
        first = forward(module)
        torch.manual_seed(2)
        assert torch.equal(first, forward(module))
        assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def _floats(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor.is_floating_point()]


@pytest.fixture
def contract() -> Contract:
    torch.manual_seed(0)
    return Contract()
