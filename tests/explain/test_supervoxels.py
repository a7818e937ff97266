import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse.explain.supervoxels import supervoxels


def test_they_follow_edges() -> None:
    grid = np.moveaxis(np.indices((24, 24, 24)), 0, -1)
    ball = np.linalg.norm(grid - 11.5, axis=-1) <= 6
    image = torch.from_numpy(np.where(ball, 0.8, 0.2).astype(np.float32))[None]
    image += 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    cut = supervoxels(image, edge=5.0).numpy()
    inside = np.bincount(cut[ball], minlength=cut.max() + 1)
    total = np.bincount(cut.ravel())
    astray = np.minimum(inside, total - inside).sum()
    assert astray < 0.05 * ball.sum()


def test_their_number_follows_the_edge_and_their_cut_the_seed() -> None:
    image = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    counts = [len(supervoxels(image, edge=edge, compactness=10.0).unique()) for edge in (4.0, 8.0, 16.0)]
    assert counts == [64, 8, 1]
    cuts = [supervoxels(image, edge=4.0, seed=seed) for seed in (0, 1, 1)]
    assert torch.equal(cuts[1], cuts[2]) and not torch.equal(cuts[0], cuts[1])


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), *[st.integers(3, 9)] * 3),
    edge=st.floats(1.5, 12.0),
    seed=st.integers(0, 3),
)
def test_every_voxel_has_one_and_none_is_empty(shape: tuple[int, ...], edge: float, seed: int) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    cut = supervoxels(image, edge=edge, seed=seed)
    assert cut.shape == shape[1:]
    assert cut.unique().tolist() == list(range(int(cut.max()) + 1))


def test_none_lies_in_both_of_two_unlike_halves() -> None:
    image = torch.zeros(1, 8, 8, 8)
    image[:, :4] = 1.0
    for compactness in (0.01, 0.3):
        cut = supervoxels(image, edge=4.0, compactness=compactness)
        assert not set(cut[:4].unique().tolist()) & set(cut[4:].unique().tolist())


@pytest.mark.parametrize("channels", [1, 3])
def test_all_channels_count(channels: int) -> None:
    image = torch.zeros(channels, 8, 8, 8)
    image[-1, :, :4] = 1.0
    cut = supervoxels(image, edge=8.0, compactness=0.05)
    assert len(cut.unique()) == 1 or not set(cut[:, :4].unique().tolist()) & set(cut[:, 4:].unique().tolist())
