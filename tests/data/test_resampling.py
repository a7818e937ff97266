from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from medfuse.data.resampling import box_affine, sample_box
from medfuse.types import Array, Volume

FILL = -7.0
SIZES = st.tuples(*[st.integers(1, 6)] * 3)


@st.composite
def affines(draw: st.DrawFn) -> Array:
    """Return an affine with any flip, permutation, anisotropy, small turn and shear."""
    spacing = [draw(st.floats(0.4, 5.0)) * draw(st.sampled_from([-1, 1])) for _ in range(3)]
    affine = np.eye(4)
    skew = np.array([draw(st.floats(-0.2, 0.2)) for _ in range(9)]).reshape(3, 3)
    order = draw(st.permutations(range(3)))
    affine[:3, :3] = ((np.eye(3) + skew) @ np.diag(spacing))[:, order]
    affine[:3, 3] = [draw(st.floats(-300, 300)) for _ in range(3)]
    return affine


def volume_of(affine: Array, shape: tuple[int, int, int], seed: int) -> Volume:
    return Volume(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32), affine)


def world_points(affine: Array, size: tuple[int, int, int]) -> Array:
    index = np.indices(size).reshape(3, -1)
    return affine[:3, :3] @ index + affine[:3, 3:]


def independent_sample(volume: Volume, points: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return the values at world points, and which points are clearly inside or clearly outside."""
    index = np.linalg.solve(volume.affine, np.vstack([points, np.ones(points.shape[1])]))[:3]
    values = ndimage.map_coordinates(volume.voxels.astype(np.float64), index, order=1, mode="constant", cval=FILL)
    last = np.array(volume.voxels.shape)[:, np.newaxis] - 1
    at_edge = (np.minimum(np.abs(index), np.abs(index - last)) < 1e-5).any(axis=0)
    return values, ~at_edge


@given(
    affine=affines(),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    size=SIZES,
    spacing=st.floats(0.3, 4.0),
    place=st.tuples(*[st.floats(-1, 9)] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_box_agrees_with_map_coordinates_at_the_same_world_coordinates(
    affine: Array,
    shape: tuple[int, int, int],
    size: tuple[int, int, int],
    spacing: float,
    place: tuple[float, float, float],
    seed: int,
) -> None:
    volume = volume_of(affine, shape, seed)
    centre = (affine @ [*place, 1.0])[:3]
    box = box_affine(tuple(centre), size=size, spacing_mm=spacing)
    expected, clear = independent_sample(volume, world_points(box, size))
    found = sample_box(volume, box, size=size, fill=FILL).ravel()
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-5)


@given(
    spacing=st.floats(0.3, 4.0),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
)
def test_box_on_the_voxel_centres_gives_each_voxel_to_the_very_edge(
    spacing: float, origin: tuple[float, float, float], signs: tuple[int, int, int], shape: tuple[int, int, int]
) -> None:
    affine = np.diag([*(spacing * np.array(signs)), 1.0])
    affine[:3, 3] = origin
    volume = volume_of(affine, shape, 0)
    centre = (affine @ [*((np.array(shape) - 1) / 2), 1.0])[:3]
    box = sample_box(volume, box_affine(tuple(centre), size=shape, spacing_mm=spacing), size=shape, fill=FILL)
    flips = tuple(slice(None, None, sign) for sign in signs)
    np.testing.assert_allclose(box, volume.voxels[flips], atol=1e-5)


@given(affine=affines(), data=st.data())
def test_single_voxel_box_at_a_voxel_centre_gives_that_voxel(affine: Array, data: st.DataObject) -> None:
    volume = volume_of(affine, (4, 3, 5), 1)
    index = tuple(data.draw(st.integers(0, n - 1)) for n in volume.voxels.shape)
    centre = (affine @ [*index, 1.0])[:3]
    value = sample_box(volume, box_affine(tuple(centre), size=(1, 1, 1), spacing_mm=1.0), size=(1, 1, 1), fill=FILL)
    assert value[0, 0, 0] == pytest.approx(volume.voxels[index], abs=1e-5)


@given(centre=st.tuples(*[st.floats(-1000, 1000)] * 3), size=SIZES, spacing=st.floats(0.1, 5.0))
def test_middle_of_the_box_is_the_centre(
    centre: tuple[float, float, float], size: tuple[int, int, int], spacing: float
) -> None:
    affine = box_affine(centre, size=size, spacing_mm=spacing)
    middle = (affine @ [*((np.array(size) - 1) / 2), 1.0])[:3]
    np.testing.assert_allclose(middle, centre, atol=1e-9)
    assert Volume(np.zeros(size), affine).spacing_mm == pytest.approx((spacing,) * 3)


@pytest.mark.parametrize("far", [(-1e4, 0, 0), (0, 1e4, 0), (0, 0, 1e9), (1e6, -1e6, 1e6)])
def test_box_beyond_the_volume_is_fill(far: tuple[float, float, float]) -> None:
    box = sample_box(
        Volume(np.ones((3, 3, 3)), np.eye(4)),
        box_affine(far, size=(2, 2, 2), spacing_mm=1.0),
        size=(2, 2, 2),
        fill=FILL,
    )
    assert np.all(box == FILL)


def test_box_half_outside_is_fill_there_alone() -> None:
    volume = Volume(np.ones((4, 4, 4)), np.eye(4))
    box = sample_box(volume, box_affine((0.0, 1.5, 1.5), size=(5, 2, 2), spacing_mm=1.0), size=(5, 2, 2), fill=FILL)
    assert box[:, 0, 0].tolist() == [FILL, FILL, 1, 1, 1]


def test_sheared_slices_are_sampled_where_they_truly_lie() -> None:
    # A tilted gantry: each slice lies 0.5 mm further along y, so that the value y in mm must come back.
    affine = np.array([[1, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 2, 0], [0, 0, 0, 1]], dtype=float)
    index = np.indices((9, 9, 9))
    volume = Volume((affine[:3, :3] @ index.reshape(3, -1))[1].reshape(9, 9, 9), affine)
    grid = box_affine((4.0, 6.0, 8.0), size=(3, 3, 3), spacing_mm=1.5)
    box = sample_box(volume, grid, size=(3, 3, 3), fill=FILL)
    np.testing.assert_allclose(box[1, :, 1], [4.5, 6.0, 7.5], atol=1e-5)


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float64, np.bool_])
def test_voxels_of_any_type_give_float32_and_stay_untouched(kind: type[np.generic]) -> None:
    voxels = np.ones((3, 3, 3), dtype=kind)
    box = sample_box(Volume(voxels, np.eye(4)), np.eye(4), size=(3, 3, 3), fill=0.0)
    assert box.dtype == np.float32
    assert voxels.dtype == kind
    assert np.all(box == 1)
