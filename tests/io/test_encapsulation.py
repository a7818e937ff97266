from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, generate_frames

from medfuse.io.encapsulation import find_frames

CODE = st.lists(st.integers(0, 127), min_size=8, max_size=40).map(lambda body: b"\xff\xd8" + bytes(body))
"""Like a JPEG code; no fragment of it but the first starts like one."""


def frames_of(data: bytes, n_frames: int, *, offset: int = 7) -> list[bytes]:
    file = BytesIO(b"x" * offset + data)
    return [
        b"".join(file.seek(place) and file.read(length) for place, length in fragments)
        for fragments in find_frames(file, offset, n_frames=n_frames)
    ]


@given(st.lists(CODE, min_size=1, max_size=6), st.integers(1, 3), st.booleans())
def test_frames_are_those_that_were_encapsulated(frames: list[bytes], n_fragments: int, has_table: bool) -> None:
    data = encapsulate(frames, fragments_per_frame=n_fragments, has_bot=has_table) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    found = frames_of(data, len(frames))
    assert [frame[: len(whole)] for frame, whole in zip(found, frames, strict=True)] == frames
    if has_table:
        assert found == list(generate_frames(data, number_of_frames=len(frames)))


def test_offset_table_that_lies_is_not_believed() -> None:
    frames = [b"\xff\xd8ab", b"\xff\xd8cd"]
    data = encapsulate(frames, fragments_per_frame=2, has_bot=True)
    lying = data[:8] + struct.pack("<II", 3, 5) + data[16:]
    assert frames_of(lying, 2) == frames


@pytest.mark.parametrize(
    ("data", "n_frames"),
    [
        (b"", 1),
        (b"\xfe\xff\x00\xe0\0\0\0\0", 1),
        (b"garbage that is no item", 1),
        (encapsulate([b"ab", b"cd", b"ef"]), 2),
        (encapsulate([b"ab"]), 2),
        (b"\xfe\xff\x00\xe0\xff\xff\xff\xff", 1),
    ],
)
def test_items_that_are_no_frames_are_an_error(data: bytes, n_frames: int) -> None:
    with pytest.raises(ValueError, match=r"items|fragments"):
        find_frames(BytesIO(data), 0, n_frames=n_frames)
