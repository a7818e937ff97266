"""Maps are brought onto a series' grid where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.transform import Rotation

from medfuse.errors import GeometryError
from medfuse.reporting.dicom_results_grid import grid_offset, on_grid, trimmed
from medfuse.types import Volume


def turned(seed: int, spacing: tuple[float, float, float]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(rng=seed).as_matrix() * spacing
    affine[:3, 3] = np.random.default_rng(seed).normal(0, 2, 3)
    return affine


@given(st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_interpolation_agrees_with_an_independent_one(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(9, 8, 7)).astype(np.float32)
    model, series = turned(seed, (1.0, 1.2, 0.9)), turned(seed + 1, (0.8, 0.7, 2.1))
    series[:3, 3] -= series[:3, :3] @ (10, 10, 5)
    found = on_grid(Volume(values, model), series, (40, 40, 20))
    index = np.argwhere(np.ones(found.shape))
    ras = index @ found.affine[:3, :3].T + found.affine[:3, 3]
    at = (ras - model[:3, 3]) @ np.linalg.inv(model[:3, :3]).T
    between = RegularGridInterpolator(
        [np.arange(n) for n in values.shape], values, bounds_error=False, fill_value=np.nan
    )
    expected = between(at)
    inside = np.isfinite(expected)
    assert inside.any()
    np.testing.assert_allclose(found.voxels.ravel()[inside], expected[inside], atol=1e-4)
    away = np.any((at < -0.51) | (at > np.array(values.shape) - 0.49), axis=1)
    assert not found.voxels.ravel()[away].any()


@given(st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_a_map_on_the_grid_itself_comes_back(seed: int) -> None:
    generator = np.random.default_rng(seed)
    affine, low = turned(seed, (0.7, 0.9, 3.0)), generator.integers(0, 5, 3)
    box = generator.normal(size=generator.integers(1, 6, 3)).astype(np.float32)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    volume = Volume(box, moved)
    found = on_grid(volume, affine, (12, 12, 12))
    assert grid_offset(found, affine, (12, 12, 12), where="map") == tuple(low)
    np.testing.assert_allclose(found.voxels, box, atol=1e-5)


def test_a_map_beside_the_series_is_refused() -> None:
    beside = Volume(np.ones((3, 3, 3)), np.array([[1.0, 0, 0, 50], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    with pytest.raises(GeometryError, match="covers no voxel"):
        on_grid(beside, np.eye(4), (9, 9, 9))


@given(st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_trimming_keeps_every_voxel_in_its_place(seed: int) -> None:
    generator = np.random.default_rng(seed)
    voxels = np.where(generator.random((6, 5, 4)) > 0.95, generator.normal(size=(6, 5, 4)), 0.0)
    whole = Volume(voxels, turned(seed, (0.7, 0.9, 3.0)))
    box = trimmed(whole)
    if box is None:
        assert not voxels.any()
        return
    i, j, k = grid_offset(box, whole.affine, whole.shape, where="box")
    back = np.zeros_like(voxels)
    back[i : i + box.shape[0], j : j + box.shape[1], k : k + box.shape[2]] = box.voxels
    assert np.array_equal(back, voxels)
    assert all(box.voxels.take(end, axis=axis).any() for axis in range(3) for end in (0, -1))


def test_a_grid_of_other_axes_is_refused() -> None:
    reversed_ = np.diag([1.0, 1.0, -1.0, 1.0])
    reversed_[2, 3] = 3.0
    with pytest.raises(GeometryError, match="beside those of the series"):
        grid_offset(Volume(np.ones((4, 4, 4)), reversed_), np.eye(4), (4, 4, 4), where="map")
