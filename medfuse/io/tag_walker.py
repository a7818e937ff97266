"""Headers of many files: what one has in common with the one before is compared as bytes, not parsed again.

The files of a series differ in a few values (UIDs, positions, times). A `Layout` holds the bytes of all that stays
equal from file to file, in runs, and between them the tags of what varies. A run that is equal byte by byte, and starts
where an element starts, is made of the same elements; only what varies is parsed. Whatever does not match is left to
`medfuse.io.dicom_headers.read_header`, from whose answer the next layout is learnt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from medfuse.io.dicom_elements import (
    LONG,
    PIXEL_DATA,
    SHORT,
    UNDEFINED_LENGTH,
    NotWalkableError,
    element_text,
    tag_of,
    vr_of,
    walk_elements,
)
from medfuse.io.dicom_headers import HEADER_KEYWORDS, SliceHeader, read_header
from medfuse.io.dicom_start import FileStart, read_start
from medfuse.io.inflating import Inflated, open_with_head
from medfuse.io.pydicom_reading import READ_ERRORS
from medfuse.io.transfer_syntaxes import DEFLATED

__all__ = ["HeaderReader"]

MAX_LAYOUTS = 4
"""Series whose files lie among each other have a layout each."""

MAX_DEPTH = 16
PREAMBLE = 128
PIXEL_TAG = b"\xe0\x7f\x10\x00"
SOP_CLASS, SYNTAX, SERIES_UID = 0x00020002, 0x00020010, 0x0020000E
ITEM_END, SEQUENCE_END, ITEM_GROUP = 0xFFFEE00D, 0xFFFEE0DD, 0xFFFE
EXPLICIT, PLAIN = struct.Struct("<HH2sH").unpack_from, struct.Struct("<HHI").unpack_from
SHORT_LENGTH, LONG_LENGTH = struct.Struct("<H").unpack_from, struct.Struct("<I").unpack_from


class Element(NamedTuple):
    """Where an element lies in the first bytes of a file; its VR is empty in implicit VR."""

    tag: int
    vr: bytes
    start: int
    value: int
    length: int


class Part(NamedTuple):
    """Bytes that stay equal, and the element behind them that varies: its tag and VR as written, and what it is."""

    run: bytes
    key: bytes
    n_head: int
    vr: bytes
    keyword: str


class HeaderReader:
    """Reads headers one after another, each as `medfuse.io.dicom_headers.read_header` does, but faster.

    Parameters
    ----------
    more : tuple of str
        Keywords to read beside HEADER_KEYWORDS.
    """

    def __init__(self, *, more: tuple[str, ...] = ()) -> None:
        self._more = more
        self._keywords = {tag_of(keyword): keyword for keyword in (*HEADER_KEYWORDS, *more)}
        self._wanted = {tag: vr_of(tag) for tag in self._keywords}
        self._layouts: list[Layout] = []

    def read(self, path: Path) -> SliceHeader | None:
        """Read the header of a DICOM image; see `medfuse.io.dicom_headers.read_header`."""
        head, header = b"", None
        try:
            file, head = open_with_head(path)
            with file:
                if not isinstance(file, Inflated):
                    header = self._known(file, head, path)
        except (*READ_ERRORS, NotWalkableError):
            header = None
        if header is None:  # what cannot be read is named there
            header = read_header(path, more=self._more)
            if header is not None and header.transfer_syntax != DEFLATED:
                self._learn(head, header)
        return header

    def _known(self, file: BinaryIO, head: bytes, path: Path) -> SliceHeader | None:
        for number, layout in enumerate(self._layouts):
            found = layout.match(head)
            if found is None:
                continue
            if number:
                self._layouts.insert(0, self._layouts.pop(number))
            values, place = found
            if place + 12 <= len(head) and head.startswith(layout.pixel_heads, place):
                offset = place + len(layout.pixel_heads[0]) + 4
                return SliceHeader(path, layout.syntax, values, offset, LONG_LENGTH(head, offset - 4)[0])
            if place + 8 > len(head) or _tag(head, place) <= layout.last_tag:
                return None
            more, offset, length = walk_elements(
                file, place, explicit=layout.is_explicit, wanted=self._wanted, head=head
            )
            values |= {self._keywords[tag]: text for tag, text in more.items() if isinstance(text, str)}
            return SliceHeader(path, layout.syntax, values, offset, length)
        return None

    def _learn(self, head: bytes, header: SliceHeader) -> None:
        """Make a layout of a header; what varied within the series before it varies in it too."""
        start = read_start(head)
        if start is None or start.is_big:
            return
        elements = list(_elements(head, start))
        layout = Layout(head, elements, start)
        alike = [known for known in self._layouts if list(known.raw) == list(layout.raw)]
        own = next((known for known in alike if known.raw.get(SERIES_UID) == layout.raw.get(SERIES_UID)), None)
        if own is not None:
            self._layouts.remove(own)
            layout.varying = own.varying | {tag for tag, data in layout.raw.items() if own.raw[tag] != data}
        elif alike:
            layout.varying = alike[0].varying
        if elements and not layout.varying & {SOP_CLASS, SYNTAX}:
            layout.arrange(header.values, self._keywords)
            self._layouts.insert(0, layout)
            del self._layouts[MAX_LAYOUTS:]


class Layout:
    """The elements of a header before PixelData, as far as the first bytes of a file hold them.

    Parameters
    ----------
    head : bytes
        Of the file that it is learnt from.
    elements : list of Element
    start : FileStart

    Attributes
    ----------
    raw : dict of int to bytes
        Each element, by tag.
    varying : frozenset of int
        Tags of those whose value may be another one.
    """

    def __init__(self, head: bytes, elements: list[Element], start: FileStart) -> None:
        self.raw = {item.tag: head[item.start : item.value + item.length] for item in elements}
        self.varying: frozenset[int] = frozenset()
        self.syntax, self.is_explicit = start.syntax, start.is_explicit
        self.pixel_heads = tuple(PIXEL_TAG + vr for vr in ((b"OW\0\0", b"OB\0\0") if start.is_explicit else (b"",)))
        self.last_tag = elements[-1].tag if elements else 0
        self._elements = elements
        self._origin = PREAMBLE if head.startswith(b"DICM", PREAMBLE) else 0
        self._first = head[self._origin : elements[0].start] if elements else b""

    def arrange(self, values: Mapping[str, str], keywords: Mapping[int, str]) -> None:
        """Join what stays equal; ``values`` are those of the file that the layout is learnt from."""
        self._stable = {k: v for k, v in values.items() if k not in {keywords.get(tag) for tag in self.varying}}
        self._parts: list[Part] = []
        run = [self._first]
        for item in self._elements:
            data = self.raw[item.tag]
            if item.tag in self.varying:
                keyword = keywords.get(item.tag, "")
                vr = item.vr if item.vr not in (b"", b"UN") or not keyword else vr_of(item.tag).encode()
                n_head = item.value - item.start
                self._parts.append(Part(b"".join(run), data[: 6 if item.vr else 4], n_head, vr, keyword))
                run = []
            else:
                run.append(data)
        self._end = b"".join(run)

    def match(self, head: bytes) -> tuple[dict[str, str], int] | None:
        """Return the values of a file whose elements are those of this layout, and where they end; else None."""
        place, values = self._origin, self._stable.copy()
        for run, key, n_head, vr, keyword in self._parts:
            place += len(run)
            if not head.startswith(run, place - len(run)) or not head.startswith(key, place):
                return None
            if n_head == 8 and len(key) == 6:
                (length,) = SHORT_LENGTH(head, place + 6)
            else:
                (length,) = LONG_LENGTH(head, place + n_head - 4)
            place += n_head
            if length == UNDEFINED_LENGTH:
                length = _sequence_bytes(head, place, is_explicit=len(key) == 6 and vr != b"UN")
                if length is None:
                    return None
            if place + length > len(head):
                return None
            if keyword and (text := "present" if vr == b"SQ" else element_text(vr, head[place : place + length])):
                values[keyword] = text
            place += length
        if not head.startswith(self._end, place):
            return None
        return values, place + len(self._end)


def _tag(head: bytes, place: int) -> int:
    group, element, _ = PLAIN(head, place)
    return int(group << 16 | element)


def _elements(head: bytes, start: FileStart) -> Iterator[Element]:
    """Yield the elements of the top level before PixelData, as far as the first bytes of a file hold them."""
    place = PREAMBLE + 4 if head.startswith(b"DICM", PREAMBLE) else 0
    while place + 12 <= len(head):
        vr, value = b"", place + 8
        group, element, length = PLAIN(head, place)
        if place < start.offset or start.is_explicit:
            *_, vr, length = EXPLICIT(head, place)
            if vr in LONG:
                value, (length,) = place + 12, LONG_LENGTH(head, place + 8)
            elif vr not in SHORT:
                return
        tag = group << 16 | element
        if length == UNDEFINED_LENGTH:
            length = _sequence_bytes(head, value, is_explicit=vr not in (b"", b"UN"))
        if tag >= PIXEL_DATA or length is None or value + length > len(head):
            return
        yield Element(tag, vr, place, value, length)
        place = value + length


def _sequence_bytes(head: bytes, place: int, *, is_explicit: bool) -> int | None:
    """Return the length of a sequence of undefined length with its delimiter, None if the bytes do not hold it."""
    start, modes = place, [is_explicit]  # a sequence whose VR is UN is written in implicit VR
    while modes:
        if place + 12 > len(head) or len(modes) > MAX_DEPTH:
            return None
        group, element, length = PLAIN(head, place)
        n_head, vr = 8, b""
        if modes[-1] and group != ITEM_GROUP:
            *_, vr, length = EXPLICIT(head, place)
            if vr in LONG:
                n_head, (length,) = 12, LONG_LENGTH(head, place + 8)
            elif vr not in SHORT:
                return None
        place += n_head
        if group << 16 | element in (ITEM_END, SEQUENCE_END):
            modes.pop()
        elif length == UNDEFINED_LENGTH:
            modes.append(modes[-1] and vr != b"UN")
        else:
            place += length
    return place - start
