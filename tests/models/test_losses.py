from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from medfuse.config import LossConfig, OptimConfig
from medfuse.errors import ConfigError
from medfuse.models import TargetLoss, study_loss
from medfuse.models.aligners import ALIGNERS, InfoNce
from medfuse.models.losses import UncertainLoss
from medfuse.types import Target

BINARY = Target("malignancy", "binary", ("negative", "positive"))
MULTICLASS = Target("texture", "multiclass", ("solid", "part-solid", "ground glass"))


def classification_loss(logits, labels, known, target):
    return TargetLoss(target, LossConfig())(logits, labels, known)


def losses_of(*targets):
    return {target.name: TargetLoss(target, LossConfig()) for target in targets}


BOTH, IMAGE, TEXT = (True, True), (True, False), (False, True)


@settings(max_examples=50, deadline=None)
@given(known=st.lists(st.booleans(), min_size=1, max_size=12).filter(any), seed=st.integers(0, 2**31))
@pytest.mark.parametrize("target", [BINARY, MULTICLASS], ids=lambda t: t.kind)
def test_it_equals_scikit_learns_log_loss_over_known_labels(target, known, seed):
    draw, n, mask = torch.Generator().manual_seed(seed), len(known), torch.tensor(known)
    logits = torch.randn(n, target.n_outputs, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, len(target.classes), (n,), generator=draw)
    loss = float(classification_loss(logits, torch.where(mask, labels, -1), mask, target))
    positive = torch.sigmoid(logits)
    probabilities = torch.cat([1 - positive, positive], dim=1) if target is BINARY else logits.softmax(dim=1)
    expected = log_loss(labels[mask].numpy(), probabilities[mask].numpy(), labels=range(len(target.classes)))
    assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("target", [BINARY, MULTICLASS], ids=lambda t: t.kind)
def test_no_known_label_gives_zero_with_a_graph(target):
    logits = torch.randn(3, target.n_outputs, requires_grad=True)
    loss = classification_loss(logits, torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.bool), target)
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_a_confident_mistake_stays_finite():
    one = torch.ones(1, dtype=torch.int64)
    assert float(classification_loss(torch.tensor([[-1e4]]), one, one.bool(), BINARY)) == pytest.approx(1e4)


def weighted_losses(make_model, batch, **weights):
    model = make_model(modality_dropout=0.0).train()
    torch.manual_seed(0)
    optim = OptimConfig(**weights)
    output = model(batch)
    return output, study_loss(
        output, batch, targets=losses_of(BINARY, MULTICLASS), attributes={}, optim=optim, aligner=model.aligner
    )


def test_the_total_is_the_weighted_sum_of_the_named_parts(make_model, make_batch):
    batch = make_batch([BOTH, IMAGE, TEXT, BOTH])
    output, losses = weighted_losses(make_model, batch, aligner_weight=0.7, auxiliary_weight=0.4)
    assert set(losses) == {"total", "classification", "alignment", "auxiliary", "attributes"}
    total = losses["classification"] + 0.7 * losses["alignment"] + 0.4 * losses["auxiliary"]
    torch.testing.assert_close(losses["total"], total)
    by_target = [
        classification_loss(output.logits[t.name], batch.targets[t.name], batch.target_mask[t.name], t)
        for t in (BINARY, MULTICLASS)
    ]
    torch.testing.assert_close(losses["classification"], sum(by_target))
    torch.testing.assert_close(losses["alignment"], InfoNce(("image", "text"))(output.embeddings, batch.present))


@pytest.mark.parametrize("name", sorted(set(ALIGNERS) - {"none"}))
def test_blank_labels_still_align_the_encoders(make_model, make_batch, name):
    batch = make_batch([BOTH, IMAGE, TEXT, BOTH, BOTH])
    blank = replace(batch, target_mask={target: torch.zeros_like(mask) for target, mask in batch.target_mask.items()})
    model = make_model(aligner={"name": name}).train()
    losses = study_loss(
        model(blank), blank, targets=losses_of(BINARY), attributes={}, optim=OptimConfig(), aligner=model.aligner
    )
    assert losses["classification"] == 0 < losses["alignment"]
    losses["total"].backward()
    for encoder in model.encoders.values():
        assert any(p.grad is not None and p.grad.any() for p in encoder.parameters())


def test_attributes_are_learnt_by_their_mean_over_fused_and_single_heads(make_model, make_batch):
    batch, model = make_batch([BOTH, IMAGE, TEXT, BOTH]), make_model("image", "text").train()
    output, optim = model(batch), OptimConfig(aligner_weight=0.0, auxiliary_weight=0.0, attribute_weight=3.0)
    losses = study_loss(
        output, batch, targets=losses_of(BINARY), attributes=losses_of(MULTICLASS), optim=optim, aligner=model.aligner
    )
    labels, known = batch.targets[MULTICLASS.name], batch.target_mask[MULTICLASS.name]
    expected = classification_loss(output.logits[MULTICLASS.name], labels, known, MULTICLASS)
    for column, modality in enumerate(batch.modalities):
        logits, here = output.auxiliary[modality][MULTICLASS.name], known & batch.present[:, column]
        expected = expected + classification_loss(logits, labels, here, MULTICLASS)
    torch.testing.assert_close(losses["attributes"], expected)
    torch.testing.assert_close(losses["total"], losses["classification"] + 3.0 * expected)


def test_a_single_modality_is_not_judged_on_cases_that_lack_it(make_model, make_batch):
    batch = make_batch([BOTH, IMAGE, TEXT, BOTH])
    output, losses = weighted_losses(make_model, batch)
    expected = torch.zeros(())
    for column, modality in enumerate(batch.modalities):
        for target in (BINARY, MULTICLASS):
            here = batch.target_mask[target.name] & batch.present[:, column]
            logits, labels = output.auxiliary[modality][target.name][here], batch.targets[target.name][here]
            expected = expected + classification_loss(logits, labels, torch.ones(len(labels)).bool(), target)
    torch.testing.assert_close(losses["auxiliary"], expected)


def test_blank_labels_still_align(make_model, make_batch):
    batch = make_batch([BOTH] * 4)
    blank = replace(batch, target_mask={name: torch.zeros_like(m) for name, m in batch.target_mask.items()})
    _, losses = weighted_losses(make_model, blank, aligner_weight=0.5)
    assert losses["classification"] == losses["auxiliary"] == 0
    torch.testing.assert_close(losses["total"], 0.5 * losses["alignment"])
    losses["total"].backward()


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_has_neither_alignment_nor_auxiliary_loss(make_model, make_batch, modality):
    batch, model = make_batch([(True,)] * 4, modalities=(modality,)), make_model(modality).train()
    losses = study_loss(
        model(batch), batch, targets=losses_of(BINARY, MULTICLASS), attributes={}, optim=OptimConfig(),
        aligner=model.aligner,
    )  # fmt: skip
    assert losses["alignment"] == losses["auxiliary"] == 0
    assert losses["total"] == losses["classification"] > 0


def drawn(target, n=40, seed=0):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, target.n_outputs, generator=draw, dtype=torch.float64)
    return logits, torch.randint(0, len(target.classes), (n,), generator=draw), torch.ones(n, dtype=torch.bool)


@pytest.mark.parametrize("target", [BINARY, MULTICLASS], ids=lambda t: t.kind)
def test_focal_loss_without_gamma_is_cross_entropy_and_with_it_its_formula(target):
    logits, labels, known = drawn(target)
    plain = classification_loss(logits, labels, known, target)
    assert float(TargetLoss(target, LossConfig(name="focal", gamma=0.0))(logits, labels, known)) == pytest.approx(
        float(plain)
    )
    positive = torch.sigmoid(logits)
    table = torch.cat([1 - positive, positive], dim=1) if target is BINARY else logits.softmax(dim=1)
    right = table[torch.arange(len(labels)), labels]
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert float(TargetLoss(target, LossConfig(name="focal"))(logits, labels, known)) == pytest.approx(float(expected))


@pytest.mark.parametrize("target", [BINARY, MULTICLASS], ids=lambda t: t.kind)
def test_focal_loss_of_a_sure_right_answer_has_a_finite_gradient(target):
    logits = torch.full((1, target.n_outputs), -60.0)
    logits[0, 0] = -60.0 if target is BINARY else 60.0
    logits.requires_grad_()
    TargetLoss(target, LossConfig(name="focal", gamma=0.5))(
        logits, torch.zeros(1).long(), torch.ones(1).bool()
    ).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("target", [BINARY, MULTICLASS], ids=lambda t: t.kind)
def test_balanced_weights_give_each_class_the_same_say(target):
    counts = [30, 5, 5][: len(target.classes)]
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    logits = torch.randn(len(labels), target.n_outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    loss = TargetLoss(target, LossConfig(class_weights="balanced"), counts=counts)
    each = [
        classification_loss(logits[labels == k], labels[labels == k], torch.ones(n).bool(), target)
        for k, n in enumerate(counts)
    ]
    assert float(loss(logits, labels, torch.ones(len(labels)).bool())) == pytest.approx(
        float(torch.stack(each).mean()), rel=1e-6
    )


@pytest.mark.parametrize("target", [BINARY, MULTICLASS], ids=lambda t: t.kind)
def test_logit_adjustment_adds_the_log_of_each_class_s_share(target):
    counts = [30, 6, 4][: len(target.classes)]
    shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    logits, labels, known = drawn(target)
    shifted = logits + 1.5 * (shares[1].log() - shares[0].log() if target is BINARY else shares.log())
    found = TargetLoss(target, LossConfig(logit_adjustment=1.5), counts=counts)(logits, labels, known)
    assert float(found) == pytest.approx(float(classification_loss(shifted, labels, known, target)), rel=1e-6)


def test_weights_of_a_class_without_a_case_are_refused():
    with pytest.raises(ConfigError, match=r"^optim.loss: found no training case of a class of 'malignancy'"):
        TargetLoss(BINARY, LossConfig(class_weights="balanced"), counts=[3, 0])


def test_an_uncertain_loss_is_kendall_s_formula_whose_least_value_is_at_twice_the_loss():
    logits, labels, known = drawn(BINARY)
    plain = TargetLoss(BINARY, LossConfig())
    loss = UncertainLoss(plain).double()
    value = float(plain(logits, labels, known))
    with torch.no_grad():
        loss.log_variance.fill_(0.7)
    assert float(loss(logits, labels, known).detach()) == pytest.approx(value * np.exp(-0.7) + 0.35)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        loss(logits, labels, known).backward()
        optimizer.step()
    assert float(loss.log_variance.exp().detach()) == pytest.approx(2 * value, rel=1e-4)


def test_an_uncertain_loss_without_labels_leaves_its_weight_alone():
    loss = UncertainLoss(TargetLoss(BINARY, LossConfig()))
    found = loss(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool))
    found.backward()
    assert found == 0
    assert loss.log_variance.grad == 0
