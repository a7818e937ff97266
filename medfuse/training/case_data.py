"""Cases -> batches for training and validation: the same for any number of workers and processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import lightning
import torch
from torch.utils.data import DataLoader

from medfuse.config import RunConfig
from medfuse.data import (
    Augmentation,
    Case,
    CaseDataset,
    EpochBatches,
    EpochSampler,
    Preprocessing,
    TextVariants,
    augment_batch,
    collate,
    text_variants,
    to_samples,
)
from medfuse.data.batch_augmentation import changes_batches
from medfuse.errors import ConfigError
from medfuse.models import StudyClassifier
from medfuse.tensors import Batch, Sample

__all__ = ["CaseData"]

VALIDATION_BATCH = 128


class CaseData(lightning.LightningDataModule):
    """Samples of two parts, batch by batch.

    Parameters
    ----------
    config : RunConfig
    preprocessing : Preprocessing
        With its tokenizer.
    model : StudyClassifier
        Describes the images once for all epochs.
    parts : mapping of str to sequence of Case
        ``train`` and ``validation``.

    Raises
    ------
    ConfigError
        If sections are to be dropped from reports whose flags would still tell what they said.
    """

    def __init__(
        self,
        config: RunConfig,
        preprocessing: Preprocessing,
        *,
        model: StudyClassifier,
        parts: Mapping[str, Sequence[Case]],
    ) -> None:
        super().__init__()
        self.config = config
        attributes = {attribute.column: attribute.build() for attribute in config.attributes}
        train, validation = (
            to_samples(parts[n], preprocessing, attributes=attributes) for n in ("train", "validation")
        )
        self.train_set = CaseDataset(
            train,
            augmentation=Augmentation(config.augment, max_length=preprocessing.text.max_length),
            variants=_variants(config, parts["train"], preprocessing),
            # Changed images would have to be described anew; turned and mirrored ones are described alike.
            features=None if changes_batches(config.augment) else model.describe_images(train),
            seed=config.seed,
        )
        self.validation_set = CaseDataset(validation, features=model.describe_images(validation))
        self.batch_size = min(config.optim.batch_size, len(train))
        self.collate: Callable[[Sequence[Sample]], Batch] = partial(
            collate,
            modalities=preprocessing.modalities,
            image_shape=preprocessing.image_shape,
            targets=[target.name for target in config.targets] + [one.name for one in attributes.values()],
        )

    @property
    def n_batches(self) -> int:
        """Batches an epoch."""
        return len(self.train_set) // self.batch_size

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the batches of every epoch, of several processes this one's share of each."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        sampler = EpochSampler(len(self.train_set), seed=self.config.seed)
        return DataLoader(
            self.train_set,
            batch_sampler=EpochBatches(sampler, self.batch_size, rank=rank, world=world),
            collate_fn=self.collate,
            num_workers=self.config.compute.workers,
            # Its own, so that starting an epoch takes nothing from the generator that dropout draws from.
            generator=torch.Generator().manual_seed(self.config.seed),
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Change the images of a training batch on the device that trains."""
        return augment_batch(batch, self.config.augment) if self.trainer and self.trainer.training else batch

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return the validation batches; every process validates all of them."""
        return DataLoader(
            self.validation_set,
            batch_size=VALIDATION_BATCH,
            collate_fn=self.collate,
            generator=torch.Generator().manual_seed(self.config.seed),
        )


def _variants(
    config: RunConfig, cases: Sequence[Case], preprocessing: Preprocessing
) -> tuple[TextVariants | None, ...]:
    augment = config.augment
    if augment.drop_section and preprocessing.n_flags:
        raise ConfigError(
            "augment.drop_section", "found flags that tell what a section said", expected="data.text.flags: none"
        )
    changes = (augment.shuffle_sentences, augment.drop_section, augment.synonyms, augment.hide_terms)
    if "text" not in preprocessing.modalities or not any(changes):
        return ()
    return tuple(None if case.text is None else text_variants(case.text, preprocessing) for case in cases)
