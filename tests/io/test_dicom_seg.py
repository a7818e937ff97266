from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import RLELossless
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from medfuse.errors import LesionPositionError
from medfuse.io.dicom_seg import read_seg_lesions

Write = Callable[..., Path]


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    grid = np.moveaxis(np.indices(shape), 0, -1)
    return np.linalg.norm(grid - centre, axis=-1) <= radius


def turned(seed: int) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(rng=seed).as_matrix() * (0.7, 0.7, 1.25)
    affine[:3, 3] = (-100.0, 30.0, 250.0)
    return affine


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
@given(seed=st.integers(0, 999), shape=st.tuples(*[st.integers(7, 13)] * 3))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_centre_and_mask_are_those_of_the_voxels(tmp_path: Path, write_seg: Write, kind: str, seed: int, shape) -> None:
    mask, affine = np.random.default_rng(seed).random(shape) > 0.9, turned(seed)
    mask[2, 3, 4] = True
    (lesion,) = read_seg_lesions(write_seg(tmp_path / "seg.dcm", [mask], affine=affine, kind=kind))
    centre = (affine @ [*center_of_mass(mask), 1.0])[:3]
    assert np.abs(centre - lesion.centre).max() < 1e-3
    assert lesion.mask is not None and lesion.mask.voxels.sum() == mask.sum()
    back = (np.linalg.inv(affine) @ lesion.mask.affine @ np.c_[np.argwhere(lesion.mask.voxels), np.ones(mask.sum())].T)[
        :3
    ]
    assert {tuple(v) for v in back.T.round().astype(int)} == {tuple(v) for v in np.argwhere(mask)}


def test_diameter_is_that_of_the_widest_plane(tmp_path: Path, write_seg: Write) -> None:
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    mask = ball((61, 61, 9), (30, 30, 4), 20)
    (lesion,) = read_seg_lesions(write_seg(tmp_path / "seg.dcm", [mask], affine=affine))
    assert lesion.diameter_mm == pytest.approx(20.0, abs=1.0)
    assert (lesion.lesion_id, lesion.series_uids) == ("1", ("2.25.11",))
    assert "2.25" not in repr(lesion)


def test_each_segment_is_a_lesion_but_for_organs(tmp_path: Path, write_seg: Write) -> None:
    masks = [ball((20, 20, 9), (5, 5, 4), 2), np.ones((20, 20, 9), bool), ball((20, 20, 9), (14, 13, 3), 2)]
    path = write_seg(tmp_path / "seg.dcm", masks, categories=["49755003", "123037004", "85756007"])
    assert [lesion.lesion_id for lesion in read_seg_lesions(path)] == ["1", "3"]


def test_segments_of_organs_alone_are_no_lesion(tmp_path: Path, write_seg: Write) -> None:
    path = write_seg(tmp_path / "seg.dcm", [np.ones((4, 4, 2), bool)], categories=["T-D000A"])
    assert read_seg_lesions(path) == []


def test_label_map_holds_several_segments_a_frame(
    tmp_path: Path, write_seg: Write, change: Callable[..., None]
) -> None:
    labels = np.zeros((8, 8, 3))
    labels[1:3, 1:3], labels[5, 6] = 1, 2
    path = write_seg(tmp_path / "seg.dcm", [labels, np.zeros((8, 8, 3))], affine=np.eye(4), kind="LABELMAP")
    change(path, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.7")
    assert [lesion.centre for lesion in read_seg_lesions(path)] == [(1.5, 1.5, 1.0), (5.0, 6.0, 1.0)]


def test_compressed_fractions_are_decoded(tmp_path: Path, write_seg: Write) -> None:
    mask = ball((20, 18, 5), (9, 8, 2), 3)
    path = write_seg(tmp_path / "seg.dcm", [mask], kind="FRACTIONAL")
    (plain,) = read_seg_lesions(path)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    (decoded,) = read_seg_lesions(path)
    assert decoded.centre == plain.centre and decoded.mask.voxels.sum() == mask.sum()


def test_half_is_present_and_less_is_not(tmp_path: Path, write_seg: Write) -> None:
    shares = np.zeros((6, 6, 2))
    shares[1, 1, 0], shares[4, 4, 1] = 0.5, 0.49
    (lesion,) = read_seg_lesions(write_seg(tmp_path / "seg.dcm", [shares], affine=np.eye(4), kind="FRACTIONAL"))
    assert lesion.centre == (1.0, 1.0, 0.0)


def test_frames_on_uneven_planes_give_a_centre_but_no_mask(
    tmp_path: Path, write_seg: Write, change: Callable[..., None]
) -> None:
    path = write_seg(tmp_path / "seg.dcm", [np.ones((3, 3, 4), bool)], affine=np.eye(4))
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient = [-0.0, 0.0, 4.6]
    dataset.save_as(path)
    (lesion,) = read_seg_lesions(path)
    assert lesion.mask is None and lesion.centre[2] == pytest.approx((0 + 1 + 2 + 4.6) / 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PixelData": b"\0\0"}, "truncated PixelData"),
        ({"SegmentationType": "SURFACE"}, "SegmentationType 'SURFACE'"),
        ({"PerFrameFunctionalGroupsSequence": None}, "malformed segmentation"),
        ({"SharedFunctionalGroupsSequence": None}, "found no PlaneOrientationSequence"),
        ({"SegmentSequence": None}, "malformed segmentation"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "another SOP class"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    tmp_path: Path, write_seg: Write, change: Callable[..., None], values: dict[str, object], message: str
) -> None:
    path = write_seg(tmp_path / "seg.dcm", [np.ones((30, 30, 4), bool)])
    change(path, **values)
    with pytest.raises(LesionPositionError, match=message):
        read_seg_lesions(path)


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "seg.dcm").write_bytes(b"no DICOM" * 99)
    with pytest.raises(LesionPositionError, match=r"another SOP class|cannot be read"):
        read_seg_lesions(tmp_path / "seg.dcm")
