from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from medfuse.errors import GeometryError, VolumeError
from medfuse.io.dicom_headers import HEADER_KEYWORDS, UNDEFINED_LENGTH, group_headers, read_header


@pytest.fixture
def path(tmp_path: Path, write_series) -> Path:
    paths: list[Path] = write_series(tmp_path)
    return paths[0]


def rewrite(path: Path, syntax: str) -> None:
    dataset = pydicom.dcmread(path)
    plain = Dataset({element.tag: element for element in dataset})
    plain.file_meta = dataset.file_meta
    plain.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, plain, enforce_file_format=True)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("preamble", [True, False])
def test_header_holds_the_values_and_where_the_pixels_lie(path: Path, syntax: str | None, preamble: bool) -> None:
    dataset = pydicom.dcmread(path)
    if syntax is not None:
        rewrite(path, syntax)
    if not preamble:
        path.write_bytes(path.read_bytes()[132:])
    header = read_header(path)
    assert header is not None
    for keyword in HEADER_KEYWORDS:
        value = dataset.get(keyword)
        expected = "" if value in (None, "") else str(value) if isinstance(value, str | int | float) else None
        assert expected is None or header.text(keyword) == expected
    assert np.allclose(header.numbers("ImagePositionPatient", 3, where=""), dataset.ImagePositionPatient)
    data = path.read_bytes()[header.pixel_offset :][: header.pixel_length]
    assert data == dataset.PixelData and header.size(where="") == (6, 7)


def test_file_of_values_alone_without_meta_is_recognised(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[whole.index(b"\x08\x00\x08\x00CS") :])
    header = read_header(path)
    assert header is not None and header.transfer_syntax == "1.2.840.10008.1.2.1"


def test_encapsulated_pixels_have_no_length(path: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    header = read_header(path)
    assert header is not None and header.pixel_length == UNDEFINED_LENGTH and header.pixel_offset > 0


def test_image_without_pixels_has_no_offset(path: Path, change) -> None:
    change(path, PixelData=None)
    header = read_header(path)
    assert header is not None and (header.pixel_offset, header.pixel_length) == (0, 0)


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"not an image", b"%PDF-1.7 " * 99, b"\x89PNG\r\n" * 40])
def test_other_files_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.dcm").write_bytes(content)
    assert read_header(tmp_path / "x.dcm") is None


def test_other_dicom_objects_are_none_but_a_cut_image_is_refused(path: Path, change) -> None:
    change(path, Rows=None)
    with pytest.raises(VolumeError, match="without Rows"):
        read_header(path)
    change(path, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    assert read_header(path) is None


def test_sequences_nested_too_deep_are_refused_by_name(path: Path) -> None:
    whole = path.read_bytes()
    start = whole.index(b"\x10\x00\x10\x00PN")
    nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    path.write_bytes(whole[:start] + nested + whole[start:])
    with pytest.raises(VolumeError, match="nested too deep"):
        read_header(path)


def test_invalid_numbers_are_named(path: Path, change) -> None:
    change(path, ImagePositionPatient=[1.0, 2.0])
    header = read_header(path)
    assert header is not None
    with pytest.raises(GeometryError, match="invalid ImagePositionPatient"):
        header.numbers("ImagePositionPatient", 3, where="series")


def test_values_are_never_shown(path: Path) -> None:
    assert "Ann" not in repr(read_header(path)) and "2.25" not in repr(read_header(path))


def test_series_are_grouped_and_one_without_a_uid_is_refused(path: Path, tmp_path: Path, write_series, change) -> None:
    write_series(tmp_path / "more", series=2)
    files = sorted(tmp_path.rglob("*.dcm"))
    assert {uid: len(items) for uid, items in group_headers(files).items()} == {"2.25.11": 5, "2.25.12": 5}
    change(path, SeriesInstanceUID=None)
    with pytest.raises(VolumeError, match="no SeriesInstanceUID"):
        group_headers(files)


def test_lone_image_needs_no_series_uid(path: Path, change) -> None:
    change(path, SeriesInstanceUID=None)
    assert [len(items) for items in group_headers([path]).values()] == [1]
