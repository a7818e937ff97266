from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

from medfuse.errors import AmbiguousVolumeError, GeometryError, MedfuseError, PixelError, VolumeError
from medfuse.io import read_volume, read_volumes
from medfuse.types import Volume


@pytest.fixture
def folder(tmp_path: Path, write_series) -> Path:
    write_series(tmp_path / "dicom")
    return tmp_path / "dicom"


def test_slices_are_sorted_by_position_whatever_the_names_and_instance_numbers(
    folder: Path, volume: Volume, change
) -> None:
    expected = read_volume(folder)
    for n, path in enumerate(sorted(folder.iterdir())):
        change(path, InstanceNumber=(7 * n) % 5)
        path.rename(folder / f"{(3 * n) % 5}.x")
    back = read_volume(folder)
    assert np.array_equal(back.voxels, expected.voxels) and np.array_equal(back.voxels, volume.voxels)
    assert np.array_equal(back.affine, expected.affine)


def test_affine_follows_the_standards_equation(folder: Path) -> None:
    """PS3.3 C.7.6.2.1-1 for one voxel, by hand, in LPS."""
    back = read_volume(folder)
    slices = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    column, row, k = 4, 2, 3
    image = slices[k]
    x, y = np.array(image.ImageOrientationPatient[:3], float), np.array(image.ImageOrientationPatient[3:], float)
    point = (
        np.array(image.ImagePositionPatient, float)
        + x * image.PixelSpacing[1] * column
        + y * image.PixelSpacing[0] * row
    )
    assert np.allclose((back.affine @ [column, row, k, 1])[:3], point * [-1, -1, 1], atol=1e-6)
    assert back.voxels[column, row, k] == image.pixel_array[row, column]


def test_values_are_exact_and_unit_is_hu(folder: Path) -> None:
    back = read_volume(folder)
    assert back.voxels.dtype == np.int16 and back.unit == "HU" and back.warnings == ()


def test_a_volume_says_what_it_is_of(folder: Path, change) -> None:
    for path in folder.iterdir():
        change(path, BodyPartExamined="CHEST")
    back = read_volume(folder)
    assert (back.modality, back.body_part) == ("CT", "CHEST")


def test_rescale_is_applied_slice_by_slice(folder: Path, change) -> None:
    for n, path in enumerate(sorted(folder.iterdir())):
        change(path, RescaleSlope=str(0.5 + n), RescaleIntercept="-3.25")
    back = read_volume(folder)
    assert back.voxels.dtype == np.float32
    for n, path in enumerate(sorted(folder.iterdir())):
        expected = pixel_array(path).T.astype(np.float64) * (0.5 + n) - 3.25
        assert np.array_equal(back.voxels[:, :, n], expected.astype(np.float32))


def test_one_slice_out_of_int16_makes_all_float32_without_loss(folder: Path, volume: Volume, change) -> None:
    change(folder / "0003.dcm", RescaleIntercept=40000)
    back = read_volume(folder)
    offset = np.array([0, 0, 40000, 0, 0])
    assert back.voxels.dtype == np.float32 and np.array_equal(back.voxels, volume.voxels + offset)


def test_file_without_preamble_is_read(folder: Path, volume: Volume) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    assert np.array_equal(read_volume(folder).voxels, volume.voxels)


def test_gantry_tilt_is_sheared_with_a_warning(folder: Path, change) -> None:
    tilt = np.tan(np.deg2rad(18)) * 2.5
    for n, path in enumerate(sorted(folder.iterdir())):
        x, y, z = pydicom.dcmread(path).ImagePositionPatient
        change(path, ImagePositionPatient=[x, round(float(y) + n * tilt, 9), z])
    back = read_volume(folder)
    assert np.allclose(back.affine[:3, 2], [0, -tilt, 2.5], atol=1e-6) and "tilt" in back.warnings[0]


@pytest.mark.parametrize(
    ("slices", "values", "error", "message"),
    [
        ("one", {"ImagePositionPatient": None}, GeometryError, "no ImagePositionPatient"),
        ("one", {"ImagePositionPatient": [0.0, 0.0]}, GeometryError, "invalid ImagePositionPatient"),
        ("one", {"ImageOrientationPatient": [1, 0, 0, 0, 0, 1]}, GeometryError, "different ImageOrientationPatient"),
        ("all", {"PixelSpacing": None}, GeometryError, "no PixelSpacing"),
        ("all", {"PixelSpacing": [0, 0]}, GeometryError, "PixelSpacing that is not above 0"),
        ("one", {"PixelSpacing": [0.7, 0.7]}, GeometryError, "different PixelSpacing"),
        ("one", {"Rows": 12}, GeometryError, "different Rows"),
        ("one", {"PatientID": "Bob"}, GeometryError, "different PatientID"),
        ("all", {"NumberOfFrames": 3}, VolumeError, "PerFrameFunctionalGroupsSequence"),
        ("all", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, VolumeError, "mosaic"),
        ("one", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, PixelError, "colour"),
        ("one", {"PixelData": None}, PixelError, "no PixelData"),
        ("all", {"SeriesInstanceUID": None}, VolumeError, "no SeriesInstanceUID"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_truthfully_is_refused_by_name(
    folder: Path, change, slices, values, error, message
) -> None:
    for path in [folder / "0003.dcm"] if slices == "one" else folder.iterdir():
        change(path, **values)
    with pytest.raises(error, match=message) as caught:
        read_volume(folder)
    assert "Ann" not in str(caught.value) and "2.25" not in str(caught.value)


def test_several_volumes_of_one_series_are_listed_and_all_read(folder: Path, change) -> None:
    for n, path in enumerate(sorted(folder.iterdir())):
        shutil.copy(path, folder / f"late{n}.dcm")
        change(
            folder / f"late{n}.dcm", TemporalPositionIdentifier=2, SOPInstanceUID=f"2.25.7{n}", PixelData=b"\5\0" * 42
        )
        change(path, TemporalPositionIdentifier=1)
    early, late = read_volumes(folder)
    assert np.ptp(late.voxels) == 0 < np.ptp(early.voxels)
    with pytest.raises(AmbiguousVolumeError, match=r"TemporalPositionIdentifier 1\).*TemporalPositionIdentifier 2\)"):
        read_volume(folder)


def test_modality_lut_is_refused(folder: Path, change) -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData, lut.ModalityLUTType = [2, 0, 16], b"\0\0\1\0", "US"
    change(folder / "0002.dcm", ModalityLUTSequence=[lut])
    with pytest.raises(PixelError, match="Modality LUT"):
        read_volume(folder)


def test_missing_slice_is_refused_by_name(folder: Path) -> None:
    (folder / "0003.dcm").unlink()
    with pytest.raises(GeometryError, match=r"missing slices .* between slices 2 and 3 of 4, usually 2.500"):
        read_volume(folder)


def test_no_byte_pattern_escapes_as_another_error(folder: Path) -> None:
    whole = (folder / "0002.dcm").read_bytes()
    n_refused = 0
    for seed in range(60):
        noise, data = np.random.default_rng(seed), bytearray(whole)
        for place in noise.integers(132, len(data), 6):
            data[place] = noise.integers(256)
        place = int(noise.integers(132, len(data) - 4))
        data[place : place + 4] = b"\xff\xff\xff\xff"
        (folder / "0002.dcm").write_bytes(data)
        try:
            read_volume(folder / "0002.dcm")
        except MedfuseError:
            n_refused += 1
    assert n_refused > 0


def test_mr_is_arbitrary_and_monochrome1_inverts_nothing(folder: Path, volume: Volume, change) -> None:
    for path in folder.iterdir():
        change(path, Modality="MR", PhotometricInterpretation="MONOCHROME1")
    back = read_volume(folder)
    assert back.unit == "arbitrary" and np.array_equal(back.voxels, volume.voxels) and "MONOCHROME1" in back.warnings[0]


def test_series_of_a_folder_are_kept_apart(folder: Path, write_series, volume: Volume) -> None:
    write_series(folder.parent / "more", series=2)
    assert len(read_volumes(folder.parent)) == 2


def test_pydicom_neither_warns_nor_logs_values_and_paths(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "0005.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PixelError):
        read_volume(folder)
    assert caplog.records == []
