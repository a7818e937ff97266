from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medfuse.models.box_statistics import BoxStatistics
from medfuse.models.norms import RunningNorm


def ball(radius: float, size: int = 24) -> torch.Tensor:
    grid = torch.stack(torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 3, indexing="ij"))
    return (radius + 0.5 - grid.norm(dim=0)).clamp(0, 1)[None, None]


def test_the_moments_of_a_ball_are_those_of_the_formula():
    radius = 8.0
    mass, *variances = BoxStatistics(1, (24, 24, 24))(ball(radius))[0, :4].exp().tolist()
    assert mass == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    assert variances == pytest.approx([radius**2 / 5] * 3, rel=0.03)


@pytest.mark.parametrize("turn", [lambda x: x.flip(2), lambda x: x.transpose(2, 4), lambda x: x.rot90(1, (3, 4))])
def test_no_turn_by_right_angles_changes_them(turn):
    box = torch.rand(2, 2, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    statistics = BoxStatistics(2, (12, 12, 12))
    torch.testing.assert_close(statistics(turn(box)), statistics(box), atol=2e-3, rtol=1e-4)


def test_a_rough_shape_has_more_edge_than_a_smooth_one_of_equal_volume():
    smooth = ball(8.0)
    rough = smooth + 0.3 * torch.rand(smooth.shape, generator=torch.Generator().manual_seed(0)) * (smooth > 0)
    rough = rough * smooth.sum() / rough.sum()
    statistics = BoxStatistics(1, (24, 24, 24))
    mass, edge = 0, 4
    difference = (statistics(rough) - statistics(smooth))[0]
    assert abs(float(difference[mass])) < 1e-4
    assert float(difference[edge]) > 0.1


def test_the_spectrum_is_that_of_numpy():
    box = ndimage.gaussian_filter(np.random.default_rng(0).random((8, 8, 8)), 1).astype(np.float32)
    power = np.abs(np.fft.fftn(box)) ** 2
    radius = np.rint(np.linalg.norm(np.meshgrid(*[np.fft.fftfreq(8) * 8] * 3, indexing="ij"), axis=0)).clip(max=4)
    expected = [np.log(power[radius == r].mean() + 1e-3) for r in range(5)]
    assert BoxStatistics(1, (8, 8, 8))(torch.from_numpy(box)[None, None])[0, -5:].tolist() == pytest.approx(
        expected, rel=1e-3
    )


@pytest.mark.parametrize("box", [torch.zeros(2, 1, 8, 8, 8), torch.ones(1, 1, 8, 8, 8)])
def test_an_empty_or_even_box_has_finite_statistics_and_slopes(box):
    box.requires_grad_()
    values = BoxStatistics(1, (8, 8, 8))(box)
    values.sum().backward()
    assert bool(torch.isfinite(values).all()) and bool(torch.isfinite(box.grad).all())


def test_the_running_norm_is_that_of_all_cases_seen_in_whatever_batches():
    cases = torch.randn(70, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    norm = RunningNorm(3)
    for batch in cases.split(32):
        norm(batch)
    expected = (cases - cases.mean(0)) / cases.std(0, correction=0)
    torch.testing.assert_close(norm.eval()(cases), expected, atol=1e-4, rtol=1e-4)


def test_the_running_norm_does_not_learn_from_cases_that_it_is_asked_about():
    norm = RunningNorm(2).eval()
    norm(torch.rand(5, 2))
    assert float(norm.count) == 0
