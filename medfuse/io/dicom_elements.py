"""The elements of a DICOM file, walked over without making anything of what is not asked for.

pydicom makes an object of every item of a sequence of undefined length, wanted or not, so that a small file can take
gigabytes; and it is ten times slower. What this walk cannot read with certainty (invalid VRs, tags out of order, a
value cut short) it leaves to the caller, who may ask pydicom.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import BinaryIO, TypeAlias, Union

from pydicom.datadict import dictionary_VR, tag_for_keyword

__all__ = [
    "PIXEL_DATA",
    "LONG",
    "SHORT",
    "UNDEFINED_LENGTH",
    "Found",
    "NotWalkableError",
    "TooDeepError",
    "Wanted",
    "element_text",
    "tag_of",
    "vr_of",
    "walk_elements",
]

UNDEFINED_LENGTH = 0xFFFFFFFF
"""Length of a sequence, or of encapsulated PixelData, that ends with a delimiter. Source: DICOM PS3.5 7.5, A.4."""

PIXEL_DATA = 0x7FE00010
ITEM, ITEM_END, SEQUENCE_END, ITEM_GROUP = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFE

SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Explicit VRs with a length of two bytes, and of four after two reserved ones. Source: DICOM PS3.5 7.1.2."""

NUMBERS = {b"US": "H", b"SS": "h", b"UL": "I", b"SL": "i", b"FL": "f", b"FD": "d"}

CHUNK_BYTES = 16 * 1024
MAX_VALUE_BYTES = 64 * 1024
MAX_DEPTH = 64
MAX_ELEMENTS = 4_000_000

Wanted: TypeAlias = Mapping[int, Union[str, "Wanted"]]
"""Tag -> VR of what is wanted (for implicit VR), or what is wanted of each item of a sequence."""

Found: TypeAlias = dict[int, str | list["Found"]]
"""Tag -> text as `medfuse.io.dicom_headers.SliceHeader` holds it, or the items of a sequence."""


class NotWalkableError(Exception):
    """The elements cannot be read with certainty."""


class TooDeepError(NotWalkableError):
    """Sequences are nested deeper, or hold more elements, than any image needs."""


def tag_of(keyword: str) -> int:
    """Return the tag of a DICOM keyword.

    Examples
    --------
    >>> hex(tag_of("PixelSpacing"))
    '0x280030'
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return int(tag)


def vr_of(tag: int) -> str:
    """Return the VR of a tag, the first one if it may have several.

    Examples
    --------
    >>> vr_of(tag_of("PixelPaddingValue"))
    'US'
    """
    return str(dictionary_VR(tag)[:2])


def walk_elements(
    file: BinaryIO, start: int, *, explicit: bool, wanted: Wanted, big: bool = False, head: bytes = b""
) -> tuple[Found, int, int]:
    """Walk over the elements up to PixelData.

    Parameters
    ----------
    file : BinaryIO
    start : int
        Where the first element starts.
    explicit : bool
        Whether VRs are written.
    wanted : Wanted
        What is kept: values up to MAX_VALUE_BYTES, and items of sequences.
    big : bool
        Whether it is big endian.
    head : bytes
        The file's first bytes, if they were read already.

    Returns
    -------
    found : Found
        What is there of it; no empty value.
    pixel_offset, pixel_length : int
        Where the value of PixelData lies; zeros if there is none.

    Raises
    ------
    TooDeepError
        If sequences are nested deeper than MAX_DEPTH, or there are more than MAX_ELEMENTS.
    NotWalkableError
        If an element is none, tags are out of order, or the file ends within a value or sequence.
    """
    walk = _Walk(file, start, big, head)
    found = walk.dataset(wanted, explicit, None, top=True)
    return found, *walk.pixels


class _Walk:
    """One pass over a file, in chunks."""

    def __init__(self, file: BinaryIO, start: int, big: bool, head: bytes) -> None:
        self.file, self.base, self.place, self.data = file, 0, start, head
        self.order = ">" if big else "<"
        self.head = struct.Struct(f"{self.order}HH2sH").unpack_from
        self.plain_head = struct.Struct(f"{self.order}HHI").unpack_from
        self.long = struct.Struct(f"{self.order}I").unpack_from
        self.n_left = MAX_ELEMENTS
        self.pixels = (0, 0)

    def dataset(self, wanted: Wanted, explicit: bool, end: int | None, *, top: bool = False) -> Found:
        """Read what is wanted up to a place in the file, a delimiter, or (on the top level) PixelData."""
        found: Found = {}
        last = -1
        while end is None or self.base + self.place < end:
            if top and explicit:
                last = self.at_hand(wanted, found, last)
            if not self.fill(8):
                if top:
                    break
                raise NotWalkableError("an item without end")
            tag, vr, length = self.next(explicit)
            if tag == ITEM_END and not top:
                break
            if tag <= last:
                raise NotWalkableError("tags out of order")
            last = tag
            if top and tag >= PIXEL_DATA:
                if tag == PIXEL_DATA:
                    self.pixels = (self.base + self.place, length)
                break
            what = wanted.get(tag)
            if what is None:
                self.skip(explicit and vr != b"UN", length)
            elif not isinstance(what, str):
                found[tag] = self.sequence(what, explicit and vr != b"UN", length)
            elif length == UNDEFINED_LENGTH or what == "SQ":
                found[tag] = "present"
                self.skip(explicit and vr != b"UN", length)
            elif length:
                text = self.value(vr if explicit and vr != b"UN" else what.encode(), length)
                if text:
                    found[tag] = text
        return found

    def at_hand(self, wanted: Wanted, found: Found, last: int) -> int:
        """Read plain top-level elements as far as the bytes at hand go, and return the last tag.

        It does what `dataset` does, inline: an archive has millions of headers.
        """
        data, place, size = self.data, self.place, len(self.data)
        head, want, order = self.head, wanted.get, self.order
        while place + 12 <= size:
            group, element, vr, length = head(data, place)
            tag = group << 16 | element
            start = place + 8
            if tag <= last:
                break
            if vr not in SHORT:
                if (
                    vr not in LONG
                    or tag >= PIXEL_DATA
                    or tag in wanted
                    or data[start : start + 4] == b"\xff\xff\xff\xff"
                ):
                    break
                start, (length,) = start + 4, self.long(data, start)
            elif want(tag) is not None and length:
                if start + length > size:
                    break
                if text := element_text(vr, data[start : start + length], order):
                    found[tag] = text
            last, place = tag, start + length
        self.place = place
        return last

    def sequence(self, wanted: Wanted, explicit: bool, length: int) -> list[Found]:
        """Read the items of a sequence."""
        end = None if length == UNDEFINED_LENGTH else self.base + self.place + length
        items = []
        while end is None or self.base + self.place < end:
            if not self.fill(8):
                raise NotWalkableError("a sequence without end")
            tag, _, length = self.next(explicit)
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise NotWalkableError("a sequence with something between its items")
            stop = None if length == UNDEFINED_LENGTH else self.base + self.place + length
            items.append(self.dataset(wanted, explicit, stop))
        return items

    def skip(self, explicit: bool, length: int) -> None:
        """Pass over a value; over a sequence of undefined length whatever is nested in it, without recursion."""
        if length != UNDEFINED_LENGTH:
            self.place += length
            return
        modes = [explicit]  # a sequence whose VR is UN is written in implicit VR
        while modes:
            if not self.fill(8):
                raise NotWalkableError("a sequence without end")
            tag, vr, length = self.next(modes[-1])
            if tag in (ITEM_END, SEQUENCE_END):
                modes.pop()
            elif length == UNDEFINED_LENGTH:
                modes.append(modes[-1] and vr != b"UN")
                if len(modes) > 2 * MAX_DEPTH:  # a sequence and its item
                    raise TooDeepError("sequences nested too deep")
            else:
                self.place += length

    def next(self, explicit: bool) -> tuple[int, bytes, int]:
        """Read the head of an element and stand at its value."""
        self.n_left -= 1
        if self.n_left < 0:
            raise TooDeepError("too many elements")
        if explicit:
            group, element, vr, length = self.head(self.data, self.place)
            if vr in SHORT:
                self.place += 8
                return group << 16 | element, vr, length
            if vr in LONG:
                if not self.fill(12):
                    raise NotWalkableError("a cut element")
                (length,) = self.long(self.data, self.place + 8)
                self.place += 12
                return group << 16 | element, vr, length
            if group != ITEM_GROUP:  # items alone have no VR
                raise NotWalkableError("no VR")
        group, element, length = self.plain_head(self.data, self.place)
        self.place += 8
        return group << 16 | element, b"", length

    def value(self, vr: bytes, length: int) -> str:
        """Read a value as text and pass over it."""
        if length > MAX_VALUE_BYTES or not self.fill(length):
            raise NotWalkableError("a value that is too long")
        data = self.data[self.place : self.place + length]
        self.place += length
        return element_text(vr, data, self.order)

    def fill(self, size: int) -> bool:
        """Have at least so many bytes at hand; False if the file ends before."""
        if self.place + size <= len(self.data):
            return True
        self.base, self.place = self.base + self.place, 0
        self.file.seek(self.base)
        self.data = self.file.read(max(CHUNK_BYTES, size))
        return size <= len(self.data)


@lru_cache(maxsize=4096)  # most values are those of the slice before
def element_text(vr: bytes, data: bytes, order: str = "<") -> str:
    r"""Return a value as text: numbers in decimals, several values joined by a backslash, padding removed.

    Parameters
    ----------
    vr : bytes
    data : bytes
    order : {"<", ">"}
        Of the bytes of numbers.

    Returns
    -------
    str

    Raises
    ------
    NotWalkableError
        If it is no whole number, or text in another character set than ASCII.

    Examples
    --------
    >>> element_text(b"US", b"\0\2"), element_text(b"DS", b"0.5\\0.7 ")
    ('512', '0.5\\0.7')
    """
    if vr in NUMBERS:
        kind = struct.Struct(order + NUMBERS[vr])
        if len(data) % kind.size:
            raise NotWalkableError("a cut number")
        return "\\".join(str(number) for (number,) in kind.iter_unpack(data))
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise NotWalkableError("text in another character set") from error
    return "\\".join(part.strip(" \0") for part in text.split("\\"))
