"""Prepared samples as a torch dataset."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from medfuse.data.augmentation import Augmentation
from medfuse.tensors import Sample

__all__ = ["CaseDataset"]


class CaseDataset(Dataset[Sample]):
    """Samples in memory, changed at random where an augmentation is given.

    Parameters
    ----------
    samples : sequence of Sample
    augmentation : Augmentation, optional
    seed : int
        With the epoch and the index it fixes every random change, whatever the number of workers.
    """

    def __init__(self, samples: Sequence[Sample], *, augmentation: Augmentation | None = None, seed: int = 0) -> None:
        self.samples = samples
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if self.augmentation is None:
            return sample
        return self.augmentation(sample, seed=(self.seed, self.epoch, index))
