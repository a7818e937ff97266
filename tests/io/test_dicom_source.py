"""What objects derived from a series must name of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medfuse.errors import VolumeError
from medfuse.io import read_volume
from medfuse.io.dicom_headers import read_header
from medfuse.io.dicom_objects import decode_object, encode_object, write_objects
from medfuse.io.dicom_source import read_source_series
from medfuse.io.series_files import SeriesFiles

Write = Callable[..., list[Path]]
Change = Callable[..., None]


def test_grid_and_images_are_those_of_the_volume(tmp_path: Path, write_series: Write) -> None:
    paths = write_series(tmp_path)
    volume, source = read_volume(tmp_path), read_source_series(tmp_path)
    assert source.shape == volume.shape and np.array_equal(source.affine, volume.affine)
    headers = sorted(map(pydicom.dcmread, paths), key=lambda header: float(header.ImagePositionPatient[2]))
    assert [image.instance_uid for image in source.images()] == [header.SOPInstanceUID for header in headers]
    assert [image.instance_uid for image in source.images([3, 1, 3])] == [headers[k].SOPInstanceUID for k in (1, 3)]
    assert all(image.frames == () for image in source.images())
    assert [item.SOPInstanceUID for item in source.evidence()] == [header.SOPInstanceUID for header in headers]
    assert source.evidence()[0].PatientID == "Ann^Real" and "PixelData" not in source.identity


def test_every_kind_of_source_is_the_same_series(tmp_path: Path, write_series: Write) -> None:
    paths = write_series(tmp_path)
    headers = tuple(header for path in paths if (header := read_header(path)) is not None)
    files = SeriesFiles.of(str(tmp_path), [path.name for path in paths])
    for source in (tmp_path, headers, files, paths[0]):
        assert read_source_series(source).series_uid == "2.25.11"


def test_thickness_is_the_step_where_none_is_said(tmp_path: Path, write_series: Write, change: Change) -> None:
    for path in write_series(tmp_path / "said"):
        change(path, SliceThickness=1.25)
    for path in write_series(tmp_path / "silent"):
        change(path, SliceThickness=None)
    assert read_source_series(tmp_path / "said").thickness_mm(2.5) == 1.25
    assert read_source_series(tmp_path / "silent").thickness_mm(2.5) == 2.5


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID"])
def test_images_that_cannot_be_named_are_refused(
    keyword: str, tmp_path: Path, write_series: Write, change: Change
) -> None:
    for path in write_series(tmp_path):
        change(path, **{keyword: None})
    with pytest.raises(VolumeError, match=f"images without {keyword}"):
        read_source_series(tmp_path)


def test_images_of_one_uid_are_refused(tmp_path: Path, write_series: Write, change: Change) -> None:
    for path in write_series(tmp_path):
        change(path, SOPInstanceUID="2.25.5")
    with pytest.raises(VolumeError, match="different images of one SOPInstanceUID"):
        read_source_series(tmp_path)


@pytest.mark.parametrize(
    ("values", "moment"),
    [
        ({"StudyDate": "20240101"}, ("20240101", "")),
        ({"StudyDate": "20240101", "SeriesDate": "20240102", "SeriesTime": "0930"}, ("20240102", "0930")),
        ({"StudyDate": "20240101", "AcquisitionDate": "20240103", "AcquisitionTime": "093000.5"}, ("20240103", "093000.5")),
        ({"StudyDate": ""}, ("", "")),
    ],
)  # fmt: skip
def test_moment_is_the_first_date_that_is_there(
    values: dict[str, Any], moment: tuple[str, str], tmp_path: Path, write_series: Write, change: Change
) -> None:
    for path in write_series(tmp_path):
        change(path, **values)
    assert read_source_series(tmp_path).moment == moment


def test_private_attributes_stay_behind(tmp_path: Path, write_series: Write) -> None:
    for path in write_series(tmp_path):
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "secret")
        dataset.save_as(path)
    identity = read_source_series(tmp_path).identity
    assert not any(element.tag.is_private for element in identity)
    assert identity.SpecificCharacterSet == "ISO_IR 192" and identity.PatientSex == ""


def test_an_object_comes_back_as_it_was_written(tmp_path: Path, write_series: Write) -> None:
    data = write_series(tmp_path)[0].read_bytes()
    assert encode_object(decode_object(data)) == data


def test_files_of_an_earlier_run_without_counterpart_are_removed(tmp_path: Path) -> None:
    names = ("a.dcm", "b.dcm")
    write_objects(tmp_path, {"a.dcm": b"1", "b.dcm": b"2"}, names=names)
    (tmp_path / "kept.txt").write_text("")
    assert write_objects(tmp_path, {"b.dcm": b"3"}, names=names) == [tmp_path / "b.dcm"]
    assert {path.name for path in tmp_path.iterdir()} == {"b.dcm", "kept.txt"}
    assert (tmp_path / "b.dcm").read_bytes() == b"3"
