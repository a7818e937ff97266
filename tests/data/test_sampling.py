from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from medfuse.data import EpochBatches, EpochSampler, Turn
from medfuse.errors import UsageError


class Echo(Dataset[Turn]):
    """Gives back what it is asked for."""

    def __getitem__(self, turn: Turn) -> Turn:
        return turn


def batches(n: int, size: int, *, seed: int = 0, epoch: int = 0, rank: int = 0, world: int = 1) -> list[list[Turn]]:
    sampler = EpochSampler(n, seed=seed)
    sampler.set_epoch(epoch)
    return list(EpochBatches(sampler, size, rank=rank, world=world))


@given(n=st.integers(1, 60), size=st.integers(1, 12), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_an_epoch_has_each_case_at_most_once_in_whole_batches(n: int, size: int, seed: int, epoch: int) -> None:
    found = batches(n, size, seed=seed, epoch=epoch)
    indices = [turn.index for batch in found for turn in batch]
    assert len(found) == n // size
    assert all(len(batch) == size for batch in found)
    assert len(set(indices)) == len(indices)
    assert set(indices) <= set(range(n))
    assert {turn.epoch for batch in found for turn in batch} <= {epoch}


@given(n=st.integers(4, 60), share=st.integers(1, 4), world=st.integers(1, 4), epoch=st.integers(0, 9))
def test_the_processes_shares_make_up_the_one_process_s_batches(n: int, share: int, world: int, epoch: int) -> None:
    whole = batches(n, share * world, epoch=epoch)
    parts = [batches(n, share * world, epoch=epoch, rank=rank, world=world) for rank in range(world)]
    assert [list(chain.from_iterable(pieces)) for pieces in zip(*parts, strict=True)] == whole


def test_no_two_epochs_and_no_two_seeds_have_one_order() -> None:
    orders = {tuple(t.index for t in batches(30, 30, seed=s, epoch=e)[0]) for s in range(5) for e in range(5)}
    assert len(orders) == 25


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_asks_for_the_epoch_that_was_set_last(workers: int) -> None:
    sampler = EpochSampler(8, seed=1)
    loader = DataLoader(Echo(), batch_sampler=EpochBatches(sampler, 4), num_workers=workers, collate_fn=list)
    for epoch in (0, 5, 5, 1):
        sampler.set_epoch(epoch)
        assert list(loader) == batches(8, 4, seed=1, epoch=epoch)


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^optim.batch_size: found 7 for 2 processes; expected a multiple of 2"):
        batches(10, 7, world=2)
