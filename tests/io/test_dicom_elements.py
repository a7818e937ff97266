"""The walk over elements says what pydicom says, of every file at hand, and no bytes make it grow or fail."""

from __future__ import annotations

import struct
import tracemalloc
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from medfuse.errors import VolumeError
from medfuse.io import dicom_headers
from medfuse.io.dicom_elements import MAX_DEPTH, NotWalkableError, TooDeepError, tag_of, vr_of, walk_elements
from medfuse.io.dicom_headers import read_header

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
FILES = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))
FILES += sorted({case.parent: case for case in SHARED.rglob("*") if case.is_file()}.values())
WANTED = {tag: vr_of(tag) for tag in map(tag_of, ("StudyDate", "ImageType", "Rows", "PixelSpacing", "EchoTime"))}


def headers(path: Path) -> object:
    try:
        header = read_header(path)
    except VolumeError as error:
        return str(error)
    if header is None:
        return None
    # The VR of a padding value, and so its sign, depends on PixelRepresentation, which pydicom alone looks up.
    values = {k: str(int(v) % 65536) if k.startswith("PixelPadding") else v for k, v in header.values.items()}
    return values, header.transfer_syntax, header.pixel_offset, header.pixel_length


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_headers_are_those_of_pydicom(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked = headers(path)

    def decline(*_: object, **__: object) -> None:
        raise NotWalkableError

    monkeypatch.setattr(dicom_headers, "walk_elements", decline)
    assert headers(path) == walked


def explicit(tag: int, vr: bytes, value: bytes, *, long: bool = False, length: int | None = None) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    n = len(value) if length is None else length
    return head + (struct.pack("<HI", 0, n) if long else struct.pack("<H", n)) + value


def sequence(body: bytes, *, depth: int = 1) -> bytes:
    """Nested sequences of undefined length."""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + body + b"\xfe\xff\x0d\xe0\0\0\0\0"
        body = explicit(0x00081140, b"SQ", item + b"\xfe\xff\xdd\xe0\0\0\0\0", long=True, length=0xFFFFFFFF)
    return body


ROWS = explicit(tag_of("Rows"), b"US", b"\5\0")
PIXELS = explicit(0x7FE00010, b"OW", b"\1\2", long=True)


def walk(data: bytes) -> object:
    return walk_elements(BytesIO(data), 0, explicit=True, wanted=WANTED)


@pytest.mark.parametrize("head", [0, 10, 40, 4096])
def test_values_and_pixels_are_found_wherever_the_bytes_at_hand_end(head: int) -> None:
    data = (
        explicit(tag_of("ImageType"), b"CS", b"ORIGINAL \\AXIAL ")
        + sequence(explicit(tag_of("Rows"), b"US", b"\7\0"))
        + explicit(0x00091001, b"OB", bytes(40_000), long=True)
        + ROWS
        + explicit(tag_of("PixelSpacing"), b"DS", b"0.5\\0.25")
        + PIXELS
    )
    found, offset, length = walk_elements(BytesIO(data), 0, explicit=True, wanted=WANTED, head=data[:head])
    assert found == {tag_of("ImageType"): "ORIGINAL\\AXIAL", tag_of("Rows"): "5", tag_of("PixelSpacing"): "0.5\\0.25"}
    assert data[offset : offset + length] == b"\1\2"


def test_items_of_a_wanted_sequence_are_found_whatever_their_lengths() -> None:
    dataset, first, second = Dataset(), Dataset(), Dataset()
    first.ImagePositionPatient, second.ImagePositionPatient = [1.5, 2.5, 3.5], [4.5, 5.5, 6.5]
    dataset.PlanePositionSequence = [first, second]
    tag, inner = tag_of("PlanePositionSequence"), tag_of("ImagePositionPatient")
    for is_undefined in (True, False):
        for is_implicit in (True, False):
            dataset["PlanePositionSequence"].is_undefined_length = is_undefined
            first.is_undefined_length_sequence_item = is_undefined
            file = BytesIO()
            pydicom.dcmwrite(file, dataset, implicit_vr=is_implicit, little_endian=True)
            found, _, _ = walk_elements(file, 0, explicit=not is_implicit, wanted={tag: {inner: "DS"}})
            assert found == {tag: [{inner: "1.5\\2.5\\3.5"}, {inner: "4.5\\5.5\\6.5"}]}


def test_depth_is_limited_without_recursion() -> None:
    assert walk(sequence(b"", depth=MAX_DEPTH - 1) + ROWS + PIXELS)
    with pytest.raises(TooDeepError, match="nested too deep"):
        walk(sequence(b"", depth=5000) + ROWS)


def test_millions_of_items_take_no_memory() -> None:
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 100_000
    data = explicit(0x00081140, b"SQ", items + b"\xfe\xff\xdd\xe0\0\0\0\0", long=True, length=0xFFFFFFFF) + ROWS
    tracemalloc.start()
    try:
        assert walk(data)[0] == {tag_of("Rows"): "5"}  # type: ignore[index]
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        ROWS + explicit(tag_of("ImageType"), b"CS", b"A "),
        explicit(tag_of("Rows"), b"ZZ", b"\5\0"),
        explicit(tag_of("Rows"), b"US", b"\5"),
        explicit(tag_of("PixelSpacing"), b"DS", b"\xb0\xb0"),
        explicit(tag_of("PixelSpacing"), b"DS", b"0.5", length=90),
        sequence(b"")[:-8],
        explicit(0x00081140, b"SQ", ROWS, long=True, length=0xFFFFFFFF),
    ],
    ids=["order", "VR", "number", "charset", "cut value", "no end", "no item"],
)
def test_what_is_not_certain_is_declined(data: bytes) -> None:
    with pytest.raises(NotWalkableError):
        walk(data)


@given(st.binary(max_size=400), st.booleans(), st.booleans())
def test_no_bytes_make_it_fail_otherwise(data: bytes, is_explicit: bool, big: bool) -> None:
    try:
        walk_elements(BytesIO(data), 0, explicit=is_explicit, wanted=WANTED, big=big)
    except NotWalkableError:
        return
