from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest

from medfuse.errors import VolumeError
from medfuse.io import read_volume
from medfuse.io.dicom_headers import read_header
from medfuse.io.dicom_start import read_start
from medfuse.io.inflating import Inflated, open_dicom
from medfuse.io.transfer_syntaxes import DEFLATED
from medfuse.types import Volume


@pytest.fixture
def folder(tmp_path: Path, write_series) -> Path:
    for path in write_series(tmp_path):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = DEFLATED
        dataset.save_as(path)
    return tmp_path


def test_deflated_series_is_read(folder: Path, volume: Volume) -> None:
    assert np.array_equal(read_volume(folder).voxels, volume.voxels)
    header = read_header(folder / "0001.dcm")
    assert header is not None and header.transfer_syntax == DEFLATED


def test_inflated_file_is_what_pydicom_inflates(folder: Path) -> None:
    with open_dicom(folder / "0003.dcm") as file:
        assert isinstance(file, Inflated)
        assert pydicom.dcmread(file).PixelData == pydicom.dcmread(folder / "0003.dcm").PixelData


def test_other_files_are_opened_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 40)
    with open_dicom(tmp_path / "a") as file:
        assert file.read() == bytes(range(256)) * 40


def test_bomb_is_refused_before_memory_is_taken(folder: Path) -> None:
    path = folder / "0001.dcm"
    whole = path.read_bytes()
    start = read_start(whole)
    assert start is not None
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    path.write_bytes(whole[: start.offset] + body.compress(bytes(300 * 2**20)) + body.flush())
    before = psutil.Process().memory_info().rss
    with pytest.raises(VolumeError, match=r"inflate to more than .*too large"):
        read_header(path)
    assert psutil.Process().memory_info().rss - before < 200 * 2**20


@pytest.mark.parametrize("change", [lambda b: b[:-40], lambda b: b[:400] + b"\xff" * 40 + b[440:]])
def test_damaged_deflate_stream_is_refused(folder: Path, change) -> None:
    path = folder / "0001.dcm"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(VolumeError, match=r"truncated|damaged"):
        read_header(path)
