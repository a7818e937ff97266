from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medfuse.data import intensity
from medfuse.data.intensity import N_STEPS, Scale, otsu_threshold, quantise, restore, scale_of
from medfuse.image_config import WINDOWS, ChannelConfig
from medfuse.types import StoredVolume, Volume

ZSCORE = ChannelConfig(intensity="zscore")


@given(
    st.lists(st.floats(-2000, 3000, width=32), min_size=1, max_size=50),
    st.floats(-1500, 500),
    st.floats(1, 3000),
)
def test_rounding_moves_a_value_by_half_a_step_at_most(values: list[float], low: float, width: float) -> None:
    scale = Scale(low, low + width, low)
    found = restore(quantise(np.array(values, dtype=np.float32), scale)).numpy()
    exact = np.clip((np.array(values) - low) / width, 0, 1)
    # What float32 itself cannot tell of a value comes on top.
    np.testing.assert_allclose(found, exact, rtol=0, atol=0.5 / N_STEPS + 5e-4 / width)


def test_every_step_is_restored_to_itself() -> None:
    steps = np.arange(N_STEPS + 1, dtype=np.uint16)
    values = restore(steps).numpy()
    assert np.array_equal(quantise(values, Scale(0.0, 1.0, 0.0)), steps)
    assert (values.min(), values.max()) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("preset", "level", "width"),
    [("lung", -600, 1500), ("soft_tissue", 40, 400), ("bone", 400, 1800), ("brain", 40, 80)],
)
def test_presets_are_the_customary_windows(preset: str, level: float, width: float) -> None:
    scale = scale_of(ChannelConfig(intensity=preset), Volume(np.zeros((2, 2, 2)), np.eye(4)))
    assert (scale.low, scale.high) == (level - width / 2, level + width / 2) == WINDOWS[preset]
    assert scale.fill == scale.low


@settings(deadline=None)  # the first case waits for SimpleITK's import
@given(seed=st.integers(0, 999), share=st.floats(0.05, 0.95), apart=st.floats(0.5, 20))
def test_otsu_parts_voxels_as_simpleitk_does(seed: int, share: float, apart: float) -> None:
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: pip install 'medfuse[dev]'")
    rng = np.random.default_rng(seed)
    voxels = rng.normal(0, 1, (6, 7, 8)) + apart * (rng.random((6, 7, 8)) < share)
    filter_ = itk.OtsuThresholdImageFilter()
    filter_.SetNumberOfHistogramBins(256)
    filter_.Execute(itk.GetImageFromArray(voxels))
    # Two thresholds can be as good as each other: what they reach is compared, on what they part.
    assert between(voxels, otsu_threshold(voxels)) >= 0.99 * between(voxels, filter_.GetThreshold())


def between(voxels: NDArray[np.float64], threshold: float) -> float:
    """Return the variance between the classes that a threshold parts."""
    above = voxels > threshold
    return float(above.mean() * (1 - above.mean()) * (voxels[above].mean() - voxels[~above].mean()) ** 2)


def test_zscore_is_that_of_the_foreground_whatever_the_unit_and_the_background() -> None:
    rng = np.random.default_rng(0)
    head = np.zeros((20, 20, 20), dtype=np.float32)
    head[5:15, 5:15, 5:15] = rng.normal(500, 40, (10, 10, 10))
    inside = head[5:15, 5:15, 5:15]
    scale = scale_of(ZSCORE, Volume(head, np.eye(4)))
    values = (restore(quantise(inside, scale)).numpy() - 0.5) * 10
    exact = np.clip((inside - inside.mean(dtype=np.float64)) / inside.std(dtype=np.float64), -5, 5)
    np.testing.assert_allclose(values, exact, atol=2e-4)
    assert scale.fill == 0.0
    other = scale_of(ZSCORE, Volume(np.pad(head, 4) * 3 + 10, np.eye(4)))
    again = (restore(quantise(inside * 3 + 10, other)).numpy() - 0.5) * 10
    np.testing.assert_allclose(again, values, atol=3e-4)


def test_zscore_of_a_volume_without_contrast_is_the_middle() -> None:
    volume = Volume(np.full((3, 3, 3), 7, dtype=np.int16), np.eye(4))
    steps = quantise(volume.voxels.astype(np.float32), scale_of(ZSCORE, volume))
    np.testing.assert_allclose(restore(steps).numpy(), 0.5, atol=1e-5)


def test_whole_volume_is_read_once_for_the_zscores_of_all_lesions() -> None:
    voxels = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)
    reads: list[tuple[slice, slice, slice]] = []

    def read(part: tuple[slice, slice, slice]) -> np.ndarray:
        reads.append(part)
        return voxels[part]

    stored = StoredVolume(voxels.shape, np.eye(4), read)
    first, again = scale_of(ZSCORE, stored), scale_of(ZSCORE, stored)
    assert first == again == scale_of(ZSCORE, Volume(voxels, np.eye(4)))
    assert len(reads) == 1


def test_zscore_of_a_large_volume_is_that_of_an_even_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.random.default_rng(0).normal(0, 1, (40, 40, 40)) + 300 * (np.indices((40, 40, 40))[0] > 20)
    exact = scale_of(ZSCORE, Volume(voxels, np.eye(4)))
    monkeypatch.setattr(intensity, "Z_VOXELS", 8000)
    found = scale_of(ZSCORE, Volume(voxels, np.eye(4)))
    assert (found.low + found.high) / 2 == pytest.approx((exact.low + exact.high) / 2, rel=1e-3)
    assert found.high - found.low == pytest.approx(exact.high - exact.low, rel=0.03)
    assert found != exact
