"""Prepared samples as a torch dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
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
    features : Tensor, shape (N, S), optional
        `medfuse.models.StudyClassifier.describe_images` of the samples, computed once for all epochs.
    seed : int
        With the epoch and the index it fixes every random change, whatever the number of workers.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        augmentation: Augmentation | None = None,
        variants: Sequence[TextVariants | None] = (),
        features: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        self.samples = samples
        self.augmentation = augmentation
        self.variants = variants
        self.features = features
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, turn: Turn | int) -> Sample:
        """Return a sample: by its index as it is, by its `Turn` as that epoch changes it."""
        index = turn if isinstance(turn, int) else turn.index
        sample = self.samples[index]
        if self.features is not None and sample.image is not None:
            sample = replace(sample, image_features=self.features[index])
        if isinstance(turn, int) or self.augmentation is None:
            return sample
        variants = self.variants[index] if self.variants else None
        return self.augmentation(sample, variants=variants, seed=(self.seed, turn.epoch, index))
