"""Prepared samples as a torch dataset."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from medfuse.data.augmentation import Augmentation
from medfuse.data.sampling import Turn
from medfuse.data.text_variation import TextVariants
from medfuse.tensors import Sample

__all__ = ["CaseDataset"]


class CaseDataset(Dataset[Sample]):
    """Samples, changed at random where an augmentation is given.

    Parameters
    ----------
    samples : sequence of Sample
    augmentation : Augmentation, optional
    variants : sequence of TextVariants or None
        Of each sample's text, where the augmentation words reports otherwise.
    seed : int
        With the epoch and the index it fixes every random change, whatever the number of workers.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        augmentation: Augmentation | None = None,
        variants: Sequence[TextVariants | None] = (),
        seed: int = 0,
    ) -> None:
        self.samples = samples
        self.augmentation = augmentation
        self.variants = variants
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, turn: Turn | int) -> Sample:
        """Return a sample: by its index as it is, by its `Turn` as that epoch changes it."""
        if isinstance(turn, int) or self.augmentation is None:
            return self.samples[turn if isinstance(turn, int) else turn.index]
        variants = self.variants[turn.index] if self.variants else None
        seed = (self.seed, turn.epoch, turn.index)
        return self.augmentation(self.samples[turn.index], variants=variants, seed=seed)
