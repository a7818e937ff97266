"""Pixels as pydicom reads them, uncompressed and compressed, whole or a box of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from medfuse.errors import PixelError, VolumeError
from medfuse.io import SeriesIdentity, dicom_pixels, read_volume, write_dicom_series
from medfuse.types import Volume


@pytest.fixture
def folder(tmp_path: Path, write_series) -> Path:
    write_series(tmp_path / "dicom")
    return tmp_path / "dicom"


def rewrite(folder: Path, syntax: str) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        if syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
            if syntax == ExplicitVRBigEndian:
                dataset["PixelData"].value = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            plain = Dataset({element.tag: element for element in dataset})
            plain.file_meta = dataset.file_meta
            plain.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(path, plain, enforce_file_format=True)
        else:
            dataset.compress(syntax)
            dataset.save_as(path)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Large enough for the five resolutions of JPEG 2000."""
    voxels = np.random.default_rng(2).integers(-1024, 3000, (40, 36, 5)).astype(np.int16)
    identity = SeriesIdentity(patient_id="A", study_uid="2.25.1", series_uid="2.25.2", frame_of_reference_uid="2.25.3")
    write_dicom_series(Volume(voxels, np.diag([-0.7, -0.8, 2.5, 1.0]), "HU"), tmp_path / "large", identity=identity)
    return tmp_path / "large"


SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_transfer_syntaxes_agree_whole_and_in_a_box(large: Path, syntax: str) -> None:
    expected = read_volume(large)
    rewrite(large, syntax)
    whole = read_volume(large)
    assert np.array_equal(whole.voxels, expected.voxels) and whole.unit == "HU"
    box = ((whole.affine @ [1, 2, 1, 1])[:3], (whole.affine @ [4, 3, 3, 1])[:3])
    assert np.array_equal(read_volume(large, box_mm=box).voxels, whole.voxels[1:5, 2:4, 1:4])


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_box_holds_the_voxels_of_the_whole(folder: Path, corners) -> None:
    whole = read_volume(folder)
    index = np.array(
        [[min(a % n, b % n), max(a % n, b % n)] for (a, b), n in zip(corners, whole.voxels.shape, strict=True)]
    )
    box = tuple((whole.affine @ [*index[:, end], 1])[:3] for end in (0, 1))
    i, j, k = (slice(a, b + 1) for a, b in index)
    assert np.array_equal(read_volume(folder, box_mm=box).voxels, whole.voxels[i, j, k])


def test_box_reads_only_its_slices_and_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_volume(folder)
    taken: list[int] = []
    exactly = dicom_pixels._exactly
    monkeypatch.setattr(
        dicom_pixels,
        "_exactly",
        lambda file, start, size, where: taken.append(size) or exactly(file, start, size, where),
    )
    read_volume(folder, box_mm=((whole.affine @ [0, 1, 2, 1])[:3], (whole.affine @ [6, 2, 3, 1])[:3]))
    assert taken == [2 * 7 * 2] * 2


def test_slices_that_a_box_does_not_touch_may_be_broken(folder: Path) -> None:
    whole = read_volume(folder)
    path = folder / "0005.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    read_volume(folder, box_mm=((whole.affine @ [0, 0, 0, 1])[:3], (whole.affine @ [6, 5, 2, 1])[:3]))
    with pytest.raises(PixelError, match=r"slice 5 of 5.*truncated"):
        read_volume(folder)


@pytest.mark.parametrize(
    ("bits", "used", "signed"), [(8, 8, 0), (8, 5, 0), (8, 8, 1), (16, 12, 0), (16, 12, 1), (32, 32, 1), (32, 20, 0)]
)
def test_every_kind_of_pixel_is_what_pydicom_makes_of_it(
    folder: Path, change, bits: int, used: int, signed: int
) -> None:
    path = folder / "0001.dcm"
    raw = np.random.default_rng(bits + used).integers(0, 256, 42 * bits // 8).astype(np.uint8)
    change(
        path, PixelData=raw.tobytes(), BitsAllocated=bits, BitsStored=used, HighBit=used - 1, PixelRepresentation=signed
    )
    volume = read_volume(path)
    assert np.array_equal(volume.voxels[:, :, 0], pixel_array(path).T.astype(volume.voxels.dtype))
    assert any("BitsStored" in text for text in volume.warnings) == (used < bits)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PixelData": None}, "no PixelData"),
        ({"PixelData": b"\0" * 80}, "truncated PixelData of 80 bytes"),
        ({"PixelData": b"\1" * 88}, "too long PixelData"),
        ({"PixelData": b"\0" * 168}, "too long PixelData"),
        ({"Rows": 12}, "12 Rows"),
        ({"Rows": 0}, "0 Rows|invalid Rows"),
        ({"HighBit": 14}, "HighBit 14"),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "BitsAllocated 12"),
        ({"BitsStored": None}, "absent or invalid BitsStored"),
    ],
)
def test_pixels_that_cannot_be_sure_are_refused_by_name(folder: Path, change, values, message: str) -> None:
    change(folder / "0001.dcm", **values)
    with pytest.raises(VolumeError, match=message):
        read_volume(folder / "0001.dcm")


def test_zeros_after_the_last_pixel_are_padding(folder: Path, volume: Volume, change) -> None:
    path = folder / "0001.dcm"
    change(path, PixelData=pydicom.dcmread(path).PixelData + b"\0" * 14)
    assert np.array_equal(read_volume(folder).voxels, volume.voxels)


def test_transfer_syntax_that_contradicts_the_pixels_is_refused(folder: Path) -> None:
    path = folder / "0001.dcm"
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1))
    with pytest.raises(PixelError, match="not encapsulated"):
        read_volume(path)


def test_damaged_code_is_refused_and_names_its_slice(large: Path) -> None:
    rewrite(large, JPEG2000Lossless)
    path = large / "0002.dcm"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(PixelError, match=r"slice 2 of 5.*truncated"):
        read_volume(large)


def test_many_frames_of_little_code_are_a_bomb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(folder, RLELossless)
    monkeypatch.setattr(dicom_pixels, "SMALL_BYTES", 100)
    monkeypatch.setattr(dicom_pixels, "MAX_RATIO", 0.5)
    with pytest.raises(PixelError, match=r"expand to over \d+: too large"):
        read_volume(folder)
