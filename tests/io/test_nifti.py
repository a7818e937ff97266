from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medfuse.errors import AmbiguousVolumeError, GeometryError, PixelError, VolumeError
from medfuse.io.nifti import is_nifti, nifti_geometry, read_nifti, read_nifti_volumes
from medfuse.io.nifti_writer import write_nifti
from medfuse.io.volumes import crop
from medfuse.types import Volume

SOME = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
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
    write_nifti(Volume(SOME, sheared), tmp_path / "v.nii")
    volume = read_nifti(tmp_path / "v.nii")
    assert np.allclose(volume.affine, sheared)
    assert volume.warnings == ("the affine is sheared: its axes are not at right angles",)
    assert nibabel.load(tmp_path / "v.nii").header["qform_code"] == 0


def test_unit_is_hu_only_when_told(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", SOME)
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
    volume = read_nifti(save(tmp_path / "v.nii", SOME, AFFINE, other))
    assert np.allclose(volume.affine, AFFINE) and "disagree" in volume.warnings[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_forms_are_compared_to_the_far_end_of_each_axis(tmp_path: Path, axis: int) -> None:
    other = AFFINE.copy()
    other[:, axis] *= 1.1
    volume = read_nifti(save(tmp_path / "v.nii", SOME, AFFINE, other))
    length = np.linalg.norm(AFFINE[:3, axis])
    assert volume.warnings == (f"sform and qform disagree by up to {0.1 * length:.3g} mm; the sform is used",)


def test_qform_is_used_alone(tmp_path: Path) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", SOME, None, AFFINE))
    assert np.allclose(volume.affine, AFFINE, atol=1e-5) and volume.warnings == ()


def test_no_form_at_all_is_said(tmp_path: Path) -> None:
    volume = read_nifti(save(tmp_path / "v.nii", SOME, None, None))
    assert "unknown" in volume.warnings[0]


@pytest.mark.parametrize(
    ("voxels", "error", "message"),
    [
        (np.ones((2, 2, 2, 3), np.int16), VolumeError, "4D image of 3 volumes"),
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
    path = save(tmp_path / "v.nii", SOME, AFFINE, None)
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
    path = save(tmp_path / "v.nii", SOME)
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([32767] * 3, "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="its header claims"):
        read_nifti(path)


def patched(path: Path, **fields: object) -> Path:
    """Set header fields of a NIfTI-1 file by their names in the standard."""
    data = bytearray(path.read_bytes())
    header = np.frombuffer(data, dtype=nibabel.Nifti1Header.template_dtype, count=1)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"dim": [3, -2, 2, 2, 1, 1, 1, 1]}, VolumeError, "invalid dim: a size that is negative"),
        ({"dim": [9, 2, 2, 2, 1, 1, 1, 1]}, VolumeError, "invalid dim"),
        ({"dim": [2, 2, 4, 1, 1, 1, 1, 1]}, VolumeError, "found 2 dimensions"),
        ({"datatype": 128}, PixelError, "RGB colour"),
        ({"datatype": 77}, PixelError, "unknown data type"),
        ({"datatype": 1}, PixelError, "bits"),
        ({"vox_offset": 10}, VolumeError, "vox_offset"),
        ({"vox_offset": 3e30}, VolumeError, "vox_offset"),
        ({"vox_offset": np.nan}, VolumeError, "vox_offset"),
        ({"vox_offset": 4000}, VolumeError, "truncated"),
        ({"scl_slope": 2, "scl_inter": np.inf}, PixelError, "scl_inter"),
        ({"sform_code": 77}, GeometryError, "sform_code"),
        ({"sform_code": -1}, GeometryError, "sform_code"),
        ({"qform_code": -1}, GeometryError, "qform_code"),
        ({"xyzt_units": 5}, GeometryError, "spatial unit"),
        ({"xyzt_units": 1}, GeometryError, "above 100 mm by its unit"),
        ({"magic": b""}, VolumeError, "Analyze"),
        ({"sform_code": 0, "quatern_b": 3}, GeometryError, "invalid qform"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": -1}, GeometryError, "pixdim"),
    ],
)
def test_wrong_header_field_is_refused_by_name(tmp_path: Path, fields, error, message: str) -> None:
    path = patched(save(tmp_path / "v.nii", SOME), **fields)
    with pytest.raises(error, match=message):
        read_nifti(path)


@pytest.mark.parametrize(("code", "kind"), [(3001, "CIFTI matrix"), (3006, "CIFTI matrix"), (1009, "triangles")])
def test_what_is_stored_as_nifti_but_is_no_image_is_refused_by_name(tmp_path: Path, code: int, kind: str) -> None:
    path = patched(save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.float32)), intent_code=code)
    with pytest.raises(VolumeError, match=f"{kind}.*intent_code {code}"):
        read_nifti(path)


@pytest.mark.parametrize(("code", "mm"), [(0, 1.0), (2, 1.0), (3, 0.001)])
def test_affine_is_in_mm_whatever_the_unit(tmp_path: Path, code: int, mm: float) -> None:
    path = save(tmp_path / "v.nii", SOME, np.diag([400.0, 400, 500, 1]), None)
    volume = read_nifti(patched(path, xyzt_units=code))
    assert np.allclose(volume.spacing_mm, np.array([400, 400, 500]) * mm)
    assert bool(volume.warnings) == (code == 3)


def test_metres_are_scaled_with_a_warning(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", SOME, np.diag([7e-4, 7e-4, 2e-3, 1]), None)
    volume = read_nifti(patched(path, xyzt_units=1))
    assert np.allclose(volume.affine, np.diag([0.7, 0.7, 2, 1])) and "metre" in volume.warnings[0]


def test_invalid_qform_beside_an_sform_is_said(tmp_path: Path) -> None:
    volume = read_nifti(patched(save(tmp_path / "v.nii", SOME), quatern_b=3))
    assert np.allclose(volume.affine, AFFINE) and volume.warnings == ("its qform is invalid; the sform is used",)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_pair_of_hdr_and_img_is_read(tmp_path: Path, kind, end: str) -> None:
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(kind(voxels, AFFINE), tmp_path / f"v.img{end}")
    header = tmp_path / f"v.hdr{end}"
    assert is_nifti(header) and not is_nifti(tmp_path / f"v.img{end}")
    assert np.array_equal(read_nifti(header).voxels, voxels)
    (tmp_path / f"v.img{end}").unlink()
    with pytest.raises(VolumeError, match=r"no \.img beside its \.hdr"):
        read_nifti(header)


def test_hdr_of_another_kind_is_no_nifti(tmp_path: Path) -> None:
    (tmp_path / "v.hdr").write_text("ENVI description = {}")
    assert not is_nifti(tmp_path / "v.hdr")


def test_nifti_2_is_read(tmp_path: Path) -> None:
    voxels = np.arange(24, dtype=np.int64).reshape(2, 3, 4) * 2**40
    nibabel.save(nibabel.Nifti2Image(voxels, AFFINE, dtype=np.int64), tmp_path / "v.nii")
    volume = read_nifti(tmp_path / "v.nii")
    assert np.array_equal(volume.voxels, voxels) and np.allclose(volume.affine, AFFINE)


def test_big_endian_file_is_read(tmp_path: Path) -> None:
    voxels = np.arange(24, dtype=">f4").reshape(2, 3, 4)
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE, header), tmp_path / "v.nii")
    assert (tmp_path / "v.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    assert np.array_equal(read_nifti(tmp_path / "v.nii").voxels, voxels)


def test_4d_file_is_a_volume_a_time_point(tmp_path: Path) -> None:
    voxels = np.arange(2 * 3 * 4 * 2 * 3, dtype=np.int16).reshape(2, 3, 4, 2, 3)
    path = save(tmp_path / "v.nii.gz", voxels)
    parts = read_nifti_volumes(path)
    assert len(parts) == 6 and np.array_equal(parts[3].voxels, voxels[..., 1, 1])
    assert np.array_equal(read_nifti(path, time_point=3).voxels, voxels[..., 1, 1])
    with pytest.raises(VolumeError, match="found 6 of 6"):
        read_nifti(path, time_point=6)
    with pytest.raises(AmbiguousVolumeError, match="4D"):
        nifti_geometry(path)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
@given(low=st.tuples(*[st.floats(-20, 40)] * 3), size=st.floats(0, 30), turn=st.integers(0, 99), scaled=st.booleans())
@settings(max_examples=25, deadline=None)
def test_box_is_what_a_crop_of_the_whole_gives(
    tmp_path_factory: pytest.TempPathFactory, name: str, low, size: float, turn: int, scaled: bool
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(rng=turn).as_matrix() * (0.7, 1.1, 2.5)
    image = nibabel.Nifti1Image(np.arange(20 * 18 * 9, dtype=np.int16).reshape(20, 18, 9), affine)
    if scaled:
        image.header.set_slope_inter(0.5, -3)
    path = tmp_path_factory.mktemp("box") / name
    nibabel.save(image, path)
    box = (low, tuple(v + size for v in low))
    whole = read_nifti(path)
    try:
        wanted = crop(whole, box)
    except VolumeError:
        with pytest.raises(VolumeError, match="outside"):
            read_nifti(path, box_mm=box)
        return
    part = read_nifti(path, box_mm=box)
    assert part.voxels.dtype == wanted.voxels.dtype and np.array_equal(part.voxels, wanted.voxels)
    assert np.allclose(part.affine, wanted.affine)


@given(
    slope=st.floats(2**-20, 2**20, width=32),
    intercept=st.floats(-(2**20), 2**20, width=32),
    dtype=st.sampled_from([np.uint8, np.int16, np.int32]),
)
@settings(max_examples=40, deadline=None)
def test_scaling_is_exact_to_the_last_bit_of_float32(
    tmp_path_factory: pytest.TempPathFactory, slope: float, intercept: float, dtype: type
) -> None:
    stored = np.random.default_rng(1).integers(0, 255, (3, 3, 3)).astype(dtype)
    path = save(tmp_path_factory.mktemp("scl") / "v.nii", stored)
    path = patched(path, scl_slope=slope, scl_inter=intercept)
    exact = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    assert np.array_equal(read_nifti(path).voxels, exact)


@pytest.mark.parametrize(
    ("angles", "spacing"),
    [((180.02, 0.03, 0.01), 0.7), ((179.97, 31.0, 0.02), (0.7, 0.9, 2.5))],
    ids=["even", "uneven"],
)
def test_forms_that_differ_only_by_float32_quaternions_are_no_warning(tmp_path: Path, angles, spacing) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() * spacing
    path = tmp_path / "v.nii"
    write_nifti(Volume(np.indices((512, 512, 2))[2].astype(np.int8), affine), path)
    stored = nibabel.load(path)
    assert np.abs((stored.get_qform() - stored.get_sform()) @ [511, 511, 1, 1]).max() > 1e-3
    assert read_nifti(path).warnings == ()


def test_nan_voxels_are_let_through_when_asked(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", np.array([[[np.nan, np.inf, 1]]], np.float32))
    assert np.array_equal(read_nifti(path, allow_nan=True).voxels, [[[np.nan, np.inf, 1]]], equal_nan=True)


def test_gzip_stream_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16))
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # in the checksum: all voxels can be inflated
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="truncated or broken"):
        read_nifti(path)


@pytest.mark.parametrize("place", [12, 2000])
def test_gzip_data_that_is_corrupt_is_said_to_be(tmp_path: Path, place: int) -> None:
    path = save(tmp_path / "v.nii.gz", np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16))
    data = bytearray(path.read_bytes())
    data[place : place + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="corrupt gzip data"):
        read_nifti(path)


def gzip_bomb(path: Path, shape: tuple[int, int, int], *, n_zeros: int) -> Path:
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.int16), AFFINE).header.copy()
    header.set_data_shape(shape)
    header["sform_code"], header["qform_code"], header["vox_offset"] = 0, 0, 352
    header["magic"] = b"n+1"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(n_zeros >> 20):
            file.write(bytes(2**20))
    return path


@pytest.mark.parametrize("shape", [(1024, 1024, 1024), (64, 64, 64)])
def test_gzip_bomb_is_refused_before_memory_is_taken(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    path = gzip_bomb(tmp_path / "v.nii.gz", shape, n_zeros=600 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(VolumeError, match="too large"):
            read_nifti(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "v.hdr"])
def test_member_of_a_zip_is_read_in_place(tmp_path: Path, name: str) -> None:
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    kind = nibabel.Nifti1Pair if name == "v.hdr" else nibabel.Nifti1Image
    nibabel.save(kind(voxels, AFFINE), tmp_path / name.replace("hdr", "img"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(tmp_path.glob("v.*")):
            archive.write(path, f"study/{path.name}")
            path.unlink()
    inside = tmp_path / "a.zip!" / "study" / name
    assert is_nifti(inside) and np.array_equal(read_nifti(inside).voxels, voxels)
    assert not is_nifti(inside.with_name("absent.hdr"))


def test_sparse_file_is_refused(tmp_path: Path) -> None:
    path = patched(save(tmp_path / "v.nii", SOME), dim=[3, 1024, 1024, 1024, 1, 1, 1, 1])
    with path.open("r+b") as file:
        file.truncate(352 + 2**31)
    with pytest.raises(VolumeError, match="too large"):
        read_nifti(path)


@pytest.mark.parametrize("content", [b"", b"no image at all" * 100])
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.nii").write_bytes(content)
    with pytest.raises(VolumeError):
        read_nifti(tmp_path / "v.nii")


def test_zero_pixdim_is_refused_not_mended(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = patched(save(tmp_path / "v.nii", SOME, None, AFFINE), pixdim=0)
    with pytest.raises(VolumeError, match="pixdim"):
        read_nifti(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_slices_beyond_those_of_the_header_are_said(tmp_path: Path, name: str) -> None:
    voxels = np.arange(2 * 3 * 5, dtype=np.int16).reshape(2, 3, 5)
    data = patched(save(tmp_path / "a.nii", voxels), dim=[3, 2, 3, 4, 1, 1, 1, 1]).read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for volume in (read_nifti(tmp_path / name), *read_nifti_volumes(tmp_path / name)):
        assert volume.voxels.shape == (2, 3, 4) and "slices follow the last one" in volume.warnings[0]
    (tmp_path / name).write_bytes(save(tmp_path / "b.nii", voxels).read_bytes() + b"\0" * 11)  # padding
    assert read_nifti(tmp_path / name).warnings == ()


def test_constant_volume_is_said(tmp_path: Path) -> None:
    (text,) = read_nifti(save(tmp_path / "a.nii", np.full((2, 3, 4), 7, np.int16))).warnings
    assert "constant" in text
