from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medfuse.errors import GeometryError
from medfuse.io.dicom_geometry import LPS_TO_RAS, DuplicateSliceError, along_normal, directions, volume_affine
from medfuse.io.dicom_headers import SliceHeader


def header(position: object, **values: object) -> SliceHeader:
    base = {"ImageOrientationPatient": "1\\0\\0\\0\\1\\0", "PixelSpacing": "0.8\\0.7", "SliceThickness": "2"}
    place = position if isinstance(position, str) else "\\".join(f"{v:.12g}" for v in position)
    return SliceHeader(Path("x"), "", base | {"ImagePositionPatient": place} | {k: str(v) for k, v in values.items()})


@given(
    turn=st.integers(0, 10_000),
    origin=st.tuples(*[st.floats(-1000, 1000)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    shear=st.tuples(*[st.floats(-2, 2)] * 2),
    n=st.integers(2, 8),
    order=st.randoms(use_true_random=False),
)
def test_affine_puts_each_pixel_where_the_standard_does(turn, origin, spacing, shear, n, order) -> None:
    """PS3.3 C.7.6.2.1-1 for each slice, whatever the orientation, tilt and order of the files."""
    assume(abs(np.hypot(*shear) - 0.01) > 1e-4)  # where the warning starts
    row, column, normal = Rotation.random(random_state=turn).as_matrix()
    step = normal * spacing[2] + row * shear[0] + column * shear[1]
    slices = [
        header(
            np.array(origin) + k * step,
            ImageOrientationPatient="\\".join(f"{v:.15g}" for v in (*row, *column)),
            PixelSpacing=f"{spacing[0]:.15g}\\{spacing[1]:.15g}",
            K=k,
        )
        for k in range(n)
    ]
    order.shuffle(slices)
    ordered, affine, notes = volume_affine(slices, where="series")
    for index, item in enumerate(ordered):
        c, r = 5, 3
        point = item.numbers("ImagePositionPatient", 3, where="") + row * spacing[1] * c + column * spacing[0] * r
        assert np.allclose((affine @ [c, r, index, 1])[:3], LPS_TO_RAS[:3, :3] @ point, atol=1e-6)
    assert any("tilt" in text for text in notes) == (np.hypot(*shear) > 0.01)


@given(st.integers(4, 40), st.data())
def test_no_missing_slice_is_ever_bridged(n: int, data) -> None:
    gone = data.draw(st.integers(1, n - 2))
    slices = [header((0, 0, 1.25 * k)) for k in range(n) if k != gone]
    assume(len(slices) > 2)
    with pytest.raises(GeometryError, match=r"missing slices .* usually 1.250 mm|unevenly|a gap"):
        volume_affine(slices, where="series")


def test_positions_rounded_to_one_decimal_are_even_with_a_warning() -> None:
    slices = [header(f"0\\0\\{round(0.625 * k, 1)}") for k in range(33)]
    _, affine, notes = volume_affine(slices, where="series")
    assert affine[2, 2] == pytest.approx(0.625) and "rounded" in notes[0]


@pytest.mark.parametrize("zs", [[0, 5, 10, 15.3, 20], [0, 10, 20, 31], [0.0, 2.5, 5.0, 7.9, 10.0]])
def test_uneven_steps_are_refused(zs: list[float]) -> None:
    with pytest.raises(GeometryError, match=r"unevenly spaced|not on one line"):
        volume_affine([header((0, 0, z)) for z in zs], where="series")


def test_slices_at_one_position_are_told_from_uneven_ones() -> None:
    with pytest.raises(DuplicateSliceError, match="1 duplicate"):
        volume_affine([header((0, 0, z)) for z in (0, 2, 2.001, 4)], where="series")


@pytest.mark.parametrize(
    ("values", "step", "message"),
    [
        ({"SpacingBetweenSlices": 6.5, "SliceThickness": 5}, 6.5, "its SpacingBetweenSlices"),
        ({"SpacingBetweenSlices": 0, "SliceThickness": 5}, 5, "its SliceThickness"),
        ({"SliceThickness": ""}, 1, "stands for an unknown one"),
    ],
)
def test_single_slice_says_where_its_step_comes_from(values, step: float, message: str) -> None:
    _, affine, notes = volume_affine([header((1, 2, 3), **values)], where="series")
    assert (
        np.allclose(affine, [[-0.7, 0, 0, -1], [0, -0.8, 0, -2], [0, 0, step, 3], [0, 0, 0, 1]]) and message in notes[0]
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PixelSpacing": "0\\0"}, "PixelSpacing that is not above 0"),
        ({"PixelSpacing": "0.7"}, "invalid PixelSpacing"),
        ({"PixelSpacing": ""}, "no PixelSpacing"),
        ({"ImageOrientationPatient": "1\\0\\0\\1\\0\\0"}, "right angles"),
        ({"ImageOrientationPatient": "2\\0\\0\\0\\1\\0"}, "unit vectors"),
        ({"ImagePositionPatient": "nan\\0\\0"}, "invalid ImagePositionPatient"),
        ({"ImagePositionPatient": "unreadable"}, "invalid ImagePositionPatient"),
        ({"ImagePositionPatient": ""}, "no ImagePositionPatient"),
        ({"SliceThickness": "inf"}, "invalid SliceThickness"),
    ],
)
def test_absent_and_wrong_geometry_is_refused_by_name(values, message: str) -> None:
    item = header((0, 0, 0))
    with pytest.raises(GeometryError, match=message):
        volume_affine([SliceHeader(item.path, "", dict(item.values) | values)], where="series")


def test_directions_are_of_unit_length_however_they_were_rounded() -> None:
    row, column = directions(header((0, 0, 0), ImageOrientationPatient="1.0008\\0\\0\\0\\0.9994\\0"), "series")
    assert np.array_equal(row, [1, 0, 0]) and np.array_equal(column, [0, 1, 0])


@pytest.mark.parametrize("position", ["0\\0", "0\\0\\0\\0"])
def test_a_position_of_more_or_fewer_than_three_numbers_is_refused_by_name(position: str) -> None:
    with pytest.raises(GeometryError, match="invalid ImagePositionPatient"):
        along_normal([header(position), header(position)], where="series")


def test_a_single_slice_may_be_thinner_than_a_millimetre() -> None:
    _, affine, _ = volume_affine([header((0, 0, 0), SpacingBetweenSlices=0.5, SliceThickness=3)], where="series")
    assert affine[2, 2] == 0.5


def test_the_step_that_is_wrong_is_named_where_it_is_short() -> None:
    found = "unevenly spaced slices: a step of 1.500 mm between slices 3 and 4 of 6, usually 2.500 mm"
    with pytest.raises(GeometryError, match=found):
        volume_affine([header((0, 0, z)) for z in (0, 2.5, 5, 6.5, 9, 11.5)], where="series")


def test_slices_that_leave_their_line_at_even_steps_are_told_from_uneven_ones() -> None:
    with pytest.raises(GeometryError, match="not on one line"):
        volume_affine([header((x, 0, 2.5 * k)) for k, x in enumerate((0, 3, 0, 3, 0))], where="series")


@pytest.mark.parametrize(
    "zs", [("0", "2.5", "5.1e0", "7.5", "10"), ("0.00", "1.05", "2.00", "3.00", "4.00")], ids=["exponent", "hundredths"]
)
def test_unevenness_beyond_the_last_decimal_written_is_no_rounding(zs: tuple[str, ...]) -> None:
    with pytest.raises(GeometryError, match="unevenly spaced"):
        volume_affine([header(f"0\\0\\{z}") for z in zs], where="series")
