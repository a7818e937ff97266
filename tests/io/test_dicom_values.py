from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medfuse.errors import PixelError
from medfuse.io import read_volume
from medfuse.io.dicom_pixels import Layout
from medfuse.io.dicom_values import Rescale, write_values
from medfuse.types import Volume

KINDS = ["<i2", "<u2", ">i2", ">u2", "i1", "u1", "<i4", "<u4"]


@given(data=st.data(), kind=st.sampled_from(KINDS), intercept=st.integers(-70_000, 70_000))
def test_whole_rescale_is_exact_or_declined_in_int16(data, kind: str, intercept: int) -> None:
    stored = data.draw(arrays(np.dtype(kind), (3, 4)))
    bits = stored.dtype.itemsize * 8
    layout = Layout(3, 4, bits, bits, signed=stored.dtype.kind == "i")
    expected = stored.astype(np.int64) + intercept
    out = np.zeros((4, 3), dtype=np.int16, order="F")
    said = write_values(stored, Rescale(1, intercept, is_hu=True), layout, out.T)
    if np.abs(expected + 0.5).max() <= 32768:
        assert said == set() and np.array_equal(out.T, expected)
    else:
        assert said is None and not out.any()


@given(
    stored=arrays(np.int16, (3, 4)),
    slope=st.floats(-100, 100).filter(lambda x: abs(x) > 1e-3),
    intercept=st.floats(-1e5, 1e5),
)
def test_fractional_rescale_is_rounded_once(stored, slope: float, intercept: float) -> None:
    out = np.empty((3, 4), dtype=np.float32)
    write_values(stored, Rescale(slope, intercept, is_hu=False), Layout(3, 4, 16, 16, signed=True), out)
    assert np.array_equal(out, (stored.astype(np.float64) * slope + intercept).astype(np.float32))


@pytest.fixture
def folder(tmp_path: Path, write_series) -> Path:
    write_series(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("vr", "padding"), [("SS", -1000), ("US", 64536), ("US", 5)])
def test_padding_is_found_whatever_its_vr_left_as_it_is_and_said(
    folder: Path, volume: Volume, vr: str, padding: int
) -> None:
    path = folder / "0003.dcm"
    dataset = pydicom.dcmread(path)
    pixels = np.frombuffer(dataset.PixelData, "<i2").copy()
    pixels[:4] = np.int16(padding - 65536 if padding > 32767 else padding)
    dataset.PixelData = pixels.tobytes()
    dataset.add_new("PixelPaddingValue", vr, padding)
    dataset.save_as(path)
    back = read_volume(folder)
    assert np.array_equal(back.voxels[:4, 0, 2], pixels[:4])
    assert [text for text in back.warnings if "PixelPaddingValue" in text and "not in the volume's unit" in text]


def test_padding_range_is_found(folder: Path, change) -> None:
    dataset = pydicom.dcmread(folder / "0001.dcm")
    dataset.PixelData = np.full(42, -1500, "<i2").tobytes()
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.add_new("PixelPaddingRangeLimit", "SS", -1200)
    dataset.save_as(folder / "0001.dcm")
    assert any("PixelPaddingValue" in text for text in read_volume(folder).warnings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"RescaleSlope": 0}, "RescaleSlope"),
        ({"RescaleIntercept": "1e400"}, "RescaleIntercept"),
        ({"RescaleSlope": "1e300"}, "out of all numbers"),
    ],
)
def test_rescale_that_gives_no_values_is_refused(folder: Path, change, values, message: str) -> None:
    for path in folder.iterdir():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
            patch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
            change(path, **values)
    with pytest.raises(PixelError, match=message):
        read_volume(folder)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ({}, "HU"),
        ({"RescaleType": None}, "HU"),
        ({"RescaleType": "US"}, "arbitrary"),
        ({"RescaleType": "HU_MOD"}, "arbitrary"),
        ({"RescaleIntercept": None, "RescaleSlope": None}, "arbitrary"),
        ({"Modality": "MR"}, "arbitrary"),
    ],
)
def test_unit_is_hu_only_where_the_header_says_so(folder: Path, change, values, unit: str) -> None:
    for path in folder.iterdir():
        change(path, **values)
    back = read_volume(folder)
    assert back.unit == unit
    assert any("unit is unknown" in text for text in back.warnings) == (unit != "HU" and values.get("Modality") != "MR")


def test_lossy_compression_is_said(folder: Path) -> None:
    from pydicom.uid import JPEGLSNearLossless

    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(JPEGLSNearLossless, jls_error=2)
        dataset.save_as(path)
    assert any("loss" in text for text in read_volume(folder).warnings)


def test_constant_volume_is_said(folder: Path, change) -> None:
    for path in folder.iterdir():
        change(path, PixelData=b"\7\0" * 42)
    assert any("constant" in text for text in read_volume(folder).warnings)


def test_philips_private_scale_is_left_alone_and_said(folder: Path, volume: Volume) -> None:
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.Modality, dataset.Manufacturer = "MR", "Philips Medical Systems"
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.01)
        dataset.save_as(path)
    back = read_volume(folder)
    assert np.array_equal(back.voxels, volume.voxels) and any("private scale is left alone" in t for t in back.warnings)
