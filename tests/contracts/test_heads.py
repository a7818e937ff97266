"""The contract of every head, those of installed packages included."""

from __future__ import annotations

import pytest
import torch

from medfuse.models.heads import HEADS, Head
from medfuse.registry import build, with_entry_points

COMPONENTS = with_entry_points(HEADS, group="medfuse.heads")
pytestmark = pytest.mark.parametrize("name", COMPONENTS)


def make(name: str, n_outputs: int = 3) -> Head:
    return build(COMPONENTS, {"name": name}, where="test", given={"in_size": 8, "n_outputs": n_outputs})


def fused() -> torch.Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_logits_have_the_stated_size(name, n_outputs):
    assert make(name, n_outputs).eval()(fused()).shape == (5, n_outputs)


def test_a_gradient_reaches_input_and_parameters(name, contract):
    head, given = make(name).train(), fused()
    contract.gradient_reaches(head(given), module=head, inputs={"fused": given})
    assert (given.grad.abs().sum(dim=1) > 0).all()


def test_a_batch_of_one_equals_its_row_of_a_batch(name, contract):
    head, given = make(name).eval(), fused()
    contract.rows_stand_alone(lambda rows: head(given[list(rows)]), 5)


def test_logits_are_not_squashed(name):
    # A head gives logits: a large input must be able to leave [0, 1].
    assert make(name).eval()(1000.0 * fused()).abs().max() > 1


def test_it_survives_saving_and_loading(name, contract):
    contract.survives_saving(lambda: make(name), lambda head: head(fused()))


def test_eval_is_deterministic(name, contract):
    contract.eval_is_deterministic(make(name), lambda head: head(fused()))
