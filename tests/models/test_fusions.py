"""Each fusion against an independent computation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.fusions import FUSIONS, Concatenation, GatedFusion, KnowledgeFusion, LateFusion, WeightedFusion
from medfuse.models.heads import LinearHead
from medfuse.registry import build

NAMES = ("image", "text", "table")


def drawn(n_modalities: int, *, n: int = 3, size: int = 4) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(n_modalities)
    return {name: torch.randn(n, size, generator=draw) for name in NAMES[:n_modalities]}


def here(*rows: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_concatenation_without_a_null_token_puts_zeros_and_has_no_weights():
    fusion = Concatenation(("image", "text"), 2, null_token=False)
    given = {"image": torch.ones(1, 2), "text": torch.ones(1, 2)}
    assert fusion(given, here((0, 1))).tolist() == [[0.0, 0.0, 1.0, 1.0]]
    assert not list(fusion.parameters())
    assert not fusion.state_dict()


def test_learned_weights_start_equal_and_are_a_softmax():
    fusion, given = WeightedFusion(NAMES, 4), drawn(3)
    mean = torch.stack(list(given.values())).mean(dim=0)
    torch.testing.assert_close(fusion(given, here(*[(1, 1, 1)] * 3)), mean)
    fusion.weights.logits.data = torch.tensor([2.0, 0.0, -1.0])
    shares = np.exp([2.0, 0.0, -1.0]) / np.exp([2.0, 0.0, -1.0]).sum()
    np.testing.assert_allclose(fusion.weigh(given, here((1, 1, 1)))[0].detach(), shares, rtol=1e-6)


def test_weights_of_absent_modalities_go_to_the_others_in_proportion():
    fusion = WeightedFusion(NAMES, 4, weights=[0.5, 0.2, 0.3])
    weights = fusion.weigh(drawn(3), here((1, 1, 1), (0, 1, 1), (0, 0, 0)))
    np.testing.assert_allclose(weights, [[0.5, 0.2, 0.3], [0, 0.4, 0.6], [0, 0, 0]], rtol=1e-6)
    assert not fusion.weights.logits.requires_grad


@pytest.mark.parametrize("weights", [[0.5, 0.4], [1.0], [1.5, -0.5], [0.5, 0.5, 0.0]])
@pytest.mark.parametrize("fusion", [WeightedFusion, LateFusion])
def test_weights_that_are_no_shares_are_refused(fusion, weights):
    with pytest.raises(
        ConfigError, match=r"model\.fusion\.weights: found .*; expected 2 numbers above 0 that sum to 1"
    ):
        fusion(("image", "text"), 4, weights=weights)


def test_two_modalities_share_one_gate():
    fusion, given = GatedFusion(("image", "text"), 4), drawn(2)
    weights = {name: tensor.detach().numpy() for name, tensor in fusion.named_parameters()}
    image, text = (given[name].numpy() for name in ("image", "text"))
    gate = sigmoid(np.hstack([image, text]) @ weights["gates.weight"].T)
    expected = gate * np.tanh(image @ weights["hidden.0.weight"].T)
    expected += (1 - gate) * np.tanh(text @ weights["hidden.1.weight"].T)
    np.testing.assert_allclose(fusion(given, here(*[(1, 1)] * 3)).detach(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fusion.weigh(given, here(*[(1, 1)] * 3)).detach()[:, 0], gate.mean(axis=1), rtol=1e-5)


def test_three_modalities_have_a_gate_each_and_an_absent_one_is_its_null_token():
    fusion, given = GatedFusion(NAMES, 4), drawn(3)
    weights = {name: tensor.detach().numpy() for name, tensor in fusion.named_parameters()}
    parts = [tensor.numpy().copy() for tensor in given.values()]
    parts[1][0] = weights["absent"][1]
    gates = sigmoid(np.hstack(parts) @ weights["gates.weight"].T).reshape(3, 3, 4)
    expected = sum(gates[:, m] * np.tanh(part @ weights[f"hidden.{m}.weight"].T) for m, part in enumerate(parts))
    found = fusion(given, here((1, 0, 1), (1, 1, 1), (1, 1, 1)))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5, atol=1e-6)


def test_knowledge_modules_are_one_a_modality_before_one_layer():
    fusion, given = KnowledgeFusion(NAMES, 4, hidden_size=5), drawn(3)
    w = {name: tensor.detach().numpy() for name, tensor in fusion.named_parameters()}
    known = []
    for m, part in enumerate(tensor.numpy() for tensor in given.values()):
        hidden = np.maximum(part @ w[f"knowledge.{m}.0.weight"].T + w[f"knowledge.{m}.0.bias"], 0)
        known.append(part + hidden @ w[f"knowledge.{m}.2.weight"].T + w[f"knowledge.{m}.2.bias"])
    layer = np.hstack(known) @ w["layer.0.weight"].T + w["layer.0.bias"]
    normed = (layer - layer.mean(axis=1, keepdims=True)) / np.sqrt(layer.var(axis=1, keepdims=True) + 1e-5)
    found = fusion(given, here(*[(1, 1, 1)] * 3)).detach()
    np.testing.assert_allclose(found, np.maximum(normed, 0), rtol=1e-4, atol=1e-5)


def test_late_fusion_averages_the_logits_of_the_modalities_that_a_case_has():
    fusion, given = LateFusion(("image", "text"), 4, weights=[0.75, 0.25]), drawn(2)
    head = fusion.make_head(lambda size: LinearHead(size, 3))
    alone = [one(given[name]) for one, name in zip(head.heads, ("image", "text"), strict=True)]
    found = head(fusion(given, here((1, 1), (1, 0), (0, 1))))
    torch.testing.assert_close(found[0], 0.75 * alone[0][0] + 0.25 * alone[1][0])
    torch.testing.assert_close(found[1], alone[0][1])
    torch.testing.assert_close(found[2], alone[1][2])


def test_a_model_reports_the_weights_of_its_fusion_in_eval_alone(make_model, make_batch):
    batch = make_batch([(True, True), (True, False)])
    model = make_model(fusion={"name": "weighted"})
    torch.testing.assert_close(model.eval()(batch).fusion_weights, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    assert model.train()(batch).fusion_weights is None
    assert make_model().eval()(batch).fusion_weights is None


@pytest.mark.parametrize("name", FUSIONS)
def test_in_a_whole_model_absent_modalities_and_other_rows_change_nothing(make_model, make_batch, name):
    model = make_model(fusion={"name": name}).eval()
    batch = make_batch([(True, True), (True, False), (False, True), (False, False)])
    has_image, has_text = batch.present[:, 0, None, None, None, None], batch.present[:, 1, None]
    dirty = replace(
        batch,
        image=torch.where(has_image, batch.image, torch.nan),
        token_ids=torch.where(has_text, batch.token_ids, 7),
    )
    expected = model(batch)
    torch.testing.assert_close(model(dirty).logits, expected.logits)
    from_words = model.forward_embedded(dirty, model.embed(dirty.token_ids))
    torch.testing.assert_close(from_words.logits, expected.logits)
    alone = replace(
        batch, cases=batch.cases[1:2], image=batch.image[1:2], token_ids=batch.token_ids[1:2],
        token_mask=batch.token_mask[1:2], flags=batch.flags[1:2], present=batch.present[1:2],
    )  # fmt: skip
    for target, logits in model(alone).logits.items():
        torch.testing.assert_close(logits[0], expected.logits[target][1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUSIONS)
def test_in_a_whole_model_every_weight_that_is_trained_gets_a_finite_gradient(make_model, make_batch, name):
    model = make_model(fusion={"name": name}, modality_dropout=0.5).train()
    torch.manual_seed(0)
    output = model(make_batch([(True, True), (True, False), (False, True), (True, True), (False, True)]))
    total = sum(logits.square().sum() for logits in output.logits.values())
    total = total + sum(one.square().sum() for heads in output.auxiliary.values() for one in heads.values())
    total.backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("aligner.")}
    assert not [n for n, p in trained.items() if p.grad is None or not bool(torch.isfinite(p.grad).all())]


@pytest.mark.parametrize("name", FUSIONS)
def test_three_modalities_of_the_default_size_fit(name):
    fusion = build(FUSIONS, {"name": name}, where="test", given={"modalities": NAMES, "embedding_size": 64})
    assert fusion(drawn(3, size=64), here(*[(1, 0, 1)] * 3)).shape == (3, fusion.fused_size)
