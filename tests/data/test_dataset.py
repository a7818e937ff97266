from __future__ import annotations

import pytest
import torch

from medfuse.config import AugmentConfig
from medfuse.data import Augmentation, CaseDataset, Turn
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
    change = Augmentation(AugmentConfig())
    first, second = (CaseDataset(SAMPLES, augmentation=change, seed=7) for _ in range(2))
    forward = [content(first[Turn(3, i)]) for i in range(4)]
    assert forward == [content(second[Turn(3, i)]) for i in reversed(range(4))][::-1]
    assert all(content(second[Turn(4, i)]) != forward[i] for i in range(4))
    other = CaseDataset(SAMPLES, augmentation=change, seed=8)
    assert all(content(other[Turn(3, i)]) != forward[i] for i in range(4))


def test_an_index_alone_asks_for_the_sample_as_it_is() -> None:
    dataset = CaseDataset(SAMPLES, augmentation=Augmentation(AugmentConfig()))
    assert [dataset[i] for i in range(4)] == SAMPLES


@pytest.mark.parametrize("augmentation", [None, Augmentation(AugmentConfig())])
def test_index_beyond_the_end_ends_an_iteration(augmentation: Augmentation | None) -> None:
    with pytest.raises(IndexError):
        CaseDataset(SAMPLES, augmentation=augmentation)[4]
