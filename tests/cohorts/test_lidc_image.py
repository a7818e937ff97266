from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import ndimage

from medfuse.cohorts.lidc_annotations import Contour, Nodule, ReaderAnnotation, Scan
from medfuse.cohorts.lidc_image import lesion_volume, rasterise
from medfuse.errors import LesionPositionError

RING = ndimage.generate_binary_structure(2, 1)


def draw_ball(centre, radii, *, pixel=0.7, step=1.25):
    """Outline an ellipsoid slice by slice as an LIDC reader does: the first pixels outside it, in order."""
    x0, y0, z0 = centre
    rx, ry, rz = radii
    n = int(max(rx, ry) / pixel) + 3
    column, row = np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij")
    contours = []
    for k in range(-int(rz / step), int(rz / step) + 1):
        disc = (column * pixel / rx) ** 2 + (row * pixel / ry) ** 2 + (k * step / rz) ** 2 <= 1
        outline = np.argwhere(ndimage.binary_dilation(disc, RING) & ~disc) - n
        order = np.argsort(np.arctan2(outline[:, 1], outline[:, 0]))
        contours.append(Contour(z0 + k * step, True, (outline[order] + np.array([x0, y0])).astype(np.int32)))
    return tuple(contours)


def make_nodule(contours, *, pixel=0.7, step=1.25, scores=None, index=1):
    scan = Scan(1, "patient", "1.2", "1.2.3", pixel, step, np.arange(100) * step)
    return Nodule(scan, index, ReaderAnnotation(1, scores or {}, contours), ())


def ball(radius, **options):
    return make_nodule(draw_ball((200, 150, 40.0), (radius,) * 3, **options), **options)


def box(corner, edge):
    x, y = corner
    return np.array([[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge]], dtype=np.int32)


def test_pixels_of_the_outline_are_outside():
    mask, _ = rasterise([Contour(0.0, True, box((5, 9), 6))], pixel_spacing=1.0, slice_spacing=1.0)
    assert mask.sum() == 5 * 5


def test_diagonal_outline_encloses_its_lattice_points():
    diamond = np.array([[x, abs(x) - 6] for x in range(-6, 7)] + [[x, 6 - abs(x)] for x in range(5, -6, -1)])
    mask, _ = rasterise([Contour(0.0, True, diamond + 20)], pixel_spacing=1.0, slice_spacing=1.0)
    # Pick's theorem: area 72 with 24 lattice points on the outline leaves 72 - 24 / 2 + 1 inside.
    assert mask.sum() == 61


def test_hole_is_cut_out_with_its_outline():
    contours = [Contour(0.0, True, box((0, 0), 10)), Contour(0.0, False, box((3, 3), 4))]
    mask, _ = rasterise(contours, pixel_spacing=1.0, slice_spacing=1.0)
    assert mask.sum() == 9 * 9 - 5 * 5


def test_gap_in_an_outline_is_bridged():
    sparse = np.array([[0, 0], [8, 0], [8, 8], [0, 8]])
    dense = np.array([[t, 0] for t in range(8)] + [[8, t] for t in range(9)] + [[t, 8] for t in range(8)][::-1])
    masks = [rasterise([Contour(0.0, True, p)], pixel_spacing=1.0, slice_spacing=1.0)[0] for p in (sparse, dense)]
    assert np.array_equal(*masks)


@pytest.mark.parametrize("step", [0.625, 1.25, 2.5])
def test_ball_keeps_its_volume_and_centre(step):
    mask, affine = rasterise(draw_ball((200, 150, 40.0), (9, 9, 9), step=step), pixel_spacing=0.7, slice_spacing=step)
    volume = mask.sum() * 0.7 * 0.7 * step
    assert volume == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.03)
    centre = affine @ [*np.argwhere(mask).mean(axis=0), 1]
    assert_allclose(centre[:3], [-140.0, -105.0, 40.0], atol=1e-9)


@given(x=st.integers(0, 400), y=st.integers(0, 400), z=st.integers(-300, 300))
@settings(max_examples=20, deadline=None)
def test_moved_contours_give_the_same_mask_elsewhere(x, y, z):
    contours = draw_ball((0, 0, 0.0), (4, 6, 5), pixel=0.5, step=1.0)
    moved = [Contour(c.z_mm + z, c.inclusion, c.points + np.array([x, y])) for c in contours]
    here, affine = rasterise(contours, pixel_spacing=0.5, slice_spacing=1.0)
    there, affine_there = rasterise(moved, pixel_spacing=0.5, slice_spacing=1.0)
    assert np.array_equal(here, there)
    assert_allclose(affine_there[:3, 3] - affine[:3, 3], [-0.5 * x, -0.5 * y, z])


def test_true_size_keeps_spacing_volume_and_place():
    volume, centre = lesion_volume(ball(7.0), image="mask")
    assert volume.spacing_mm == pytest.approx((0.7, 0.7, 1.25))
    assert volume.unit == "arbitrary"
    assert volume.voxels.sum() * 0.7 * 0.7 * 1.25 == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.04)
    assert_allclose(centre, [-140.0, -105.0, 40.0], atol=1e-6)
    inside = volume.affine @ [*np.argwhere(volume.voxels).mean(axis=0), 1]
    assert_allclose(inside[:3], centre, atol=0.1)


@pytest.mark.parametrize("size", ["keep", "normalise"])
def test_tissue_and_lung_have_their_hu(size):
    volume, centre = lesion_volume(ball(10.0), size=size)
    assert volume.unit == "HU"
    assert volume.voxels.dtype == np.int16
    grid = np.indices(volume.voxels.shape).reshape(3, -1)
    mm = volume.affine[:3, :3] @ grid + volume.affine[:3, 3:]
    far = np.linalg.norm(mm - np.array(centre)[:, None], axis=0).reshape(volume.voxels.shape)
    assert volume.voxels[far < 6].mean() == pytest.approx(30, abs=3)
    assert volume.voxels[(far > 15) & (far < 24)].mean() == pytest.approx(-850, abs=3)
    assert volume.voxels[(far > 15) & (far < 24)].std() == pytest.approx(25, abs=3)


def test_edge_is_soft():
    volume, _ = lesion_volume(ball(10.0))
    between = (volume.voxels > -700) & (volume.voxels < -150)
    assert between.sum() > 500


def test_nodule_larger_than_the_crop_is_kept_whole():
    volume, _ = lesion_volume(ball(32.0, step=2.5), image="mask")
    assert volume.voxels.sum() * 0.7 * 0.7 * 2.5 == pytest.approx(4 / 3 * np.pi * 32**3, rel=0.03)
    border = np.ones(volume.voxels.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert not volume.voxels[border].any()


@pytest.mark.parametrize("size", ["keep", "normalise"])
def test_same_seed_same_voxels_other_seed_other_noise(size):
    first, again, other = (lesion_volume(ball(6.0), size=size, seed=s)[0].voxels for s in (3, 3, 4))
    assert np.array_equal(first, again)
    difference = first.astype(float) - other
    assert difference.std() == pytest.approx(25 * np.sqrt(2), rel=0.1)
    assert abs(difference.mean()) < 2


@pytest.mark.parametrize("size", ["keep", "normalise"])
def test_scores_and_label_readers_change_nothing(size):
    contours = draw_ball((50, 50, 10.0), (5, 5, 5))
    mild = make_nodule(contours, scores={"malignancy": 1, "spiculation": 1})
    grave = make_nodule(contours, scores={"malignancy": 5, "spiculation": 5})
    grave = replace(grave, others=(ReaderAnnotation(9, {"malignancy": 5}, contours),))
    assert grave.label == "positive"
    volumes = [lesion_volume(nodule, size=size)[0].voxels for nodule in (mild, grave)]
    assert np.array_equal(*volumes)


@pytest.mark.parametrize("axes", [(1, 1, 1), (1.5, 1, 1), (1, 0.7, 1.3)])
def test_normalised_shape_is_the_same_at_any_size_and_spacing(axes):
    small = make_nodule(draw_ball((90, 90, 9.0), np.multiply(axes, 6.0)))
    large = make_nodule(draw_ball((90, 90, 9.0), np.multiply(axes, 15.0), pixel=0.6, step=2.5), pixel=0.6, step=2.5)
    first, second = (lesion_volume(nodule, image="mask", size="normalise")[0].voxels for nodule in (small, large))
    dice = 2 * np.sum(first & second) / (first.sum() + second.sum())
    assert dice > 0.94
    assert first.sum() == pytest.approx(second.sum(), rel=0.03)


def test_normalised_cube_says_where_its_nodule_is():
    volume, centre = lesion_volume(ball(5.0), image="mask", size="normalise")
    middle = volume.affine @ [*np.argwhere(volume.voxels).mean(axis=0), 1]
    assert_allclose(middle[:3], centre, atol=0.3)


def test_contours_without_an_inside_are_refused():
    line = np.array([[0, 0], [1, 0], [2, 0]], dtype=np.int32)
    with pytest.raises(LesionPositionError, match="no pixel"):
        lesion_volume(make_nodule((Contour(0.0, True, line),)))


def test_real_nodules_are_drawn_whole(lidc_nodules):
    for nodule in lidc_nodules[:: len(lidc_nodules) // 12]:
        scan, contours = nodule.scan, nodule.reporting.contours
        mask, _ = rasterise(contours, pixel_spacing=scan.pixel_spacing_mm, slice_spacing=scan.slice_spacing_mm)
        volume, centre = lesion_volume(nodule, image="mask")
        assert volume.voxels.sum() == pytest.approx(mask.sum(), rel=0.25, abs=5)
        assert min(volume.spacing_mm) > 0
        index = np.linalg.inv(volume.affine) @ [*centre, 1]
        assert np.all(index[:3] > 0)
        assert np.all(index[:3] < volume.voxels.shape)
