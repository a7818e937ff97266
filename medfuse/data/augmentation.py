"""Random changes of training samples, each a function of (seed, epoch, index) alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from medfuse.tensors import Sample
from medfuse.text.tokens import UNKNOWN_ID

__all__ = ["Augmentation"]


class Augmentation:
    """Turn and mirror the image; replace words by the unknown token.

    A lesion has no preferred direction in its box. The box takes one of the 48 orientations of a cube, which moves
    voxels without interpolating them: turning by any angle smooths the training images, and a network trained on
    those fails on unsmoothed ones. MONAI's transforms do the same at 300 times the cost (docs/log.md).

    Parameters
    ----------
    token_dropout : float
        Chance that a word becomes unknown, in [0, 1].
    """

    def __init__(self, *, token_dropout: float = 0.1) -> None:
        self.token_dropout = token_dropout

    def __call__(self, sample: Sample, *, seed: tuple[int, ...]) -> Sample:
        """Return a changed copy of a sample.

        Parameters
        ----------
        sample : Sample
            Its image is turned only if it is a cube, and mirrored in any case.
        seed : tuple of int
            All randomness comes from it.
        """
        rng = np.random.default_rng(seed)
        image = None if sample.image is None else _turn(sample.image, rng)
        tokens = None if sample.token_ids is None else self._drop_words(sample.token_ids, rng)
        return replace(sample, image=image, token_ids=tokens)

    def _drop_words(self, token_ids: Tensor, rng: np.random.Generator) -> Tensor:
        dropped = torch.from_numpy(rng.random(len(token_ids)) < self.token_dropout)
        return torch.where(dropped, UNKNOWN_ID, token_ids)


def _turn(image: Tensor, rng: np.random.Generator) -> Tensor:
    mirrored = [axis for axis in (1, 2, 3) if rng.random() < 0.5]
    order = [int(axis) + 1 for axis in rng.permutation(3)]
    is_cube = len(set(image.shape[1:])) == 1
    return image.flip(mirrored).permute(0, *(order if is_cube else (1, 2, 3))).contiguous()
