from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

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


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_uncompressed_transfer_syntaxes_agree(folder: Path, volume: Volume, syntax: str) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        if syntax == ExplicitVRBigEndian:
            dataset["PixelData"].value = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        plain = Dataset({element.tag: element for element in dataset})
        plain.file_meta = dataset.file_meta
        plain.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(path, plain, enforce_file_format=True)
    assert np.array_equal(read_volume(folder).voxels, volume.voxels)


def test_file_without_preamble_is_read(folder: Path, volume: Volume) -> None:
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    assert np.array_equal(read_volume(folder).voxels, volume.voxels)


def test_stray_bits_above_bits_stored_are_cleared_as_pydicom_does(folder: Path, change) -> None:
    path = folder / "0001.dcm"
    raw = np.random.default_rng(1).integers(0, 65536, 42).astype("<u2")
    change(path, PixelData=raw.tobytes(), BitsStored=12, HighBit=11, PixelRepresentation=0)
    back = read_volume(path)
    assert np.array_equal(back.voxels[:, :, 0], pixel_array(path).T) and back.voxels.max() < 4096
    assert any("BitsStored" in text for text in back.warnings)
    change(path, PixelRepresentation=1)
    assert np.array_equal(read_volume(path).voxels[:, :, 0], pixel_array(path).T)


def test_gantry_tilt_is_sheared_with_a_warning(folder: Path, change) -> None:
    tilt = np.tan(np.deg2rad(18)) * 2.5
    for n, path in enumerate(sorted(folder.iterdir())):
        x, y, z = pydicom.dcmread(path).ImagePositionPatient
        change(path, ImagePositionPatient=[x, round(float(y) + n * tilt, 9), z])
    back = read_volume(folder)
    assert np.allclose(back.affine[:3, 2], [0, -tilt, 2.5], atol=1e-6) and "tilt" in back.warnings[0]


def test_rounded_positions_are_even(folder: Path, change) -> None:
    for n, path in enumerate(sorted(folder.iterdir())):
        x, y, z = pydicom.dcmread(path).ImagePositionPatient
        change(path, ImagePositionPatient=[x, y, float(z) + (n % 2) * 0.005])
    assert read_volume(folder).voxels.shape == (7, 6, 5)


@pytest.mark.parametrize(
    ("slices", "values", "error", "message"),
    [
        ("one", {"ImagePositionPatient": None}, GeometryError, "no ImagePositionPatient"),
        ("one", {"ImagePositionPatient": [float("nan"), 0, 0]}, GeometryError, "invalid ImagePositionPatient"),
        ("one", {"ImagePositionPatient": [0.0, 0.0]}, GeometryError, "invalid ImagePositionPatient"),
        ("one", {"ImageOrientationPatient": [1, 0, 0, 0, 0, 1]}, GeometryError, "different ImageOrientationPatient"),
        ("all", {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, GeometryError, "right angles"),
        ("all", {"ImageOrientationPatient": None}, GeometryError, "no ImageOrientationPatient"),
        ("all", {"PixelSpacing": None}, GeometryError, "no PixelSpacing"),
        ("all", {"PixelSpacing": [0, 0]}, GeometryError, "PixelSpacing that is not above 0"),
        ("one", {"PixelSpacing": [0.7, 0.7]}, GeometryError, "different PixelSpacing"),
        ("one", {"FrameOfReferenceUID": "2.25.5"}, GeometryError, "different FrameOfReferenceUID"),
        ("one", {"PatientID": "Bob"}, GeometryError, "different PatientID"),
        ("one", {"EchoTime": 5}, AmbiguousVolumeError, "EchoTime"),
        ("one", {"TemporalPositionIdentifier": 2}, AmbiguousVolumeError, "TemporalPositionIdentifier"),
        ("all", {"NumberOfFrames": 3}, VolumeError, "multi-frame"),
        ("all", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, VolumeError, "mosaic"),
        ("all", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, VolumeError, "localizers"),
        ("one", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, PixelError, "colour"),
        ("one", {"PhotometricInterpretation": "PALETTE COLOR"}, PixelError, "PALETTE COLOR"),
        ("one", {"PixelData": None}, PixelError, "no PixelData"),
        ("one", {"PixelData": b"\0" * 80}, PixelError, "truncated PixelData"),
        ("one", {"PixelData": b"\0" * 88}, PixelError, "too long PixelData"),
        ("one", {"Rows": 12}, GeometryError, "different Rows"),
        ("all", {"Rows": 12}, PixelError, "12 Rows"),
        ("one", {"RescaleSlope": 0}, PixelError, "RescaleSlope"),
        ("all", {"HighBit": 14}, PixelError, "HighBit 14"),
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


def test_uneven_slices_are_refused_by_name(folder: Path, change) -> None:
    x, y, z = pydicom.dcmread(folder / "0003.dcm").ImagePositionPatient
    change(folder / "0003.dcm", ImagePositionPatient=[x, y, float(z) + 0.4])
    with pytest.raises(GeometryError, match="unevenly spaced"):
        read_volume(folder)


def test_slice_beside_the_line_is_refused(folder: Path, change) -> None:
    x, y, z = pydicom.dcmread(folder / "0003.dcm").ImagePositionPatient
    change(folder / "0003.dcm", ImagePositionPatient=[float(x) + 3, y, z])
    with pytest.raises(GeometryError, match="not on one line"):
        read_volume(folder)


def test_duplicate_position_is_refused_and_the_cause_named(folder: Path, change) -> None:
    shutil.copy(folder / "0002.dcm", folder / "again.dcm")
    with pytest.raises(GeometryError, match="1 duplicate slice position"):
        read_volume(folder)
    change(folder / "again.dcm", TriggerTime=40)
    with pytest.raises(GeometryError, match="TriggerTime: several phases"):
        read_volume(folder)


def test_single_slice_needs_its_thickness(folder: Path, change) -> None:
    assert read_volume(folder / "0001.dcm").spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    change(folder / "0001.dcm", SliceThickness=None)
    with pytest.raises(GeometryError, match="SliceThickness"):
        read_volume(folder / "0001.dcm")


def test_compressed_and_deflated_are_refused_by_their_syntax(folder: Path) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    with pytest.raises(PixelError, match=r"1\.2\.840\.10008\.1\.2\.5.* compressed"):
        read_volume(folder)


def test_truncated_file_is_refused(folder: Path) -> None:
    path = folder / "0002.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PixelError, match="slice 2 of 5"):
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


def test_ct_without_rescale_or_with_another_unit_is_not_hu(folder: Path, change) -> None:
    change(folder / "0002.dcm", RescaleType="US")
    back = read_volume(folder)
    assert back.unit == "arbitrary" and any("unit is unknown" in text for text in back.warnings)


def test_mr_is_arbitrary_and_monochrome1_inverts_nothing(folder: Path, volume: Volume, change) -> None:
    for path in folder.iterdir():
        change(path, Modality="MR", PhotometricInterpretation="MONOCHROME1")
    back = read_volume(folder)
    assert back.unit == "arbitrary" and np.array_equal(back.voxels, volume.voxels) and "MONOCHROME1" in back.warnings[0]


def test_padding_is_said(folder: Path, volume: Volume, change) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "SS", int(volume.voxels[0, 0, 0]))
        dataset.save_as(path)
    assert any("PixelPaddingValue" in text for text in read_volume(folder).warnings)


def test_localizer_of_the_same_series_is_set_aside_with_a_warning(folder: Path, volume: Volume, change) -> None:
    shutil.copy(folder / "0001.dcm", folder / "scout.dcm")
    change(folder / "scout.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], Rows=9)
    back = read_volume(folder)
    assert np.array_equal(back.voxels, volume.voxels) and "set aside" in back.warnings[0]


def test_series_of_a_folder_are_kept_apart(folder: Path, write_series, volume: Volume) -> None:
    write_series(folder.parent / "more", series=2)
    assert len(read_volumes(folder.parent)) == 2


def test_pydicom_neither_warns_nor_logs_values_and_paths(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "0005.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PixelError):
        read_volume(folder)
    assert caplog.records == []
