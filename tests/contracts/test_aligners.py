"""The contract of every aligner, those of installed packages included."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from medfuse.models.aligners import ALIGNERS, Aligner, AlignmentContext
from medfuse.registry import build, with_entry_points
from medfuse.tensors import LocalFeatures

COMPONENTS = with_entry_points(ALIGNERS, group="medfuse.aligners")
pytestmark = pytest.mark.parametrize("name", COMPONENTS)

MODALITIES = ("image", "text")
PRESENT = torch.tensor([[True, True], [True, False], [True, True], [False, True], [True, True], [True, True]])
PARTS = torch.tensor([3, 1, 2, 3, 1, 2])
SIZE = 8


@dataclass
class Case:
    """Six cases: what the projections give of each modality and of its parts, and labels, some of them blank."""

    vectors: dict[str, torch.Tensor]
    parts: dict[str, torch.Tensor]
    labels: torch.Tensor
    known: torch.Tensor
    present: torch.Tensor

    def loss(self, aligner: Aligner) -> torch.Tensor:
        real = torch.arange(3) < PARTS[: len(self.present), None]
        context = AlignmentContext(
            labels={"malignancy": self.labels},
            known={"malignancy": self.known},
            unscaled=self.vectors,
            local={
                m: LocalFeatures(parts, real & self.present[:, i, None])
                for i, (m, parts) in enumerate(self.parts.items())
            }
            if aligner.reads_local
            else {},
        )
        unit = {m: F.normalize(vectors, dim=1) for m, vectors in self.vectors.items()}
        return aligner(unit, self.present, context)

    def inputs(self, aligner: Aligner) -> dict[str, torch.Tensor]:
        return self.vectors | ({f"parts of {m}": t for m, t in self.parts.items()} if aligner.reads_local else {})


def make(name: str, modalities: tuple[str, ...] = MODALITIES) -> Aligner:
    torch.manual_seed(3)
    return build(COMPONENTS, {"name": name}, where="test", given={"modalities": modalities, "embedding_size": SIZE})


def cases(modalities: tuple[str, ...] = MODALITIES, *, seed: int = 0, present: torch.Tensor = PRESENT) -> Case:
    draw = torch.Generator().manual_seed(seed)
    return Case(
        {m: torch.randn(6, SIZE, generator=draw).requires_grad_() for m in modalities},
        {m: torch.randn(6, 3, SIZE, generator=draw).requires_grad_() for m in modalities},
        torch.tensor([0, 1, 1, 0, 1, 0]),
        torch.tensor([True, True, True, True, False, False]),
        present,
    )


def test_the_loss_is_one_finite_number_never_negative(name):
    loss = cases().loss(make(name))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert loss >= 0


def test_a_gradient_reaches_the_present_embeddings_and_every_parameter(name, contract):
    aligner, data = make(name), cases()
    loss = data.loss(aligner)
    if name == "none":
        loss.backward()
        assert all(torch.equal(e.grad, torch.zeros_like(e)) for e in data.vectors.values())
        return
    contract.gradient_reaches(loss, module=aligner, inputs=data.inputs(aligner))
    for column, vectors in enumerate(data.vectors.values()):
        reached = vectors.grad.abs().sum(dim=1) > 0
        assert reached[PRESENT.all(dim=1)].all()
        assert not reached[~PRESENT[:, column]].any()


def test_blank_labels_still_align(name):
    aligner, data = make(name), cases()
    data = replace(data, known=torch.zeros(6, dtype=torch.bool))
    loss = data.loss(aligner)
    loss.backward()
    assert (loss > 0) == (name != "none")
    for vectors in data.vectors.values():
        assert (vectors.grad[PRESENT.all(dim=1)].abs().sum(dim=1) > 0).all() == (name != "none")


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_absent_modalities_and_padding_change_nothing(name, seed):
    aligner, clean, noise = make(name), cases(), cases(seed=seed)
    real = torch.arange(3) < PARTS[:, None]
    dirty = replace(
        clean,
        vectors={
            m: torch.where(PRESENT[:, i, None], clean.vectors[m], noise.vectors[m]) for i, m in enumerate(MODALITIES)
        },
        parts={
            m: torch.where((real & PRESENT[:, i, None])[..., None], clean.parts[m], noise.parts[m])
            for i, m in enumerate(MODALITIES)
        },
        labels=torch.where(clean.known, clean.labels, 1 - clean.labels),
    )
    torch.testing.assert_close(dirty.loss(aligner), clean.loss(aligner))


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(6)))
def test_the_order_of_the_cases_changes_nothing(name, order):
    aligner, clean = make(name), cases()
    rows = list(order)
    full = torch.full((6,), 3)
    shuffled = Case(
        {m: e[rows] for m, e in clean.vectors.items()},
        {m: e[rows] for m, e in clean.parts.items()},
        clean.labels[rows],
        clean.known[rows],
        PRESENT[rows],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "PARTS", full)
        torch.testing.assert_close(shuffled.loss(aligner), clean.loss(aligner))


@pytest.mark.parametrize("n_pairs", [0, 1])
def test_too_few_pairs_give_a_zero_that_keeps_its_graph(name, n_pairs):
    aligner = make(name)
    data = cases(present=torch.tensor([[True, row < n_pairs] for row in range(6)]))
    data = replace(data, known=torch.zeros(6, dtype=torch.bool))
    loss = data.loss(aligner)
    loss.backward()
    assert torch.isfinite(loss)
    if n_pairs < aligner.fewest_pairs:
        assert loss == 0
    assert all(tensor.grad is not None for tensor in [*data.vectors.values(), *aligner.parameters()])


@pytest.mark.parametrize("modalities", [("image",), ("image", "text", "table")])
def test_any_number_of_modalities_will_do(name, modalities):
    data = cases(modalities, present=torch.ones(6, len(modalities), dtype=torch.bool))
    loss = data.loss(make(name, modalities))
    assert loss.requires_grad
    assert (loss > 0) == (name != "none" and len(modalities) > 1)


def test_it_survives_saving_and_loading(name, contract):
    contract.survives_saving(lambda: make(name), lambda aligner: cases().loss(aligner))


def test_eval_is_deterministic(name, contract):
    contract.eval_is_deterministic(make(name), lambda aligner: cases().loss(aligner))
