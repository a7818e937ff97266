from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import AmbiguousVolumeError, PixelError, VolumeError
from medfuse.io import read_volume, read_volumes, write_nifti
from medfuse.io.volumes import crop
from medfuse.types import Volume


def test_two_series_are_ambiguous_until_one_is_chosen(tmp_path: Path, write_series, volume: Volume) -> None:
    write_series(tmp_path / "a", series=1)
    write_series(tmp_path / "b", series=2)
    with pytest.raises(AmbiguousVolumeError, match=r"CT volume of 5 images of 7 x 6; a CT volume") as caught:
        read_volume(tmp_path)
    assert "2.25" not in str(caught.value)
    assert np.array_equal(read_volume(tmp_path, series_uid="2.25.12").voxels, volume.voxels)
    with pytest.raises(VolumeError, match="no such series"):
        read_volume(tmp_path, series_uid="2.25.77")


def test_folder_gives_series_then_nifti_and_ignores_the_rest(tmp_path: Path, write_series, volume: Volume) -> None:
    write_series(tmp_path / "dicom")
    write_nifti(volume, tmp_path / "v.nii.gz")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "folder.dcm").mkdir()
    os.mkfifo(tmp_path / "pipe.dcm")
    assert [v.unit for v in read_volumes(tmp_path)] == ["HU", "arbitrary"]


def test_the_volume_that_cannot_be_read_is_named_by_its_number(tmp_path: Path, write_series) -> None:
    write_series(tmp_path / "a")
    path = sorted((tmp_path / "a").iterdir())[-1]
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(PixelError, match="volume 1"):
        read_volumes(tmp_path)


def test_localizer_series_is_set_aside(tmp_path: Path, write_series, change) -> None:
    write_series(tmp_path / "a")
    for path in write_series(tmp_path / "scout", series=2):
        change(path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (volume,) = read_volumes(tmp_path)
    assert "set aside: 1 series of a localizer" in volume.warnings[0]
    with pytest.raises(VolumeError, match="a localizer"):
        read_volumes(tmp_path / "scout")


@pytest.mark.parametrize("name", ["absent", ".", "notes.txt"])
def test_no_image_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("no image here, only words")
    with pytest.raises(VolumeError, match=r"no image|no such file"):
        read_volume(tmp_path / name)


def test_box_gives_the_voxels_of_the_whole(tmp_path: Path, write_series) -> None:
    write_series(tmp_path)
    whole = read_volume(tmp_path)
    low, high = (whole.affine @ [1, 2, 1, 1])[:3], (whole.affine @ [4, 3, 3, 1])[:3]
    part = read_volume(tmp_path, box_mm=(tuple(low), tuple(high)))
    assert np.array_equal(part.voxels, whole.voxels[1:5, 2:4, 1:4]) and part.unit == "HU"


@given(
    corners=st.lists(st.tuples(*[st.floats(-3, 12)] * 3), min_size=2, max_size=2),
    turn=st.integers(0, 99),
)
def test_crop_keeps_each_voxel_where_it_was_and_covers_the_box(corners, turn: int) -> None:
    rng = np.random.default_rng(turn)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, 3)
    whole = Volume(np.arange(8 * 9 * 10).reshape(8, 9, 10), affine)
    try:
        part = crop(whole, tuple(corners))
    except VolumeError:
        return
    offset = np.linalg.solve(affine, part.affine)[:3, 3].round(6)
    assert np.array_equal(offset, offset.astype(int))
    i, j, k = offset.astype(int)
    a, b, c = part.voxels.shape
    assert np.array_equal(part.voxels, whole.voxels[i : i + a, j : j + b, k : k + c])
    inside = np.linalg.inv(affine) @ np.array([*np.mean(corners, axis=0), 1])
    if np.all(inside[:3] >= 0) and np.all(inside[:3] <= np.array(whole.voxels.shape) - 1):
        local = np.linalg.inv(part.affine) @ np.array([*np.mean(corners, axis=0), 1])
        assert np.all(local[:3] >= -1e-5) and np.all(local[:3] <= np.array(part.voxels.shape) - 1 + 1e-5)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_series_in_a_zip_or_tar_is_read_in_place(tmp_path: Path, write_series, kind: str) -> None:
    write_series(tmp_path / "study" / "dicom")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path / "study"))
    whole = read_volume(tmp_path / "study")
    assert np.array_equal(read_volume(packed).voxels, whole.voxels)
    box = ((whole.affine @ [1, 2, 1, 1])[:3], (whole.affine @ [4, 3, 3, 1])[:3])
    assert np.array_equal(read_volume(packed, box_mm=box).voxels, whole.voxels[1:5, 2:4, 1:4])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["study", packed.name])


def test_refusal_says_which_file_without_its_name(tmp_path: Path, write_series) -> None:
    paths = write_series(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-20])
    paths[2].rename(tmp_path / "SMITH_JOHN.dcm")
    with pytest.raises(VolumeError, match=r"slice 3 of 5 \(DICOM file 5 of 5 by name\): .*truncated") as caught:
        read_volume(tmp_path)
    assert "SMITH" not in str(caught.value)


def test_box_outside_is_refused() -> None:
    with pytest.raises(VolumeError, match="outside"):
        crop(Volume(np.zeros((2, 2, 2)), np.eye(4)), ((5, 5, 5), (6, 6, 6)))


def test_link_that_leaves_the_folder_is_refused(tmp_path: Path, write_series) -> None:
    write_series(tmp_path / "other")
    write_series(tmp_path / "study")
    (tmp_path / "study" / "link.dcm").symlink_to(tmp_path / "other" / "0001.dcm")
    with pytest.raises(VolumeError, match="leaves the folder"):
        read_volume(tmp_path / "study")
