from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from medfuse.errors import DataError
from medfuse.tensors import Batch, Sample
from medfuse.types import CaseId

CASE = CaseId("S1", "1")


def batch() -> Batch:
    return Batch(
        cases=(CASE, CaseId("S2", "1")),
        modalities=("image", "text"),
        image=torch.rand(2, 1, 2, 2, 2),
        token_ids=torch.tensor([[2, 3], [4, 0]]),
        token_mask=torch.tensor([[True, True], [True, False]]),
        flags=torch.rand(2, 4),
        present=torch.tensor([[True, True], [False, True]]),
        targets={"grade": torch.tensor([1, 0])},
        target_mask={"grade": torch.tensor([True, False])},
    )


def tensors(one: Batch) -> list[Tensor]:
    values = [getattr(one, item.name) for item in fields(one)]
    return [t for v in values for t in (v.values() if isinstance(v, dict) else [v]) if isinstance(t, Tensor)]


def test_sample_needs_a_modality() -> None:
    with pytest.raises(DataError, match="case S1-1: found neither image nor text"):
        Sample(CASE)


@pytest.mark.parametrize(
    "image", [torch.rand(2, 2, 2), torch.rand(1, 2, 2), torch.rand(1, 2, 2, 2).double(), torch.zeros(1, 2, 2, 2).int()]
)
def test_sample_refuses_another_shape_or_type_of_image(image: Tensor) -> None:
    with pytest.raises(DataError, match=r"expected \(C, I, J, K\) float32"):
        Sample(CASE, image=image)


@pytest.mark.parametrize("tokens", [torch.tensor([], dtype=torch.int64), torch.tensor([[1, 2]]), torch.tensor(1)])
def test_sample_refuses_token_ids_that_are_no_row(tokens: Tensor) -> None:
    with pytest.raises(DataError, match="found no tokens"):
        Sample(CASE, token_ids=tokens)


def test_length_of_a_batch_is_its_cases() -> None:
    assert len(batch()) == 2


def test_every_tensor_of_a_batch_moves() -> None:
    before = batch()
    moved = before.to("meta")
    assert len(tensors(moved)) == 10
    assert all(tensor.device.type == "meta" for tensor in tensors(moved))
    assert all(tensor.device.type == "cpu" for tensor in tensors(before))
    assert (moved.cases, moved.modalities) == (before.cases, before.modalities)


def test_moving_to_the_same_device_changes_no_value() -> None:
    before = batch()
    for old, new in zip(tensors(before), tensors(before.to("cpu")), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize(
    ("kept", "present"),
    [
        (("image",), [[True, False], [False, False]]),
        (("text",), [[False, True], [False, True]]),
        (("text", "image"), [[True, True], [False, True]]),
        ((), [[False, False], [False, False]]),
    ],
)
def test_only_the_named_modalities_stay_present(kept: tuple[str, ...], present: list[list[bool]]) -> None:
    one = batch()
    assert one.only(*kept).present.tolist() == present
    assert one.present.tolist() == [[True, True], [False, True]]
