"""Where the frames of encapsulated PixelData lie in a file; nothing of them is read."""

from __future__ import annotations

import struct
from typing import BinaryIO

__all__ = ["Fragments", "find_frames"]

Fragments = list[tuple[int, int]]
"""Offset and length of each fragment of one frame."""

ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
MAX_FRAGMENTS = 1_000_000
STARTS = (b"\xff\xd8", b"\xff\x4f")
"""First bytes of a JPEG, JPEG-LS or JPEG 2000 code."""


def find_frames(file: BinaryIO, offset: int, *, n_frames: int) -> list[Fragments]:
    """Find the fragments of each frame.

    Parameters
    ----------
    file : BinaryIO
    offset : int
        Where the value of PixelData starts.
    n_frames : int

    Returns
    -------
    list of Fragments
        One a frame.

    Raises
    ------
    ValueError
        If the items are damaged, or cannot be assigned to frames with certainty.

    Notes
    -----
    Source: DICOM PS3.5 A.4: an item with the basic offset table, perhaps empty, then items with the fragments.
    """
    file.seek(offset)
    table, fragments = _items(file)
    if n_frames == 1:
        frames = [fragments]
    elif len(fragments) == n_frames:
        frames = [[fragment] for fragment in fragments]
    else:
        items = {place for place, _ in fragments}
        starts = {min(items, default=0) + entry for entry in table}
        if len(starts) != n_frames or not starts <= items:  # no table, or one that lies
            starts = {place for place, length in fragments if _starts_code(file, place, length)}
        frames = []
        for place, length in fragments:
            if place in starts:
                frames.append([])
            if frames:
                frames[-1].append((place, length))
    if len(frames) != n_frames or not all(frames):
        raise ValueError(f"{len(fragments)} fragments for {n_frames} frames")
    return frames


def _items(file: BinaryIO) -> tuple[list[int], Fragments]:
    table: list[int] = []
    fragments: Fragments = []
    is_first = True
    while len(fragments) <= MAX_FRAGMENTS:
        head = file.read(8)
        if head[:4] == END or not head:
            return table, fragments
        if len(head) < 8 or head[:4] != ITEM:
            raise ValueError("damaged items")
        length = struct.unpack("<I", head[4:])[0]
        if is_first:
            entries = file.read(min(length, 4 * MAX_FRAGMENTS))
            table = [entry for (entry,) in struct.iter_unpack("<I", entries[: len(entries) // 4 * 4])]
        else:
            fragments.append((file.tell(), length))
            file.seek(length, 1)
        is_first = False
    raise ValueError("too many fragments")


def _starts_code(file: BinaryIO, place: int, length: int) -> bool:
    file.seek(place)
    return length >= 2 and file.read(2) in STARTS
