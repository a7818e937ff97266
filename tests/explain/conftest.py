"""Cases as functions whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from medfuse.explain.case_logit import CaseLogit


class LinearCase(CaseLogit):
    """A logit that is a weighted sum of its one input; the baseline is zeros."""

    def __init__(self, name: str, given: Tensor, weights: Tensor) -> None:
        self.names = (name,)
        self.modalities = (name,)
        self.model = torch.nn.Identity()  # type: ignore[assignment]
        self.target = SimpleNamespace(name="t")  # type: ignore[assignment]
        self.given, self.weights = given, weights

    def inputs(self) -> tuple[Tensor, ...]:
        return (self.given,)

    def baselines(self) -> tuple[Tensor, ...]:
        return (torch.zeros_like(self.given),)

    def __call__(self, *inputs: Tensor) -> Tensor:
        return (inputs[0] * self.weights).flatten(start_dim=1).sum(dim=1)


@pytest.fixture
def linear() -> Callable[[str, Tensor, Tensor], CaseLogit]:
    return LinearCase
