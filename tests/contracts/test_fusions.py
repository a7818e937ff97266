"""The contract of every fusion, those of installed packages included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse.models.fusions import FUSIONS, Fusion
from medfuse.models.heads import LinearHead
from medfuse.registry import build, with_entry_points
from medfuse.tensors import LocalFeatures

COMPONENTS = with_entry_points(FUSIONS, group="medfuse.fusions")
pytestmark = pytest.mark.parametrize("name", COMPONENTS)

MODALITIES = ("image", "text")
PRESENT = torch.tensor([[True, True], [True, False], [False, True], [True, True]])


def make(name: str, modalities: tuple[str, ...] = MODALITIES) -> Fusion:
    return build(COMPONENTS, {"name": name}, where="test", given={"modalities": modalities, "embedding_size": 8})


def embeddings(modalities: tuple[str, ...] = MODALITIES, *, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {m: torch.randn(4, 8, generator=draw).requires_grad_() for m in modalities}


def local(given_: dict[str, torch.Tensor], present: torch.Tensor) -> dict[str, LocalFeatures]:
    """Return three parts of image and text, of which some cases lack the last."""
    features = {}
    for column, (name, embedding) in enumerate(given_.items()):
        if name != "table":
            parts = torch.stack([embedding, embedding.roll(1, dims=1) * 2, embedding.flip(dims=(1,))], dim=1)
            here = present[:, column, None].repeat(1, 3)
            here[:, 2] &= embedding[:, 0] > 0
            features[name] = LocalFeatures(parts, here)
    return features


def fuse(fusion: Fusion, given_: dict[str, torch.Tensor], present: torch.Tensor = PRESENT) -> torch.Tensor:
    return fusion(given_, present, local(given_, present)) if fusion.reads_local else fusion(given_, present)


@pytest.mark.parametrize("modalities", [("image",), ("image", "text"), ("image", "text", "table")])
def test_the_fused_vector_has_the_stated_size(name, modalities):
    fusion = make(name, modalities).eval()
    fused = fuse(fusion, embeddings(modalities), torch.ones(4, len(modalities), dtype=torch.bool))
    assert fused.shape == (4, fusion.fused_size)


def test_a_gradient_reaches_the_present_embeddings_and_every_parameter(name, contract):
    fusion, given_ = make(name).train(), embeddings()
    # Unequal numbers: what shares out a whole in equal parts has no gradient towards any of them.
    fused = fuse(fusion, given_) * torch.linspace(1, 2, fusion.fused_size)
    contract.gradient_reaches(fused, module=fusion, inputs=given_)
    for column, modality in enumerate(MODALITIES):
        assert torch.equal(given_[modality].grad.abs().sum(dim=1) > 0, PRESENT[:, column])


def test_a_batch_of_one_equals_its_row_of_a_batch(name, contract):
    fusion, given_ = make(name).eval(), embeddings()
    contract.rows_stand_alone(
        lambda rows: fuse(fusion, {m: e[list(rows)] for m, e in given_.items()}, PRESENT[list(rows)]), 4
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), wild=st.sampled_from([1.0, 1e6, float("inf"), float("nan")]))
def test_absent_modalities_change_nothing(name, seed, wild):
    fusion, clean, noise = make(name).eval(), embeddings(), embeddings(seed=seed)
    dirty = {m: torch.where(PRESENT[:, i, None], clean[m], noise[m] * wild) for i, m in enumerate(MODALITIES)}
    torch.testing.assert_close(fuse(fusion, dirty), fuse(fusion, clean))


def test_presence_itself_changes_something(name):
    fusion, given_ = make(name).eval(), embeddings()
    assert not torch.allclose(fuse(fusion, given_)[1], fuse(fusion, given_, torch.ones_like(PRESENT))[1])


def test_a_case_without_any_modality_is_finite(name):
    assert torch.isfinite(fuse(make(name).eval(), embeddings(), torch.zeros_like(PRESENT))).all()


def test_weights_are_shares_of_each_case_that_absent_modalities_do_not_change(name):
    fusion, clean, noise = make(name).eval(), embeddings(), embeddings(seed=1)
    weights = fusion.weigh(clean, PRESENT)
    if weights is None:
        return
    assert weights.shape == PRESENT.shape
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert (weights >= 0).all()
    dirty = {m: torch.where(PRESENT[:, i, None], clean[m], noise[m]) for i, m in enumerate(MODALITIES)}
    torch.testing.assert_close(fusion.weigh(dirty, PRESENT), weights)
    assert torch.isfinite(fusion.weigh(clean, torch.zeros_like(PRESENT))).all()


def test_its_head_reads_what_it_fuses(name):
    fusion = make(name).eval()
    head = fusion.make_head(lambda size: LinearHead(size, 3))
    assert head(fuse(fusion, embeddings())).shape == (4, 3)


def test_it_survives_saving_and_loading(name, contract):
    contract.survives_saving(lambda: make(name), lambda fusion: fuse(fusion, embeddings()))


def test_eval_is_deterministic(name, contract):
    contract.eval_is_deterministic(make(name), lambda fusion: fuse(fusion, embeddings()))
