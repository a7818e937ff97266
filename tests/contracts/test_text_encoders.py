"""The contract of every text encoder, those of installed packages included."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse.models.text_encoders import TEXT_ENCODERS, TextEncoder
from medfuse.registry import build, with_entry_points

COMPONENTS = with_entry_points(TEXT_ENCODERS, group="medfuse.text_encoders")
pytestmark = pytest.mark.parametrize("name", COMPONENTS)

TINY_BERT = {
    "config": {
        "model_type": "bert",
        "vocab_size": 28,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 16,
        "initializer_range": 0.2,
    },
    "before": [1],
    "after": [2],
    "mask": 3,
}
# Four words a chunk: the longest text here has three chunks.
OPTIONS: dict[str, dict[str, Any]] = {
    "huggingface": {"architecture": TINY_BERT, "trainable": True, "chunk_length": 6},
}

LENGTHS = torch.tensor([5, 1, 9, 3])
MASK = torch.arange(9) < LENGTHS[:, None]


def make(name: str) -> TextEncoder:
    if name == "huggingface" and importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed: pip install 'medfuse[hf]'")
    return build(COMPONENTS, {"name": name, **OPTIONS.get(name, {})}, where="test", given={"vocabulary_size": 30})


def token_ids(seed: int = 0) -> torch.Tensor:
    return torch.randint(2, 30, (4, 9), generator=torch.Generator().manual_seed(seed)) * MASK


def test_shapes_are_the_stated_ones(name):
    encoder = make(name).eval()
    embedded = encoder.embed(token_ids())
    states = encoder.token_states(embedded, MASK)
    assert embedded.shape[:2] == states.shape[:2] == (4, 9)
    assert encoder(embedded, MASK).shape == (4, encoder.feature_size)
    assert torch.equal(encoder.pool(states, MASK), encoder(embedded, MASK))


def test_a_gradient_reaches_every_real_token_and_every_parameter(name, contract):
    encoder = make(name).train()
    embedded = encoder.embed(token_ids())
    embedded.retain_grad()
    contract.gradient_reaches(encoder(embedded, MASK), module=encoder, inputs={"embedded": embedded})
    assert torch.equal(embedded.grad.abs().sum(dim=2) > 0, MASK)


def test_a_batch_of_one_equals_its_row_of_a_batch(name, contract):
    encoder, ids = make(name).eval(), token_ids()
    contract.rows_stand_alone(lambda r: encoder(encoder.embed(ids[list(r)]), MASK[list(r)]), 4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), extra=st.integers(0, 7))
def test_padding_changes_nothing(name, seed, extra):
    encoder, ids = make(name).eval(), token_ids(seed)
    draw = torch.Generator().manual_seed(seed)
    wider = torch.cat([ids, torch.zeros(4, extra, dtype=torch.int64)], dim=1)
    mask = torch.cat([MASK, torch.zeros(4, extra, dtype=torch.bool)], dim=1)
    garbage = torch.where(mask, wider, torch.randint(0, 30, wider.shape, generator=draw))
    expected = encoder(encoder.embed(ids), MASK)
    torch.testing.assert_close(encoder(encoder.embed(garbage), mask), expected, rtol=1e-5, atol=1e-6)


def test_other_words_give_other_features(name):
    encoder, ids = make(name).eval(), token_ids()
    features = encoder(encoder.embed(ids), MASK)
    assert not torch.allclose(features[0], encoder(encoder.embed(token_ids(1)), MASK)[0])


def test_it_survives_saving_and_loading(name, contract):
    contract.survives_saving(lambda: make(name), lambda e: e(e.embed(token_ids()), MASK))


def test_eval_is_deterministic(name, contract):
    contract.eval_is_deterministic(make(name), lambda e: e(e.embed(token_ids()), MASK))
