from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medfuse.errors import LesionPositionError
from medfuse.io.dicom_rtstruct import read_rtstruct_lesions

Write = Callable[..., Path]
RAS = np.array([-1.0, -1.0, 1.0])


def circle(centre: tuple[float, float, float], radius: float, n: int = 72) -> np.ndarray:
    angles = np.arange(n) * 2 * np.pi / n
    return np.array(centre) + radius * np.c_[np.cos(angles), np.sin(angles), np.zeros(n)]


def square(x: float, y: float, edge: float, z: float = 0.0) -> np.ndarray:
    return np.array([[x, y, z], [x + edge, y, z], [x + edge, y + edge, z], [x, y + edge, z]])


@given(seed=st.integers(0, 999), centre=st.tuples(*[st.floats(-300, 300)] * 3), radius=st.floats(2, 30))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_centre_of_a_ball_drawn_on_any_plane(tmp_path: Path, write_rtstruct: Write, seed: int, centre, radius) -> None:
    turn, rng = Rotation.random(rng=seed).as_matrix(), np.random.default_rng(seed)
    contours = []
    for z in np.linspace(-0.9, 0.9, 13) * radius:
        points = circle((0, 0, z), float(np.sqrt(radius**2 - z**2)))
        points = np.roll(points if rng.random() < 0.5 else points[::-1], rng.integers(72), axis=0)
        contours.append(("CLOSED_PLANAR", points @ turn.T + centre))
    (lesion,) = read_rtstruct_lesions(write_rtstruct(tmp_path / "rs.dcm", [contours]))
    assert np.abs(np.array(lesion.centre) - np.array(centre) * RAS).max() < 1e-3
    assert lesion.diameter_mm == pytest.approx(2 * radius, rel=0.01)
    assert lesion.series_uids == ("2.25.11",) and lesion.frame_of_reference_uid == "2.25.199"


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_contour_within_another_is_a_hole(tmp_path: Path, write_rtstruct: Write, kind: str) -> None:
    contours = [(kind, square(0, 0, 10)), (kind, square(6, 4, 2)), (kind, square(6.5, 4.5, 1))]
    (lesion,) = read_rtstruct_lesions(write_rtstruct(tmp_path / "rs.dcm", [contours]))
    area = 100 - 4 + 1
    wanted = ((5 * 100 - 7 * 4 + 7 * 1) / area, (5 * 100 - 5 * 4 + 5 * 1) / area, 0.0)
    assert np.allclose(lesion.centre, np.array(wanted) * RAS)


def test_contours_of_another_plane_are_no_holes(tmp_path: Path, write_rtstruct: Write) -> None:
    contours = [("CLOSED_PLANAR", square(0, 0, 10)), ("CLOSED_PLANAR", square(4, 4, 5, z=2))]
    (lesion,) = read_rtstruct_lesions(write_rtstruct(tmp_path / "rs.dcm", [contours]))
    assert lesion.centre[2] == pytest.approx(2 * 25 / 125)


def test_keyhole_contour_keeps_its_hole(tmp_path: Path, write_rtstruct: Write) -> None:
    outer, inner = square(0, 0, 10), square(6, 4, 2)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    (lesion,) = read_rtstruct_lesions(write_rtstruct(tmp_path / "rs.dcm", [[("CLOSED_PLANAR", keyhole)]]))
    assert np.allclose(lesion.centre, np.array([(500 - 28) / 96, (500 - 20) / 96, 0]) * RAS)


def test_point_is_its_own_centre(tmp_path: Path, write_rtstruct: Write) -> None:
    (lesion,) = read_rtstruct_lesions(write_rtstruct(tmp_path / "rs.dcm", [[("POINT", [[1.0, 2.0, 3.0]])]]))
    assert lesion.centre == (-1.0, -2.0, 3.0) and lesion.diameter_mm is None and lesion.mask is None


@pytest.mark.parametrize(
    ("types", "found"), [(["ORGAN", "", "EXTERNAL"], ["2"]), (["", "GTV", "PTV"], ["2"]), (["ORGAN"] * 3, [])]
)
def test_lesions_are_told_from_organs_by_type(tmp_path: Path, write_rtstruct: Write, types, found) -> None:
    rois = [[("CLOSED_PLANAR", square(10 * n, 0, 5))] for n in range(3)]
    lesions = read_rtstruct_lesions(write_rtstruct(tmp_path / "rs.dcm", rois, types=types))
    assert [lesion.lesion_id for lesion in lesions] == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ROIContourSequence": None}, "malformed structure set"),
        ({"StructureSetROISequence": None}, "malformed structure set"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "another SOP class"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    tmp_path: Path, write_rtstruct: Write, change: Callable[..., None], values: dict[str, object], message: str
) -> None:
    path = write_rtstruct(tmp_path / "rs.dcm", [[("CLOSED_PLANAR", square(0, 0, 5))]])
    change(path, **values)
    with pytest.raises(LesionPositionError, match=message):
        read_rtstruct_lesions(path)


def test_object_of_endless_items_is_refused_before_they_are_made(tmp_path: Path, write_rtstruct: Write) -> None:
    path = write_rtstruct(tmp_path / "rs.dcm", [[("CLOSED_PLANAR", square(0, 0, 5))]])
    sequence = b"\x06\x30\x99\x00SQ\0\0" + (8 * 400_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes() + sequence + b"\xfe\xff\x00\xe0\0\0\0\0" * 400_000)
    with pytest.raises(LesionPositionError, match="too large"):
        read_rtstruct_lesions(path)
