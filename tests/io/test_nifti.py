from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medfuse.errors import GeometryError, PixelError, VolumeError
from medfuse.io.nifti import nifti_geometry, read_nifti, write_nifti
from medfuse.types import Volume

AFFINE = np.array([[0.0, -0.8, 0, 3], [0.7, 0, 0, 4], [0, 0, 2.5, 5], [0, 0, 0, 1]])


def save(path: Path, voxels: np.ndarray, sform: np.ndarray | None = AFFINE, qform: np.ndarray | None = AFFINE) -> Path:
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    image.set_sform(sform, code="scanner" if sform is not None else "unknown")
    image.set_qform(qform, code="scanner" if qform is not None else "unknown")
    nibabel.save(image, path)
    return path


@given(
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.float32]),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    turn=st.integers(0, 1000),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    flip=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_round_trip_keeps_values_type_and_affine(
    tmp_path_factory: pytest.TempPathFactory, dtype: type, spacing, turn: int, origin, flip: bool
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(rng=turn).as_matrix() * spacing
    affine[:3, 2] *= -1 if flip else 1
    affine[:3, 3] = origin
    voxels = np.random.default_rng(turn).integers(0, 200, (4, 3, 2)).astype(dtype)
    path = tmp_path_factory.mktemp("nifti") / "v.nii.gz"
    write_nifti(Volume(voxels, affine), path)
    back = read_nifti(path)
    assert back.voxels.dtype == dtype and np.array_equal(back.voxels, voxels)
    assert np.abs(back.affine - affine).max() < 1e-3 and back.warnings == ()
    assert np.abs(nibabel.load(path).get_qform() - affine).max() < 2e-3
    assert nifti_geometry(path)[0] == (4, 3, 2)


def test_equal_volumes_are_equal_files_and_nothing_else_is_left(tmp_path: Path) -> None:
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(volume, tmp_path / "new" / name)
    assert (tmp_path / "new/a.nii.gz").read_bytes() == (tmp_path / "new/b.nii.gz").read_bytes()
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_sheared_affine_is_kept_as_sform_alone(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[0, 2] = 0.5
    write_nifti(Volume(np.ones((2, 2, 2), np.float32), sheared), tmp_path / "v.nii")
    assert np.allclose(read_nifti(tmp_path / "v.nii").affine, sheared)
    assert nibabel.load(tmp_path / "v.nii").header["qform_code"] == 0


def test_unit_is_hu_only_when_told(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", np.ones((2, 2, 2), np.int16))
    assert read_nifti(path).unit == "arbitrary" and read_nifti(path, unit="HU").unit == "HU"


def test_scaling_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), AFFINE)
    image.header.set_slope_inter(0.5, -10)
    nibabel.save(image, tmp_path / "v.nii")
    raw = np.asarray(nibabel.load(tmp_path / "v.nii").dataobj)
    assert np.allclose(read_nifti(tmp_path / "v.nii").voxels, raw)


def test_sform_wins_with_a_warning_if_qform_disagrees(tmp_path: Path) -> None:
    other = AFFINE.copy()
    other[0, 3] += 0.01
    volume = read_nifti(save(tmp_path / "v.nii", np.ones((2, 2, 2), np.int16), AFFINE, other))
    assert np.allclose(volume.affine, AFFINE) and "disagree" in volume.warnings[0]


def test_qform_is_used_alone(tmp_path: Path) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", np.ones((2, 2, 2), np.int16), None, AFFINE))
    assert np.allclose(volume.affine, AFFINE, atol=1e-5) and volume.warnings == ()


def test_no_form_at_all_is_said(tmp_path: Path) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", np.ones((2, 2, 2), np.int16), None, None))
    assert "unknown" in volume.warnings[0]


@pytest.mark.parametrize(
    ("voxels", "error", "message"),
    [
        (np.ones((2, 2, 2, 3), np.int16), VolumeError, "4 dimensions"),
        (np.ones((2, 2, 2), np.complex64), PixelError, "complex"),
        (np.full((2, 2, 2), np.nan, np.float32), PixelError, "NaN"),
        (np.full((2, 2, 2), 1e300, np.float64), PixelError, "infinite"),
    ],
)
def test_what_is_no_real_3d_volume_is_refused_by_name(tmp_path: Path, voxels, error, message: str) -> None:
    with pytest.raises(error, match=message):
        read_nifti(save(tmp_path / "v.nii", voxels))


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_singular_or_nan_affine_is_refused(tmp_path: Path, value: float) -> None:
    path = save(tmp_path / "v.nii", np.ones((2, 2, 2), np.int16), AFFINE, None)
    data = bytearray(path.read_bytes())
    for start in (280, 296, 312):  # the first column of srow_x, srow_y, srow_z
        data[start : start + 4] = np.float32(value).tobytes()
    path.write_bytes(data)
    with pytest.raises(GeometryError, match="affine"):
        read_nifti(path)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VolumeError, match="truncated"):
        read_nifti(path)


def test_header_that_claims_more_than_the_file_can_hold_is_refused_before_reading(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", np.ones((2, 2, 2), np.int16))
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([32767] * 3, "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="its header claims"):
        read_nifti(path)


@pytest.mark.parametrize("content", [b"", b"no image at all" * 100])
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.nii").write_bytes(content)
    with pytest.raises(VolumeError):
        read_nifti(tmp_path / "v.nii")


def test_zero_pixdim_is_refused_not_mended(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "v.nii", np.ones((2, 2, 2), np.int16), None, AFFINE)
    data = bytearray(path.read_bytes())
    data[80:92] = bytes(12)
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="pixdim"):
        read_nifti(path)
    assert capfd.readouterr() == ("", "")
