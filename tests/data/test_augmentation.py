from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medfuse.config import AugmentConfig
from medfuse.data import Augmentation
from medfuse.tensors import Sample
from medfuse.text.tokens import UNKNOWN_ID
from medfuse.types import CaseId

CASE = CaseId("S1", "1")
SEEDS = st.tuples(*[st.integers(0, 2**31)] * 3)


def sample(shape: tuple[int, ...] = (1, 4, 4, 4), tokens: int = 40) -> Sample:
    image = torch.arange(float(np.prod(shape))).reshape(shape)
    return Sample(CASE, image=image, token_ids=torch.arange(2, 2 + tokens), targets={"grade": 1})


def parts(changed: Sample) -> tuple[bytes, bytes]:
    assert changed.image is not None
    assert changed.token_ids is not None
    return changed.image.numpy().tobytes(), changed.token_ids.numpy().tobytes()


@given(seed=SEEDS)
def test_equal_seeds_change_equally(seed: tuple[int, int, int]) -> None:
    assert parts(Augmentation(AugmentConfig())(sample(), seed=seed)) == parts(
        Augmentation(AugmentConfig())(sample(), seed=seed)
    )


def test_change_does_not_depend_on_the_order_of_calls_or_on_other_generators() -> None:
    change = Augmentation(AugmentConfig())
    forward = [parts(change(sample(), seed=(1, 0, index))) for index in range(20)]
    np.random.default_rng()
    torch.manual_seed(99)
    backward = [parts(change(sample(), seed=(1, 0, index))) for index in reversed(range(20))]
    assert forward == backward[::-1]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_seed_epoch_and_index_each_make_a_difference(axis: int) -> None:
    seeds = [tuple(value if place == axis else 0 for place in range(3)) for value in range(100)]
    # 48 orientations and 2^40 word patterns: by chance no two of 100 are equal.
    assert len({parts(Augmentation(AugmentConfig())(sample(), seed=seed)) for seed in seeds}) == 100


def test_cube_takes_all_its_48_orientations_equally_often() -> None:
    change = Augmentation(AugmentConfig(token_dropout=0.0))
    counts: dict[bytes, int] = {}
    n = 4800
    for index in range(n):
        key = parts(change(sample((1, 2, 2, 2)), seed=(0, 0, index)))[0]
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 48
    # Each is binomial with mean 100: 50 is 5 standard deviations away.
    assert 50 < min(counts.values()) <= max(counts.values()) < 150


@given(shape=st.tuples(st.integers(1, 2), *[st.integers(1, 4)] * 3), seed=SEEDS)
def test_shape_type_and_the_values_themselves_are_kept(shape: tuple[int, ...], seed: tuple[int, int, int]) -> None:
    before = sample(shape)
    after = Augmentation(AugmentConfig())(before, seed=seed)
    assert before.image is not None
    assert after.image is not None
    assert after.image.shape == shape
    assert after.image.dtype == torch.float32
    assert after.image.is_contiguous()
    for old, new in zip(before.image, after.image, strict=True):
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)


def test_channels_are_turned_together() -> None:
    image = torch.rand(1, 4, 4, 4)
    changed = Augmentation(AugmentConfig())(Sample(CASE, image=torch.cat([image, image + 10])), seed=(3, 1, 4)).image
    assert changed is not None
    assert torch.equal(changed[0] + 10, changed[1])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_words_become_unknown_at_the_stated_rate(rate: float) -> None:
    n = 20_000
    tokens = Augmentation(AugmentConfig(token_dropout=rate))(sample(tokens=n), seed=(0, 0, 0)).token_ids
    assert tokens is not None
    assert tokens.dtype == torch.int64
    dropped = tokens == UNKNOWN_ID
    assert dropped.double().mean().item() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / n) ** 0.5)
    assert torch.equal(tokens[~dropped], torch.arange(2, 2 + n)[~dropped])


def test_sample_itself_is_left_untouched() -> None:
    before = sample()
    copy = parts(before)
    Augmentation(AugmentConfig(token_dropout=1.0))(before, seed=(0, 0, 1))
    assert parts(before) == copy


def test_absent_modality_stays_absent_and_the_label_stays() -> None:
    no_text = Augmentation(AugmentConfig())(
        Sample(CASE, image=torch.rand(1, 2, 2, 2), targets={"a": 1}), seed=(0, 0, 0)
    )
    no_image = Augmentation(AugmentConfig())(Sample(CASE, token_ids=torch.tensor([3])), seed=(0, 0, 0))
    assert no_text.token_ids is None
    assert no_text.targets == {"a": 1}
    assert no_text.case == CASE
    assert no_image.image is None
