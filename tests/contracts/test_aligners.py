"""The contract of every aligner, those of installed packages included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from medfuse.models.aligners import ALIGNERS, Aligner
from medfuse.registry import build, with_entry_points

COMPONENTS = with_entry_points(ALIGNERS, group="medfuse.aligners")
pytestmark = pytest.mark.parametrize("name", COMPONENTS)

MODALITIES = ("image", "text")
PRESENT = torch.tensor([[True, True], [True, False], [True, True], [False, True], [True, True], [True, True]])


def make(name: str, modalities: tuple[str, ...] = MODALITIES) -> Aligner:
    return build(COMPONENTS, {"name": name}, where="test", given={"modalities": modalities, "embedding_size": 8})


def embeddings(modalities: tuple[str, ...] = MODALITIES, *, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {m: F.normalize(torch.randn(6, 8, generator=draw), dim=1).requires_grad_() for m in modalities}


def test_the_loss_is_one_finite_number_never_negative(name):
    loss = make(name)(embeddings(), PRESENT)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert loss >= 0


def test_a_gradient_reaches_the_present_embeddings_and_every_parameter(name, contract):
    aligner, given_ = make(name), embeddings()
    loss = aligner(given_, PRESENT)
    if name == "none":
        loss.backward()
        assert all(torch.equal(e.grad, torch.zeros_like(e)) for e in given_.values())
        return
    contract.gradient_reaches(loss, module=aligner, inputs=given_)
    pairs = PRESENT.all(dim=1)
    assert all(torch.equal(e.grad.abs().sum(dim=1) > 0, pairs) for e in given_.values())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_absent_modalities_change_nothing(name, seed):
    aligner, clean = make(name), embeddings()
    noise = embeddings(seed=seed)
    dirty = {m: torch.where(PRESENT[:, i, None], clean[m], noise[m]) for i, m in enumerate(MODALITIES)}
    torch.testing.assert_close(aligner(dirty, PRESENT), aligner(clean, PRESENT))


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(6)))
def test_the_order_of_the_cases_changes_nothing(name, order):
    aligner, clean = make(name), embeddings()
    shuffled = {m: e[list(order)] for m, e in clean.items()}
    torch.testing.assert_close(aligner(shuffled, PRESENT[list(order)]), aligner(clean, PRESENT))


@pytest.mark.parametrize("n_pairs", [0, 1])
def test_too_few_pairs_give_a_zero_that_keeps_its_graph(name, n_pairs):
    aligner, given_ = make(name), embeddings()
    present = torch.tensor([[True, row < n_pairs] for row in range(6)])
    loss = aligner(given_, present)
    loss.backward()
    assert loss == 0
    assert all(tensor.grad is not None for tensor in [*given_.values(), *aligner.parameters()])


@pytest.mark.parametrize("modalities", [("image",), ("image", "text", "table")])
def test_any_number_of_modalities_will_do(name, modalities):
    loss = make(name, modalities)(embeddings(modalities), torch.ones(6, len(modalities), dtype=torch.bool))
    assert loss.requires_grad
    assert (loss > 0) == (name != "none" and len(modalities) > 1)


def test_it_survives_saving_and_loading(name, contract):
    contract.survives_saving(lambda: make(name), lambda aligner: aligner(embeddings(), PRESENT))


def test_eval_is_deterministic(name, contract):
    contract.eval_is_deterministic(make(name), lambda aligner: aligner(embeddings(), PRESENT))
