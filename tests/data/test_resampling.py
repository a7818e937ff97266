from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medfuse.data.resampling import box_affine, plan_sampling, sample_box
from medfuse.types import Array, StoredVolume, Volume

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
    values = ndimage.map_coordinates(volume.voxels.astype(np.float64), index, order=1, mode="nearest")
    # A voxel reaches half a step to each side of its centre.
    end = np.array(volume.voxels.shape)[:, np.newaxis] - 0.5
    values[((index < -0.5) | (index > end)).any(axis=0)] = FILL
    at_edge = (np.minimum(np.abs(index + 0.5), np.abs(index - end)) < 1e-5).any(axis=0)
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


LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def geometry(affine: Array) -> dict[str, list[float]]:
    """Return an affine as ITK has it."""
    in_lps = LPS @ affine
    spacing = np.linalg.norm(in_lps[:3, :3], axis=0)
    return {
        "Spacing": spacing.tolist(),
        "Origin": in_lps[:3, 3].tolist(),
        "Direction": (in_lps[:3, :3] / spacing).ravel().tolist(),
    }


def sample_with_itk(volume: Volume, box: Array, size: tuple[int, int, int]) -> NDArray[np.float64]:
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: pip install 'medfuse[dev]'")
    image = itk.GetImageFromArray(volume.voxels.astype(np.float64).T)
    for name, value in geometry(volume.affine).items():
        getattr(image, f"Set{name}")(value)
    resampler = itk.ResampleImageFilter()
    resampler.SetInterpolator(itk.sitkLinear)
    resampler.SetSize(size)
    for name, value in geometry(box).items():
        getattr(resampler, f"SetOutput{name}")(value)
    resampler.SetDefaultPixelValue(FILL)
    return itk.GetArrayFromImage(resampler.Execute(image)).T


@settings(deadline=None)  # the first case waits for SimpleITK's import
@given(
    spacing=st.tuples(*[st.floats(0.4, 5.0)] * 3),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    order=st.permutations(range(3)),
    angles=st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(*[st.floats(-40, 40)] * 3)),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    place=st.tuples(*[st.floats(-1, 9)] * 3),
    step=st.floats(0.3, 4.0),
    size=SIZES,
)
def test_box_agrees_with_simpleitk_flipped_permuted_oblique_and_across_the_border(
    spacing: tuple[float, float, float],
    signs: tuple[int, int, int],
    order: list[int],
    angles: tuple[float, float, float],
    shape: tuple[int, int, int],
    place: tuple[float, float, float],
    step: float,
    size: tuple[int, int, int],
) -> None:
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = (turn @ np.diag(np.multiply(spacing, signs)))[:, order]
    affine[:3, 3] = (-40.0, 12.5, 300.0)
    rng = np.random.default_rng(len(order) + sum(shape))
    volume = Volume(rng.integers(-1000, 1000, shape).astype(np.int16), affine)
    box = box_affine(tuple((affine @ [*place, 1.0])[:3]), size=size, spacing_mm=step)
    _, clear = independent_sample(volume, world_points(box, size))
    found = sample_box(volume, box, size=size, fill=FILL).ravel()
    window = 1400.0  # the values that a model sees are those of a window from 0 to 1
    np.testing.assert_allclose(
        found[clear] / window, sample_with_itk(volume, box, size).ravel()[clear] / window, rtol=0, atol=1e-5
    )


@given(affine=affines(), seed=st.integers(0, 99), place=st.tuples(*[st.floats(-1, 9)] * 3), size=SIZES)
def test_part_that_is_read_gives_the_very_bits_of_the_whole(
    affine: Array, seed: int, place: tuple[float, float, float], size: tuple[int, int, int]
) -> None:
    whole = volume_of(affine, (7, 8, 9), seed)
    parts = []

    def read(part: tuple[slice, slice, slice]) -> NDArray[np.generic]:
        parts.append(part)
        return whole.voxels[part].copy()

    stored = StoredVolume(whole.shape, affine, read)
    box = box_affine(tuple((affine @ [*place, 1.0])[:3]), size=size, spacing_mm=0.8)
    expected = sample_box(whole, box, size=size, fill=FILL)
    assert np.array_equal(sample_box(stored, box, size=size, fill=FILL), expected)
    needed = plan_sampling(affine, whole.shape, box=box, size=size).part
    assert parts == ([] if needed is None else [needed])


def test_turned_by_next_to_nothing_is_sampled_as_along_the_axes() -> None:
    affine = np.diag([0.7, 0.7, 1.25, 1.0])
    volume = volume_of(affine, (60, 60, 40), 3)
    box = box_affine((20.0, 20.0, 25.0), size=(16, 16, 16), spacing_mm=1.0)
    turned = affine.copy()
    turned[:3, :3] = Rotation.from_euler("xyz", (1e-5, 1e-5, 1e-5)).as_matrix() @ affine[:3, :3]
    straight = plan_sampling(affine, volume.shape, box=box, size=(16, 16, 16))
    oblique = plan_sampling(turned, volume.shape, box=box, size=(16, 16, 16))
    assert straight.order
    assert not oblique.order
    general = oblique.__class__(
        straight.size, straight.part, (), tuple(np.stack(np.meshgrid(*straight.index, indexing="ij")).reshape(3, -1)),
        tuple(np.ones(16**3, dtype=bool) for _ in range(3)),
    )  # fmt: skip
    part = volume.read(straight.part)
    np.testing.assert_allclose(straight.sample(part, fill=FILL), general.sample(part, fill=FILL), atol=1e-5)


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
