from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from medfuse.config import AugmentConfig
from medfuse.data import augment_batch, collate
from medfuse.data.batch_augmentation import N_DRAWS
from medfuse.tensors import Batch, Sample
from medfuse.types import CaseId

SIZE = 12


def batch(draws: torch.Tensor, *, images: torch.Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(len(draws), 1, SIZE, SIZE, SIZE, generator=generator) if images is None else images
    samples = [Sample(CaseId(f"S{n}", "1"), image=found[n], draws=draws[n]) for n in range(len(draws))]
    return collate(samples, modalities=("image",), image_shape=(1, SIZE, SIZE, SIZE))


def draws(**places: float) -> torch.Tensor:
    """One case's draws: 0.5 changes nothing; `at3=1.0` sets the fourth."""
    values = torch.full((1, N_DRAWS), 0.5)
    values[0, 11] = 0.0  # no noise
    for name, value in places.items():
        values[0, int(name[2:])] = value
    return values


ALL: dict[str, Any] = {
    "rotate_degrees": 20.0, "scale": 0.1, "translate": 0.1, "brightness": 0.1, "contrast": 0.2, "noise": 0.1,
    "cutout": 0.3,
}  # fmt: skip


def test_a_case_changes_alike_alone_and_among_others() -> None:
    rolls = torch.rand(5, N_DRAWS, generator=torch.Generator().manual_seed(3))
    config = AugmentConfig(**ALL)
    together = augment_batch(batch(rolls), config).image
    images = batch(rolls).image
    for n in range(5):
        alone = augment_batch(batch(rolls[n : n + 1], images=images[n : n + 1]), config).image
        torch.testing.assert_close(alone[0], together[n], atol=1e-6, rtol=0)
    assert together.min() >= 0 and together.max() <= 1
    assert not torch.equal(together, images)


def test_draws_in_the_middle_change_nothing() -> None:
    config = AugmentConfig(**(ALL | {"cutout": 0.0}))
    before = batch(draws())
    torch.testing.assert_close(augment_batch(before, config).image, before.image, atol=2e-6, rtol=0)


def test_without_draws_a_batch_comes_back_as_it_is() -> None:
    before = batch(draws())
    assert augment_batch(before, AugmentConfig()) is before
    outside_training = collate(
        [Sample(CaseId("S", "1"), image=before.image[0])], modalities=("image",), image_shape=(1, SIZE, SIZE, SIZE)
    )
    assert augment_batch(outside_training, AugmentConfig(**ALL)) is outside_training


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_turn_is_scipys(axis: int) -> None:
    degrees = 15.0
    before = batch(draws(**{f"at{axis}": 1.0}))
    found = augment_batch(before, AugmentConfig(rotate_degrees=degrees)).image[0, 0].numpy()
    # Grid axes run K, J, I: angle 0 turns about the grid's first, which is the last of the array.
    plane = [(1, 0), (0, 2), (2, 1)][axis]
    expected = ndimage.rotate(before.image[0, 0].numpy(), degrees, axes=plane, reshape=False, order=1)
    other = ndimage.rotate(before.image[0, 0].numpy(), -degrees, axes=plane, reshape=False, order=1)
    inner = (slice(3, -3),) * 3
    errors = [float(np.abs(found[inner] - one[inner]).max()) for one in (expected, other)]
    assert min(errors) < 1e-4 < max(errors)


def test_a_shift_moves_by_its_share_of_the_box() -> None:
    image = torch.zeros(1, 1, SIZE, SIZE, SIZE)
    image[0, 0, 6, 6, 6] = 1.0
    found = augment_batch(batch(draws(at6=1.0), images=image), AugmentConfig(translate=3 / SIZE)).image
    place = (found[0, 0] > 0.99).nonzero().tolist()
    assert place == [[6, 6, 3]]


def test_nearest_interpolation_keeps_a_mask_sharp() -> None:
    mask = (torch.rand(1, 1, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    moved = {"rotate_degrees": 20.0, "scale": 0.1, "translate": 0.1}
    before = batch(draws(at0=0.9, at1=0.2, at4=0.8, at7=0.3), images=mask)
    sharp = augment_batch(before, AugmentConfig(**moved, interpolation="nearest")).image
    blurred = augment_batch(before, AugmentConfig(**moved)).image
    assert sharp.unique().tolist() == [0.0, 1.0]
    assert not torch.equal(sharp, mask)
    assert len(blurred.unique()) > 100
    # Both are the same movement.
    assert float((sharp - blurred).abs().mean()) < 0.6 * float((sharp - mask).abs().mean())


def test_brightness_contrast_and_noise_follow_their_formulas() -> None:
    image = torch.rand(1, 1, SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 0.4 + 0.3
    bright = augment_batch(batch(draws(at9=1.0), images=image), AugmentConfig(brightness=0.1)).image
    torch.testing.assert_close(bright, image + 0.1)
    flat = augment_batch(batch(draws(at10=0.0), images=image), AugmentConfig(contrast=0.5)).image
    torch.testing.assert_close(flat, (image - image.mean()) * 0.5 + image.mean())
    noisy = augment_batch(batch(draws(at11=1.0), images=image), AugmentConfig(noise=0.02)).image
    assert float((noisy - image).std()) == pytest.approx(0.02, rel=0.1)
    assert abs(float((noisy - image).mean())) < 0.002


def test_a_cutout_is_one_block_of_its_size() -> None:
    image = torch.ones(1, 1, SIZE, SIZE, SIZE)
    found = augment_batch(batch(draws(at13=0.0, at14=0.999, at15=0.5), images=image), AugmentConfig(cutout=0.25)).image
    hidden = (found[0, 0] == 0).nonzero()
    assert len(hidden) == 27
    assert hidden.min(dim=0).values.tolist() == [0, SIZE - 3, 5]


def test_a_case_without_an_image_stays_zeros() -> None:
    samples = [
        Sample(CaseId("A", "1"), image=torch.ones(1, 4, 4, 4), token_ids=torch.tensor([3]), draws=torch.rand(N_DRAWS)),
        Sample(CaseId("B", "1"), token_ids=torch.tensor([3]), draws=torch.rand(N_DRAWS)),
    ]
    both = collate(samples, modalities=("image", "text"), image_shape=(1, 4, 4, 4))
    assert not augment_batch(both, AugmentConfig(**ALL)).image[1].any()
