from __future__ import annotations

import pytest
import torch

from medfuse.data import Augmentation, CaseDataset
from medfuse.tensors import Sample
from medfuse.types import CaseId

SAMPLES = [Sample(CaseId(f"S{n}", "1"), image=torch.rand(1, 4, 4, 4), token_ids=torch.arange(2, 32)) for n in range(4)]


def content(sample: Sample) -> tuple[bytes, bytes]:
    assert sample.image is not None
    assert sample.token_ids is not None
    return sample.image.numpy().tobytes(), sample.token_ids.numpy().tobytes()


def test_without_augmentation_the_samples_come_as_they_are() -> None:
    dataset = CaseDataset(SAMPLES)
    assert len(dataset) == 4
    assert [dataset[i] for i in range(4)] == SAMPLES


def test_augmentation_depends_on_seed_epoch_and_index_alone() -> None:
    first, second = (CaseDataset(SAMPLES, augmentation=Augmentation(), seed=7) for _ in range(2))
    first.epoch = second.epoch = 3
    forward = [content(first[i]) for i in range(4)]
    assert forward == [content(second[i]) for i in reversed(range(4))][::-1]
    second.epoch = 4
    assert all(content(second[i]) != forward[i] for i in range(4))
    other = CaseDataset(SAMPLES, augmentation=Augmentation(), seed=8)
    other.epoch = 3
    assert all(content(other[i]) != forward[i] for i in range(4))


@pytest.mark.parametrize("augmentation", [None, Augmentation()])
def test_index_beyond_the_end_ends_an_iteration(augmentation: Augmentation | None) -> None:
    with pytest.raises(IndexError):
        CaseDataset(SAMPLES, augmentation=augmentation)[4]
