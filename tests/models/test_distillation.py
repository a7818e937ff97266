from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medfuse.models.distillation import distillation_loss
from medfuse.types import Target

BINARY = Target("a", "binary", ("no", "yes"))
CLASSES = Target("b", "multiclass", ("x", "y", "z"))
ORDINAL = Target("c", "ordinal", ("1", "2", "3"))


def numbers(seed: int, n_outputs: int) -> torch.Tensor:
    return 3 * torch.randn(6, n_outputs, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_the_divergence_of_softened_answers(temperature):
    ours, theirs, known = numbers(0, 3), numbers(1, 3), torch.tensor([1, 1, 0, 1, 0, 1]).bool()
    soft = (theirs / temperature).softmax(1)[known]
    expected = F.kl_div((ours / temperature).log_softmax(1)[known], soft, reduction="batchmean") * temperature**2
    found = distillation_loss(ours, theirs, known, target=CLASSES, temperature=temperature)
    torch.testing.assert_close(found, expected)


def test_a_binary_target_counts_as_two_classes():
    ours, theirs, known = numbers(0, 1), numbers(1, 1), torch.ones(6, dtype=torch.bool)
    both = [F.pad(logits, (1, 0)) for logits in (ours, theirs)]
    two = Target("a", "multiclass", ("no", "yes", "never"))
    expected = distillation_loss(*both, known, target=two, temperature=3.0)
    torch.testing.assert_close(distillation_loss(ours, theirs, known, target=BINARY, temperature=3.0), expected)


@pytest.mark.parametrize(("target", "n_outputs"), [(BINARY, 1), (CLASSES, 3), (ORDINAL, 2)])
def test_its_gradient_is_that_of_the_published_cross_entropy(target, n_outputs):
    theirs, known = numbers(1, n_outputs), torch.ones(6, dtype=torch.bool)
    ours = numbers(0, n_outputs).requires_grad_()
    (found,) = torch.autograd.grad(distillation_loss(ours, theirs, known, target=target, temperature=2.0), ours)
    if target.kind == "multiclass":
        # Equation 2 of the source, times T ** 2, over the mean of the cases.
        expected = 2.0 * ((ours / 2).softmax(1) - (theirs / 2).softmax(1)) / 6
    else:
        expected = 2.0 * ((ours / 2).sigmoid() - (theirs / 2).sigmoid()) / 6
    torch.testing.assert_close(found, expected.detach())


def test_sure_answers_and_unknown_cases_stay_finite():
    ours = torch.tensor([[80.0], [-80.0], [0.0]], requires_grad=True)
    theirs = torch.tensor([[-90.0], [90.0], [torch.nan]])
    known = torch.tensor([True, True, False])
    loss = distillation_loss(ours, theirs, known, target=BINARY, temperature=1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(ours.grad).all()
    none = distillation_loss(
        numbers(0, 1), numbers(1, 1), torch.zeros(6, dtype=torch.bool), target=BINARY, temperature=1
    )
    assert none == 0
