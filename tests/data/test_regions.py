from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.config import ChannelConfig, ImageConfig, TextConfig
from medfuse.data import Preprocessing
from medfuse.data.regions import region_box
from medfuse.errors import DataError, LesionPositionError
from medfuse.types import Array, Lesion, Study, Volume

CENTRE = (3.0, -4.0, 5.0)


def corners(affine: Array, shape: tuple[int, int, int]) -> Array:
    """Return where the outer edges of a grid lie, shape (8, 3)."""
    ends = [(-0.5, n - 0.5) for n in shape]
    index = np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1)
    return (affine[:3, :3] @ index + affine[:3, 3:]).T


def test_box_around_a_lesion_has_the_configured_spacing_whatever_its_extent() -> None:
    image = ImageConfig(size=(8, 6, 4), spacing_mm=2.0)
    for extent in (None, (50.0, 1.0, 1.0)):
        box = region_box(image, Lesion("1", CENTRE, size_mm=extent), None, where="lesion")
        edges = corners(box, image.size)
        np.testing.assert_allclose(edges.mean(axis=0), CENTRE)
        np.testing.assert_allclose(np.ptp(edges, axis=0), (16, 12, 8))


@given(
    extent=st.tuples(*[st.floats(1, 90)] * 3),
    margin=st.floats(0, 20),
    size=st.tuples(*[st.integers(1, 64)] * 3),
)
def test_fitted_box_is_the_least_one_that_holds_the_lesion_and_its_margin(
    extent: tuple[float, float, float], margin: float, size: tuple[int, int, int]
) -> None:
    image = ImageConfig(size=size, spacing_mm=None, margin_mm=margin)
    box = region_box(image, Lesion("1", CENTRE, size_mm=extent), None, where="lesion")
    widths = np.ptp(corners(box, size), axis=0)
    spare = widths - (np.array(extent) + 2 * margin)
    assert spare.min() == pytest.approx(0, abs=1e-9)


def test_box_cannot_be_fitted_to_a_point() -> None:
    with pytest.raises(LesionPositionError, match="a point alone"):
        region_box(ImageConfig(spacing_mm=None), Lesion("1", CENTRE), None, where="lesion")


@pytest.mark.parametrize("spacing", [None, 1.5])
def test_whole_region_holds_the_volume_however_it_is_turned(spacing: float | None) -> None:
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.7, 0.7, 3.0])
    affine[:3, 3] = (100, -50, 20)
    volume = Volume(np.zeros((20, 30, 10)), affine)
    image = ImageConfig(region="whole", size=(16, 16, 16), spacing_mm=spacing)
    box = corners(region_box(image, Lesion("1"), volume, where="case"), image.size)
    shown = corners(affine, volume.shape)
    np.testing.assert_allclose(box.mean(axis=0), shown.mean(axis=0))
    if spacing is None:
        spare = np.ptp(box, axis=0) - np.ptp(shown, axis=0)
        assert spare.min() == pytest.approx(0, abs=1e-9)
    else:
        np.testing.assert_allclose(np.ptp(box, axis=0), 24.0)


def prepare(study: Study, image: ImageConfig) -> Array:
    preprocessing = Preprocessing(image, TextConfig(), "HU", ("image",))
    found = preprocessing.prepare_image(study, study.lesions[0])
    assert found is not None
    assert found.shape == preprocessing.image_shape
    return found.numpy()


def test_case_without_a_position_can_be_prepared_whole() -> None:
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None] * 100, (8, 8, 8)).copy()
    study = Study("S", "P", {"image": Volume(ramp, np.eye(4), "HU")}, lesions=(Lesion("whole"),))
    image = ImageConfig(
        region="whole", size=(4, 4, 4), spacing_mm=None, channels=(ChannelConfig(intensity=(0.0, 700.0)),)
    )
    np.testing.assert_allclose(prepare(study, image)[0, :, 0, 0] * 7, [0.5, 2.5, 4.5, 6.5], atol=1e-4)


def test_channels_come_from_their_sources_with_their_intensities_at_the_same_places() -> None:
    ramp = np.broadcast_to(np.arange(12.0)[:, None, None] * 10, (12, 12, 12)).copy()
    finer = np.broadcast_to(np.arange(24.0)[:, None, None] * 5 - 2.5, (24, 24, 24)).copy()
    half = np.diag([0.5, 0.5, 0.5, 1.0])
    half[:3, 3] = -0.25
    volumes = {"image": Volume(ramp, np.eye(4), "HU"), "fine": Volume(finer, half, "HU")}
    study = Study("S", "P", volumes, lesions=(Lesion("1", (6.0, 6.0, 6.0)),))
    image = ImageConfig(
        size=(4, 4, 4),
        spacing_mm=1.0,
        channels=(
            ChannelConfig(intensity=(0.0, 200.0)),
            ChannelConfig(intensity="brain"),
            ChannelConfig(source="fine", intensity=(0.0, 200.0)),
        ),
    )
    plain, brain, fine = prepare(study, image)
    np.testing.assert_allclose(plain[:, 0, 0] * 200, [45, 55, 65, 75], atol=2e-2)
    np.testing.assert_allclose(brain * 80, plain * 200, atol=2e-2)
    np.testing.assert_allclose(fine, plain, atol=1e-4)


def test_image_that_is_there_in_one_of_two_channels_only_is_refused_by_the_channel() -> None:
    study = Study("S", "P", {"image": Volume(np.zeros((4, 4, 4)), np.eye(4), "HU")}, lesions=(Lesion("1", (1, 1, 1)),))
    two = ImageConfig(size=(2, 2, 2), channels=(ChannelConfig(), ChannelConfig(source="pet")))
    with pytest.raises(DataError, match="no image of channel 'pet'"):
        prepare(study, two)
