from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest

from medfuse.errors import GeometryError
from medfuse.io.dicom_copies import drop_copies, pixel_digest
from medfuse.io.dicom_headers import SliceHeader, group_headers


@pytest.fixture
def folder(tmp_path: Path, write_series) -> Path:
    write_series(tmp_path)
    return tmp_path


def headers(folder: Path) -> list[SliceHeader]:
    (items,) = group_headers(sorted(folder.glob("*.dcm"))).values()
    return items


def test_different_images_are_kept_and_no_file_is_opened(folder: Path) -> None:
    items = headers(folder)
    for path in folder.glob("*.dcm"):
        path.unlink()
    assert drop_copies(items, where="series") == (items, ())


def test_first_of_several_copies_is_kept(folder: Path) -> None:
    for n in range(3):
        shutil.copy(folder / "0002.dcm", folder / f"x{n}.dcm")
    kept, notes = drop_copies(headers(folder), where="series")
    assert [item.path.name for item in kept] == [f"000{n}.dcm" for n in range(1, 6)] and "3 exact" in notes[0]


def test_copy_that_differs_elsewhere_than_in_header_and_pixels_is_one(folder: Path, change) -> None:
    shutil.copy(folder / "0002.dcm", folder / "x.dcm")
    change(folder / "x.dcm", PatientComments="sent again")
    assert len(drop_copies(headers(folder), where="series")[0]) == 5


def test_one_header_with_two_pixels_is_refused_but_renamed_images_may_be_time_points(folder: Path, change) -> None:
    shutil.copy(folder / "0002.dcm", folder / "x.dcm")
    change(folder / "x.dcm", PixelData=b"\1\0" * 42)
    with pytest.raises(GeometryError, match="pixels differ"):
        drop_copies(headers(folder), where="series")
    change(folder / "x.dcm", SOPInstanceUID="2.25.9", InstanceNumber=9)
    assert drop_copies(headers(folder), where="series", renamed=True)[1] == ()


def test_digest_is_of_the_pixels_alone_compressed_or_not(folder: Path) -> None:
    shutil.copy(folder / "0001.dcm", folder / "x.dcm")
    for name in ("0001.dcm", "x.dcm", "0002.dcm"):
        dataset = pydicom.dcmread(folder / name)
        dataset.PatientComments = name
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        dataset.save_as(folder / name)
    digests = {item.path.name: pixel_digest(item, where="series") for item in headers(folder)}
    assert digests["0001.dcm"] == digests["x.dcm"] != digests["0002.dcm"] and len(set(digests.values())) == 5
