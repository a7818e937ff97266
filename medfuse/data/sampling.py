"""Which cases make a batch: a function of the seed and the epoch alone, whatever reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from medfuse.errors import UsageError

__all__ = ["EpochBatches", "EpochSampler", "Turn"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One case's turn in an epoch: what `medfuse.data.CaseDataset` is asked for in training."""

    epoch: int
    index: int


class EpochSampler(Sampler[Turn]):
    """Every case once an epoch, in an order of its own for each epoch.

    Parameters
    ----------
    n : int
        Cases.
    seed : int

    Examples
    --------
    >>> sampler = EpochSampler(4, seed=0)
    >>> sorted(turn.index for turn in sampler)
    [0, 1, 2, 3]
    """

    def __init__(self, n: int, *, seed: int) -> None:
        self.n = n
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of an epoch; lightning calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Turn]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.n)
        return iter([Turn(self.epoch, int(index)) for index in order])


class EpochBatches(Sampler[list[Turn]]):
    """Whole batches of an `EpochSampler`; of several processes each takes its share of every one.

    A last batch that is not whole is left out: one case has no other to contrast or normalise with.

    Parameters
    ----------
    sampler : EpochSampler
    batch_size : int
        Cases a batch, of all processes together.
    rank, world : int
        Number of this process, and how many there are. Process ``r`` takes the r-th of ``world`` equal pieces.

    Raises
    ------
    UsageError
        If the batch cannot be shared equally.

    Examples
    --------
    >>> whole = EpochBatches(EpochSampler(9, seed=0), 4)
    >>> parts = [EpochBatches(EpochSampler(9, seed=0), 4, rank=rank, world=2) for rank in (0, 1)]
    >>> [a + b for a, b in zip(*parts)] == list(whole)
    True
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        if batch_size % world:
            found = f"found {batch_size} for {world} processes"
            raise UsageError("optim.batch_size", found, expected=f"a multiple of {world}")
        self.sampler = sampler
        self.batch_size = batch_size
        share = batch_size // world
        self._part = slice(rank * share, (rank + 1) * share)

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[list[Turn]]:
        turns = list(self.sampler)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield turns[start : start + self.batch_size][self._part]
