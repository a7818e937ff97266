from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from medfuse.errors import BundleError
from medfuse.inference import NoveltyLimit, fit_novelty
from medfuse.inference.novelty import N_BINS, ImageStatistics, novelty_limit


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tissue(rng: np.random.Generator, n: int) -> torch.Tensor:
    """Return boxes of two tissues with a ball in it: not noise, not all alike."""
    grid = np.moveaxis(np.indices((12, 12, 12)), 0, -1)
    boxes = []
    for _ in range(n):
        box = np.where(grid[..., 0] < rng.uniform(4, 8), 0.2, 0.7) + rng.normal(0, 0.02, grid.shape[:3])
        box[np.linalg.norm(grid - rng.uniform(4, 8, 3), axis=-1) < 3] = 0.75
        boxes.append(torch.tensor(box.clip(0, 1), dtype=torch.float32)[None])
    return torch.stack(boxes)


def test_shares_of_voxels_are_those_of_numpy(rng: np.random.Generator) -> None:
    image = torch.tensor(rng.uniform(-0.2, 1.2, (2, 6, 6, 6)).clip(0, 1), dtype=torch.float32)
    found = ImageStatistics((2, 6, 6, 6))(image).reshape(2, -1)[:, : N_BINS + 2]
    for channel, shares in zip(image.numpy(), found, strict=True):
        within = channel[(channel > 0) & (channel < 1)]
        counts = np.histogram(within, bins=N_BINS, range=(0, 1))[0]
        expected = np.array([(channel == 0).sum(), *counts, (channel == 1).sum()]) / channel.size
        assert shares == pytest.approx(np.sqrt(expected), abs=1e-6)
        assert (shares**2).sum() == pytest.approx(1)


@given(seed=st.integers(0, 20), axes=st.sampled_from([(1, 2), (2, 3), (1, 3)]), flip=st.sampled_from([1, 2, 3]))
def test_turns_and_flips_change_no_statistic(seed: int, axes: tuple[int, int], flip: int) -> None:
    image = tissue(np.random.default_rng(seed), 1)[0]
    statistics = ImageStatistics((1, 12, 12, 12))
    assert statistics(image.rot90(dims=axes).flip(flip)) == pytest.approx(statistics(image), abs=1e-3)
    assert statistics(image).shape == (statistics.size,)


def test_the_distance_is_that_of_scipy_with_scikit_learn_s_covariance(rng: np.random.Generator) -> None:
    train, validation = rng.normal(size=(60, 5)) * [1, 2, 3, 0.5, 4], rng.normal(size=(40, 5))
    limit = fit_novelty(train, validation, [str(i) for i in range(40)])
    spread = train.std(axis=0)
    covariance = LedoitWolf().fit(train / spread)
    for row in validation[:5]:
        expected = mahalanobis(row / spread, covariance.location_, covariance.precision_)
        assert limit.score(row) * limit.limit == pytest.approx(expected)


def test_noise_and_inverted_images_lie_beyond_the_limit_and_images_like_the_training_s_within(
    rng: np.random.Generator,
) -> None:
    boxes = tissue(rng, 120)
    statistics = ImageStatistics((1, 12, 12, 12))
    described = np.stack([statistics(box) for box in boxes])
    limit = fit_novelty(described[:60], described[60:90], [str(i) for i in range(30)])
    assert sum(limit.score(row) > 1 for row in described[90:]) <= 4
    assert all(limit.score(statistics(1 - box)) > 1 for box in boxes[90:])
    assert all(limit.score(statistics(torch.rand(1, 12, 12, 12))) > 1 for _ in range(5))


def test_false_alarms_keep_their_promise_on_average(rng: np.random.Generator) -> None:
    alarms = []
    for _ in range(400):
        distances = rng.gamma(3, size=60)
        limit, promise = novelty_limit(distances[:40], [str(i) for i in range(40)], false_alarms=0.1)
        assert promise == 0.1
        alarms.append((distances[40:] > limit).mean())
    assert np.mean(alarms) == pytest.approx(0.1 * 41 / 41, abs=0.02)
    assert np.mean(alarms) <= 0.105


def test_images_of_one_patient_count_once(rng: np.random.Generator) -> None:
    distances = np.concatenate([rng.uniform(0, 1, 38), np.full(40, 9.0)])
    patients = [*(str(i) for i in range(38)), *["many"] * 40]
    limit, _ = novelty_limit(distances, patients, false_alarms=0.1)
    assert limit < 1
    assert novelty_limit(distances, [str(i) for i in range(78)], false_alarms=0.1)[0] == 9.0


def test_few_patients_promise_no_more_than_they_can(rng: np.random.Generator) -> None:
    validation = rng.normal(size=(4, 3))
    limit = fit_novelty(rng.normal(size=(50, 3)), validation, list("abcd"))
    assert limit.promise == pytest.approx(1 / 5)
    assert limit.n_alarms == 0
    assert max(limit.score(row) for row in validation) == pytest.approx(1)


def test_training_images_that_are_all_alike_leave_room_for_small_changes() -> None:
    limit = fit_novelty(np.ones((5, 3)), np.ones((30, 3)) + 0.001, [str(i) for i in range(30)])
    assert limit.score(np.ones(3)) <= 1
    assert limit.score(np.full(3, 2.0)) > 100


@pytest.mark.parametrize(
    "change", [{"limit": 0.0}, {"limit": float("nan")}, {"promise": 1.0}, {"n_alarms": 9}, {"centre": np.zeros(2)}]
)
def test_a_limit_out_of_range_is_refused(change: dict[str, object]) -> None:
    limit = NoveltyLimit(np.zeros(3), np.eye(3), 1.0, 0.05, 8, 0)
    assert limit.false_alarm_rate == 0
    with pytest.raises(BundleError):
        replace(limit, **change)  # type: ignore[arg-type]
