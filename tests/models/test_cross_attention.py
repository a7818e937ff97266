from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from medfuse.errors import ConfigError
from medfuse.models.cross_attention import CrossAttention
from medfuse.tensors import LocalFeatures

BOTH = torch.ones(2, 2, dtype=torch.bool)


def drawn(n: int, seed: int, size: int = 8) -> torch.Tensor:
    return torch.randn(2, n, size, generator=torch.Generator().manual_seed(seed))


def test_its_attention_is_that_of_torch_s_own_multi_head_attention():
    fusion = CrossAttention(("image", "text"), 8, n_heads=2, dropout=0.0)
    regions, words = drawn(5, 0), drawn(3, 1)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    given = {"image": drawn(1, 2)[:, 0], "text": drawn(1, 3)[:, 0]}
    found = fusion(
        given, BOTH, {"image": LocalFeatures(regions, torch.ones(2, 5).bool()), "text": LocalFeatures(words, mask)}
    )
    block = fusion.layers[0][0]
    oracle = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        oracle.in_proj_bias.copy_(torch.cat([block.query.bias, torch.zeros(8), block.value.bias]))
        oracle.out_proj.load_state_dict(block.out.state_dict())
    asking = torch.cat([given["image"][:, None], regions], dim=1)
    asked = torch.cat([given["text"][:, None], words], dim=1)
    hidden = ~torch.cat([torch.ones(2, 1).bool(), mask], dim=1)
    said, _ = oracle(
        block.norms[0](asking),
        block.norms[1](asked),
        block.norms[1](asked),
        key_padding_mask=hidden,
        need_weights=False,
    )
    states = asking + said
    states = states + block.mlp(block.norms[2](states))
    torch.testing.assert_close(found[:, :8], states.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_a_word_changes_what_an_image_says_and_padding_does_not():
    fusion = CrossAttention(("image", "text"), 8).eval()
    given = {"image": drawn(1, 0)[:, 0], "text": drawn(1, 1)[:, 0]}
    words, mask = drawn(3, 2), torch.tensor([[True, True, False]] * 2)
    before = fusion(given, BOTH, {"text": LocalFeatures(words, mask)})
    other = words.clone()
    other[:, 2] = torch.nan
    assert torch.equal(fusion(given, BOTH, {"text": LocalFeatures(other, mask)}), before)
    other[:, 1] *= -1
    assert not torch.allclose(fusion(given, BOTH, {"text": LocalFeatures(other, mask)})[:, :8], before[:, :8])


def test_words_of_a_modality_that_training_has_dropped_are_not_read():
    fusion = CrossAttention(("image", "text"), 8).eval()
    given, image = {"image": drawn(1, 0)[:, 0], "text": drawn(1, 1)[:, 0]}, torch.tensor([[True, False]] * 2)
    all_words = LocalFeatures(drawn(3, 2), torch.ones(2, 3).bool())
    torch.testing.assert_close(fusion(given, image, {"text": all_words}), fusion(given, image))


@pytest.mark.parametrize("n_heads", [0, 3])
def test_heads_that_do_not_divide_the_embedding_are_refused(n_heads):
    with pytest.raises(ConfigError, match=r"n_heads: found \d; expected a number that divides model.embedding_size, 8"):
        CrossAttention(("image", "text"), 8, n_heads=n_heads)


def test_a_model_gives_local_features_only_to_whom_reads_them(make_model, make_batch):
    batch = make_batch([(True, True), (True, False), (False, True), (False, False)])
    assert make_model().eval()(batch).local == {}
    output = make_model(fusion={"name": "cross_attention"}).eval()(batch)
    assert {name: tuple(parts.vectors.shape) for name, parts in output.local.items()} == {
        "image": (4, 8, 8),  # two blocks leave 2 x 2 x 2 regions of 8 voxels' edge
        "text": (4, 6, 8),
    }
    assert torch.equal(output.local["image"].mask, batch.present[:, :1].expand(4, 8))
    assert torch.equal(output.local["text"].mask, batch.token_mask & batch.present[:, 1:])


def test_absent_modalities_and_padding_change_nothing_in_a_whole_model(make_model, make_batch):
    model = make_model(fusion={"name": "cross_attention"}).eval()
    batch = make_batch([(True, True), (True, False), (False, True)])
    has_image, has_text = batch.present[:, 0, None, None, None, None], batch.present[:, 1, None]
    dirty = replace(
        batch,
        image=torch.where(has_image, batch.image, torch.nan),
        token_ids=torch.where(has_text & batch.token_mask, batch.token_ids, 7),
    )
    torch.testing.assert_close(model(dirty).logits, model(batch).logits)
    expected = model.forward_embedded(batch, model.embed(batch.token_ids))
    torch.testing.assert_close(model(batch).logits, expected.logits)
    for row in range(3):
        alone = replace(
            batch, cases=batch.cases[:1], image=batch.image[[row]], token_ids=batch.token_ids[[row]],
            token_mask=batch.token_mask[[row]], flags=batch.flags[[row]], present=batch.present[[row]],
        )  # fmt: skip
        torch.testing.assert_close(model(alone).logits["texture"][0], model(batch).logits["texture"][row])


def test_a_batch_without_any_text_still_gives_every_weight_a_gradient(make_model, make_batch):
    model = make_model(fusion={"name": "cross_attention"}, modality_dropout=0.0).train()
    output = model(make_batch([(True, False)] * 4))
    total = sum(logits.sum() for logits in output.logits.values()) + output.local["text"].vectors.sum()
    total.backward()
    assert all(p.grad is not None for p in model.local_projections.parameters())
