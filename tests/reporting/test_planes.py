"""Which side is which: a blob at a known RAS position must be drawn on that side."""

from itertools import permutations, product

import numpy as np
import pytest

from medfuse.reporting.planes import canonical_axes, obliquity_degrees, three_planes

SIDES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def oriented(order, signs):
    """An affine whose voxel axis a runs along world axis order[a] in the given sense, with three spacings."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign, step) in enumerate(zip(order, signs, (0.7, 1.3, 2.5), strict=True)):
        affine[world, axis] = sign * step
    affine[:3, 3] = (12.0, -30.0, 400.0)
    return affine


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_letter_names_the_side_it_stands_on_in_all_48_orientations(order, signs):
    affine = oriented(order, signs)
    shape = (8, 9, 10)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = grid @ affine[:3, :3].T + affine[:3, 3]
    for view in zip(*(three_planes(world[..., w], affine, (3, 4, 5)) for w in range(3)), strict=True):
        edges = {
            view[0].left: np.s_[:, 0],
            view[0].right: np.s_[:, -1],
            view[0].top: np.s_[0, :],
            view[0].bottom: np.s_[-1, :],
        }
        for letter, edge in edges.items():
            axis, sense = SIDES[letter]
            coordinate = view[axis].pixels
            assert np.all(sense * coordinate[edge] == (sense * coordinate).max()), (view[0].name, letter)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::5])
def test_the_planes_meet_in_the_voxel_that_was_asked_for(order, signs):
    voxels = np.zeros((8, 9, 10))
    voxels[3, 4, 5] = 1
    for plane in three_planes(voxels, oriented(order, signs), (3, 4, 5)):
        assert plane.pixels.sum() == 1
        assert plane.pixels[plane.at] == 1
        assert 1 <= plane.number <= plane.count


def test_radiological_convention_puts_the_patients_right_on_the_left():
    voxels, affine = np.zeros((11, 11, 11)), np.diag([1.0, 1.0, 1.0, 1.0])  # RAS: index rises to the right
    voxels[9, 8, 2] = 1  # right, anterior, inferior
    axial, coronal, sagittal = three_planes(voxels, affine, (9, 8, 2))
    assert (axial.left, axial.top, coronal.left, coronal.top, sagittal.left) == ("R", "A", "R", "S", "A")
    rows = {plane.name: np.argwhere(plane.pixels == 1)[0].tolist() for plane in (axial, coronal, sagittal)}
    assert rows == {"axial": [2, 1], "coronal": [8, 1], "sagittal": [8, 2]}
    assert (axial.number, axial.count, axial.counted_from) == (3, 11, "inferior")


def test_spacing_follows_the_axes():
    axial, coronal, sagittal = three_planes(np.zeros((4, 5, 6)), np.diag([-0.7, -0.8, 2.5, 1.0]), (1, 1, 1))
    assert axial.spacing_mm == pytest.approx((0.8, 0.7))
    assert coronal.spacing_mm == pytest.approx((2.5, 0.7))
    assert sagittal.spacing_mm == pytest.approx((2.5, 0.8))


def test_oblique_voxels_keep_the_nearest_names_and_say_how_oblique():
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, -1.0, 2.0])
    assert canonical_axes(affine) == ((0, 1, 2), (True, True, False))
    assert obliquity_degrees(affine) == pytest.approx(20)
