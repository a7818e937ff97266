from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from medfuse.errors import GeometryError, PixelError
from medfuse.io import SeriesIdentity, read_volume, write_dicom_series
from medfuse.types import Volume

IDENTITY = SeriesIdentity(
    patient_id="Ann", study_uid="2.25.1", series_uid="2.25.2", frame_of_reference_uid="2.25.3", study_date="20200131"
)


@given(
    voxels=arrays(
        np.int16, st.tuples(*[st.integers(1, 5)] * 2, st.integers(2, 4)), elements=st.integers(-32768, 32767)
    ),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    turn=st.integers(0, 10_000),
    origin=st.tuples(*[st.floats(-1000, 1000)] * 3),
    flip=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_round_trip_keeps_values_and_space(
    tmp_path_factory: pytest.TempPathFactory, voxels: np.ndarray, spacing, turn: int, origin, flip: bool
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(rng=turn).as_matrix() * spacing
    affine[:3, 2] *= -1 if flip else 1
    affine[:3, 3] = origin
    folder = tmp_path_factory.mktemp("series")
    write_dicom_series(Volume(voxels, affine, "HU"), folder, identity=IDENTITY)
    back = read_volume(folder)
    if flip:  # slices come back along the normal of (I, J): the same space, K reversed
        last = np.eye(4)
        last[2, 2], last[2, 3] = -1, voxels.shape[2] - 1
        voxels, affine = voxels[:, :, ::-1], affine @ last
    assert back.voxels.dtype == np.int16 and np.array_equal(back.voxels, voxels)
    assert np.abs(back.affine - affine).max() < 1e-4
    assert back.unit == "HU"
    shutil.rmtree(folder)


def test_rerun_is_byte_identical_and_files_are_numbered(tmp_path: Path, volume: Volume) -> None:
    first = write_dicom_series(volume, tmp_path / "a", identity=IDENTITY)
    second = write_dicom_series(volume, tmp_path / "b", identity=IDENTITY)
    assert [p.name for p in first] == ["0001.dcm", "0002.dcm", "0003.dcm", "0004.dcm", "0005.dcm"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    uids = {pydicom.dcmread(p).SOPInstanceUID for p in first}
    assert len(uids) == 5 and all(uid.is_valid and uid.startswith("2.25.") for uid in uids)


def test_pydicom_reads_the_same_hu(tmp_path: Path, volume: Volume) -> None:
    path = write_dicom_series(volume, tmp_path, identity=IDENTITY)[2]
    dataset = pydicom.dcmread(path)
    hu = dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept
    assert np.array_equal(hu, volume.voxels[:, :, 2].T)
    assert all(len(str(v)) <= 16 for v in [*dataset.ImagePositionPatient, *dataset.ImageOrientationPatient])


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(tmp_path: Path, volume: Volume) -> None:
    for path in write_dicom_series(volume, tmp_path, identity=IDENTITY):
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "CTImage" in done.stderr and "Error" not in done.stderr


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (np.full((2, 2, 2), 0.5, np.float32), "not whole"),
        (np.full((2, 2, 2), 40000, np.int32), "int16 cannot hold"),
        (np.full((2, 2, 2), np.nan, np.float32), "int16 cannot hold"),
    ],
)
def test_values_that_would_change_are_refused(tmp_path: Path, voxels: np.ndarray, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        write_dicom_series(Volume(voxels, np.eye(4)), tmp_path, identity=IDENTITY)
    assert list(tmp_path.iterdir()) == []


def test_skewed_plane_is_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.2
    with pytest.raises(GeometryError, match="right angles"):
        write_dicom_series(Volume(np.zeros((2, 2, 2), np.int16), affine), tmp_path, identity=IDENTITY)


def test_identity_is_not_shown() -> None:
    assert "Ann" not in repr(IDENTITY) and "2.25" not in repr(IDENTITY)
