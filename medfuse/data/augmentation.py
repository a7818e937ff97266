"""Random changes of training samples, each a function of (seed, epoch, index) alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from medfuse.config import AugmentConfig
from medfuse.data.batch_augmentation import N_DRAWS, changes_batches
from medfuse.data.text_variation import TextVariants, vary_text
from medfuse.tensors import Sample
from medfuse.text.tokens import UNKNOWN_ID

__all__ = ["Augmentation"]

AXES = {"R": 1, "A": 2, "S": 3}


class Augmentation:
    """Turn and mirror the image, word the report otherwise; draw the numbers for what a whole batch undergoes.

    A lesion has no preferred direction in its box. The box takes one of the 48 orientations of a cube, which moves
    voxels without interpolating them: turning by any angle smooths the training images, and a network trained on
    those fails on unsmoothed ones. MONAI's transforms do the same at 300 times the cost (docs/log.md). What
    interpolates or adds noise is `medfuse.data.augment_batch`, on the device that trains.

    Parameters
    ----------
    config : AugmentConfig
    max_length : int
        Tokens kept of a reworded report.
    """

    def __init__(self, config: AugmentConfig, *, max_length: int = 4096) -> None:
        self.config = config
        self.max_length = max_length

    def __call__(self, sample: Sample, *, seed: tuple[int, ...], variants: TextVariants | None = None) -> Sample:
        """Return a changed copy of a sample.

        Parameters
        ----------
        sample : Sample
            Its image is turned only if it is a cube.
        seed : tuple of int
            All randomness comes from it.
        variants : TextVariants, optional
            Of the sample's text; without it only words are dropped.
        """
        rng = np.random.default_rng(seed)
        image = None if sample.image is None else self._turn(sample.image, rng)
        tokens = None if sample.token_ids is None else self._change_words(sample.token_ids, variants, rng)
        draws = torch.from_numpy(rng.random(N_DRAWS, dtype=np.float32)) if changes_batches(self.config) else None
        return replace(sample, image=image, token_ids=tokens, draws=draws)

    def _turn(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        chances = {axis: rng.random() < 0.5 for axis in AXES}
        mirrored = [AXES[axis] for axis, yes in chances.items() if yes and axis in self.config.mirror]
        order = [int(axis) + 1 for axis in rng.permutation(3)]
        is_turned = self.config.turn and len(set(image.shape[1:])) == 1
        return image.flip(mirrored).permute(0, *(order if is_turned else (1, 2, 3))).contiguous()

    def _change_words(self, token_ids: Tensor, variants: TextVariants | None, rng: np.random.Generator) -> Tensor:
        if variants is not None:
            token_ids = vary_text(token_ids, variants, config=self.config, rng=rng, max_length=self.max_length)
        dropped = torch.from_numpy(rng.random(len(token_ids)) < self.config.token_dropout)
        return torch.where(dropped, UNKNOWN_ID, token_ids)
