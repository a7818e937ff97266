from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medfuse.data import collate
from medfuse.tensors import Sample
from medfuse.types import CaseId

SHAPE = (1, 2, 3, 4)
BOTH = ("image", "text")


def sample(number: int, *, image: bool = True, tokens: int = 2, **targets: int) -> Sample:
    return Sample(
        CaseId(f"S{number}", "1"),
        image=torch.full(SHAPE, float(number)) if image else None,
        token_ids=torch.arange(2, 2 + tokens) if tokens else None,
        targets=targets,
    )


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_tokens_are_padded_with_zeros_to_the_longest_and_masked(lengths: list[int]) -> None:
    samples = [sample(n, tokens=length) for n, length in enumerate(lengths)]
    batch = collate(samples, modalities=BOTH, image_shape=SHAPE)
    assert batch.token_ids.shape == batch.token_mask.shape == (len(lengths), max(lengths))
    assert batch.token_mask.sum(dim=1).tolist() == lengths
    for row, one in enumerate(samples):
        assert one.token_ids is not None
        assert torch.equal(batch.token_ids[row][batch.token_mask[row]], one.token_ids)
        assert not batch.token_ids[row][~batch.token_mask[row]].any()


def test_types_and_shapes_are_those_that_models_read() -> None:
    batch = collate([sample(1, grade=1), sample(2)], modalities=BOTH, image_shape=SHAPE, targets=["grade"])
    assert batch.image.shape == (2, *SHAPE)
    assert batch.image.dtype == torch.float32
    assert batch.token_ids.dtype == batch.targets["grade"].dtype == torch.int64
    assert batch.token_mask.dtype == batch.present.dtype == batch.target_mask["grade"].dtype == torch.bool


def test_absent_modalities_are_zeros_and_marked() -> None:
    samples = [sample(5), sample(6, image=False), sample(7, tokens=0)]
    batch = collate(samples, modalities=BOTH, image_shape=SHAPE)
    assert batch.present.tolist() == [[True, True], [False, True], [True, False]]
    assert not batch.image[1].any()
    assert not batch.token_mask[2].any()
    assert not batch.token_ids[2].any()
    assert torch.equal(batch.image[2], torch.full(SHAPE, 7.0))


def test_batch_without_any_text_still_has_a_token_axis() -> None:
    batch = collate([sample(1, tokens=0), sample(2, tokens=0)], modalities=BOTH, image_shape=SHAPE)
    assert batch.token_ids.shape == (2, 1)
    assert not batch.token_mask.any()


@pytest.mark.parametrize("modalities", [("image", "text"), ("text", "image"), ("text",), ("image",)])
def test_columns_of_present_follow_the_model(modalities: tuple[str, ...]) -> None:
    batch = collate([sample(1, image=False), sample(2)], modalities=modalities, image_shape=SHAPE)
    assert batch.modalities == modalities
    assert batch.present.tolist() == [[m == "text" for m in modalities], [True for _ in modalities]]


def test_unknown_labels_are_masked_and_each_target_has_its_own_mask() -> None:
    samples = [sample(1, grade=2), sample(2, malignancy=1), sample(3, grade=0, malignancy=0)]
    batch = collate(samples, modalities=BOTH, image_shape=SHAPE, targets=["grade", "malignancy"])
    assert batch.target_mask["grade"].tolist() == [True, False, True]
    assert batch.target_mask["malignancy"].tolist() == [False, True, True]
    assert batch.targets["grade"].tolist() == [2, 0, 0]
    assert batch.targets["malignancy"].tolist() == [0, 1, 0]


def test_target_that_nobody_asked_for_is_left_out() -> None:
    batch = collate([sample(1, grade=2)], modalities=BOTH, image_shape=SHAPE)
    assert batch.targets == batch.target_mask == {}


def test_cases_keep_their_order() -> None:
    samples = [sample(n) for n in (3, 1, 2)]
    batch = collate(samples, modalities=BOTH, image_shape=SHAPE)
    assert batch.cases == tuple(s.case for s in samples)
    assert batch.image[:, 0, 0, 0, 0].tolist() == [3, 1, 2]
