from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from medfuse.config import LossConfig, ModelConfig
from medfuse.errors import ConfigError
from medfuse.models import TargetLoss, build_model
from medfuse.models.answers import class_logits, last_class_logit
from medfuse.models.fusions import LateFusion
from medfuse.models.heads import LinearHead, OrdinalHead
from medfuse.types import Target

BINARY = Target("malignancy", "binary", ("no", "yes"))
THREE = Target("texture", "multiclass", ("solid", "part-solid", "ground glass"))
GRADE = Target("grade", "ordinal", ("1", "2", "3", "4"))


@given(st.lists(st.floats(-30, 30), min_size=3, max_size=3))
def test_ordinal_probabilities_are_differences_of_cumulative_ones(logits: list[float]) -> None:
    ordered = sorted(logits, reverse=True)
    found = class_logits(torch.tensor([ordered], dtype=torch.float64), GRADE).softmax(dim=1)[0].numpy()
    above = np.array([1.0, *expit(ordered), 0.0])
    np.testing.assert_allclose(found, above[:-1] - above[1:], atol=1e-6)


def test_equal_thresholds_leave_finite_logits_and_a_finite_gradient() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    found = class_logits(logits, GRADE)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("target", [BINARY, THREE, GRADE], ids=lambda t: t.kind)
def test_the_last_class_s_logit_is_its_log_odds(target: Target) -> None:
    logits = torch.randn(5, target.n_outputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = logits.sort(dim=1, descending=True).values if target is GRADE else logits
    values = class_logits(logits, target)
    last = torch.sigmoid(values[:, 0]) if target is BINARY else values.softmax(dim=1)[:, -1]
    torch.testing.assert_close(last_class_logit(logits, target), torch.logit(last))


def test_an_ordinal_head_has_one_score_and_falling_thresholds_whatever_it_learns() -> None:
    torch.manual_seed(0)
    head = OrdinalHead(LinearHead(4, 1), 3)
    head.steps.data = torch.tensor([-4.0, 3.0])
    fused = torch.randn(6, 4)
    logits = head(fused)
    gaps = logits.diff(dim=1)
    assert (gaps < 0).all()
    torch.testing.assert_close(gaps, gaps[:1].expand(6, 2))  # of every case alike: one weight vector
    torch.testing.assert_close(logits[:, 0], head.score(fused)[:, 0] + head.first)


def test_ordinal_loss_is_the_sum_of_binary_losses_at_the_thresholds() -> None:
    logits = torch.tensor([[2.0, 0.5, -1.0], [1.0, 0.0, -3.0]], dtype=torch.float64)
    found = TargetLoss(GRADE, LossConfig())(logits, torch.tensor([2, 0]), torch.tensor([True, True]))
    above = np.array([[1, 1, 0], [0, 0, 0]])
    p = expit(logits.numpy())
    expected = -(above * np.log(p) + (1 - above) * np.log(1 - p)).sum(axis=1).mean()
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_a_blank_ordinal_label_costs_nothing() -> None:
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    known = torch.tensor([True, False, True])
    TargetLoss(GRADE, LossConfig())(logits, torch.tensor([3, -1, 0]), known).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(dim=1) > 0, known)


def test_an_ordinal_target_is_not_adjusted_by_the_shares_of_its_classes() -> None:
    with pytest.raises(ConfigError, match=r"logit_adjustment: found 1.0 with the ordinal target 'grade'"):
        TargetLoss(GRADE, LossConfig(logit_adjustment=1.0), counts=[1, 1, 1, 1])


@pytest.mark.parametrize("fusion", ["concatenation", "late"])
def test_a_model_has_an_ordinal_head_over_the_configured_one(fusion: str) -> None:
    config = ModelConfig(head={"name": "mlp", "hidden_size": 4}, embedding_size=8, fusion={"name": fusion})
    model = build_model(config, targets=[GRADE], in_channels=1, image_size=(8,) * 3, vocabulary_size=9)
    fused = torch.randn(5, model.fusion.fused_size, generator=torch.Generator().manual_seed(0))
    if isinstance(model.fusion, LateFusion):
        fused = torch.cat([fused[:, :-2], torch.full((5, 2), 0.5)], dim=1)
    logits = model.heads["fused"]["grade"](fused)
    assert logits.shape == (5, 3)
    assert (logits.diff(dim=1) < 0).all()
