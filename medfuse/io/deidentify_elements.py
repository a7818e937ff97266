"""DICOM files as trees of raw elements: read with pydicom, written here, so that no byte gets by unseen.

Only what the dictionary of the standard names is read at all: no private elements, group lengths, curves, overlays,
nor anything after the pixels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from medfuse.errors import DataError, PixelError
from medfuse.io.dicom_elements import ITEM, LONG, SEQUENCE_END, SHORT, UNDEFINED_LENGTH
from medfuse.io.dicom_start import FileStart
from medfuse.io.pydicom_reading import READ_ERRORS, quiet_pydicom, read_dataset
from medfuse.io.transfer_syntaxes import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, UNCOMPRESSED

__all__ = ["AMBIGUOUS", "Element", "Elements", "RawFile", "encode_elements", "encode_file", "read_raw"]

WHERE = "DICOM file"
PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
CHARACTER_SET = 0x00080005
AMBIGUOUS = "US or SS"
"""Stands for every VR that depends on another attribute: its bytes stay as they are."""

MAX_SHORT = 0xFFFF
ELEMENT_BYTES = 8
IMPLEMENTATION_UID = "2.25.50538842500077738795664275610775506573"
IMPLEMENTATION_NAME = "MEDFUSE"


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its value is bytes as they are in the file, or the items of a sequence."""

    tag: int
    vr: str
    value: bytes | tuple[Elements, ...] = field(repr=False)


Elements: TypeAlias = tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class RawFile:
    """A DICOM file.

    Parameters
    ----------
    elements : tuple of Element
        Those that the standard names, up to the pixels.
    pixels : bytes
        The element of the pixels, from its tag to its last byte; empty if there is none.
    syntax : str
        Transfer syntax UID; a deflated file is read as what it inflates to.
    has_drawn_bits : bool
        Whether an overlay lies in bits of the pixels that no pixel uses.
    """

    elements: Elements = field(repr=False)
    pixels: bytes = field(repr=False)
    syntax: str
    has_drawn_bits: bool = False

    @property
    def is_explicit(self) -> bool:
        """Whether VRs are written."""
        return self.syntax != IMPLICIT_LITTLE

    @property
    def is_little(self) -> bool:
        """Whether it is little endian."""
        return self.syntax != EXPLICIT_BIG


def read_raw(file: BinaryIO, start: FileStart) -> RawFile:
    """Read a DICOM file.

    Parameters
    ----------
    file : BinaryIO
        As `medfuse.io.inflating.open_with_head` gives it.
    start : FileStart
        How it is written.

    Returns
    -------
    RawFile

    Raises
    ------
    DataError
        If it cannot be read whole.
    """
    file.seek(0)
    watched = _Watched(file)
    try:
        with quiet_pydicom():
            dataset = read_dataset(watched, None)  # type: ignore[arg-type]
            is_little = bool(dataset.original_encoding[1])
            elements = _elements(dataset)
            positions = [dataset.get_item(tag).value for tag in sorted(dataset.keys()) if _is_bit(tag)]
        end = file.tell()
        file.seek(start.offset)
        is_explicit = file.read(6)[4:] in SHORT | LONG  # whatever the file says of itself
        file.seek(end)
        pixels = _pixel_element(file, is_little=is_little, is_explicit=is_explicit)
        if not pixels and 0 < len(watched.rest.rstrip(b"\0")) < ELEMENT_BYTES:
            raise EOFError
    except READ_ERRORS as error:
        raise DataError(WHERE, f"cannot be read ({type(error).__name__})", expected="a whole DICOM file") from error
    syntax = _syntax(start.syntax, is_explicit=is_explicit, is_little=is_little)
    return RawFile(elements, pixels, syntax, has_drawn_bits=any(at.strip(b"\0") for at in positions if at))


class _Watched:
    """A file that remembers what it gave when it was asked for more: pydicom takes a cut element for the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.rest = file, b""
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.rest = data if len(data) < size else b""
        return data


def _syntax(named: str, *, is_explicit: bool, is_little: bool) -> str:
    """Return the transfer syntax that the bytes are in."""
    if named not in UNCOMPRESSED and is_explicit and is_little:
        return named
    if named not in UNCOMPRESSED:
        raise DataError(WHERE, "found a compressed file without VRs", expected="explicit VR little endian")
    return EXPLICIT_BIG if not is_little else EXPLICIT_LITTLE if is_explicit else IMPLICIT_LITTLE


def _elements(dataset: Any) -> Elements:
    order = "<" if dataset.original_encoding[1] else ">"
    found = []
    for tag in sorted(dataset.keys()):
        if not _is_named(tag):
            continue
        raw = dataset.get_item(tag)
        vr = _vr(raw)
        if vr == "SQ":
            found.append(Element(int(tag), vr, tuple(_elements(item) for item in dataset[tag].value)))
        else:
            found.append(Element(int(tag), vr, _bytes(raw, order)))
    return tuple(found)


def _is_named(tag: Any) -> bool:
    group = tag >> 16
    is_data = group >= 8 and group % 2 == 0 and tag & 0xFFFF
    is_drawn = group & 0xFF00 in (0x5000, 0x6000) or tag >= PIXEL_TAGS[0]
    return bool(is_data) and not is_drawn and dictionary_has_tag(tag)


def _is_bit(tag: int) -> bool:
    """Tell whether a tag is OverlayBitPosition. Source: DICOM PS3.5 8.1.2."""
    return tag & 0xFF00FFFF == 0x60000102


def _vr(raw: Any) -> str:
    vr = str(raw.VR or "UN")
    if vr == "UN":
        vr = dictionary_VR(raw.tag)
    return AMBIGUOUS if " or " in vr else vr


def _bytes(raw: Any, order: str) -> bytes:
    """Return the bytes of a value; pydicom has read two of them: the character set, and how pixels are signed."""
    value = raw.value
    if isinstance(value, bytes) and len(value) < getattr(raw, "length", 0) < UNDEFINED_LENGTH:
        raise EOFError
    if value is None or isinstance(value, bytes):
        return value or b""
    if isinstance(value, int):
        return struct.pack(f"{order}H", value)
    return "\\".join([value] if isinstance(value, str) else map(str, value)).encode("ascii", "replace")


def _pixel_element(file: BinaryIO, *, is_little: bool, is_explicit: bool) -> bytes:
    """Return the element of the pixels, which the file stands at; empty if it stands at its end."""
    order = "<" if is_little else ">"
    start = file.tell()
    head = file.read(12)
    if len(head) < 8:
        return b""
    group, number = struct.unpack(f"{order}HH", head[:4])
    if (group << 16 | number) not in PIXEL_TAGS:
        return b""
    n_head = 12 if is_explicit and head[4:6] in LONG else 8
    if is_explicit and n_head == 8:
        (length,) = struct.unpack(f"{order}H", head[6:8])
    else:
        (length,) = struct.unpack(f"{order}I", head[n_head - 4 : n_head])
    file.seek(start + n_head)
    n_value = _encapsulated_length(file) if length == UNDEFINED_LENGTH else length
    file.seek(start)
    whole = file.read(n_head + n_value)
    if len(whole) < n_head + n_value:
        found = f"found {len(whole) - n_head} of {n_value} bytes of pixel data"
        raise PixelError(WHERE, found, expected="a file that is not truncated")
    return whole


def _encapsulated_length(file: BinaryIO) -> int:
    length = 0
    while True:
        group, number, size = struct.unpack("<HHI", file.read(8))
        length += 8
        if (group << 16 | number) == SEQUENCE_END:
            return length
        if (group << 16 | number) != ITEM or size == UNDEFINED_LENGTH:
            raise PixelError(WHERE, "found damaged items of encapsulated pixel data", expected="whole items")
        length += size
        file.seek(size, 1)


def encode_file(raw: RawFile, sop_class: str, sop_instance: str) -> bytes:
    """Return the bytes of a DICOM file, its preamble empty and its file meta information new.

    Notes
    -----
    Source: DICOM PS3.10 section 7.
    """
    meta = encode_elements(
        (
            Element(0x00020001, "OB", b"\0\1"),
            Element(0x00020002, "UI", _even(sop_class)),
            Element(0x00020003, "UI", _even(sop_instance)),
            Element(0x00020010, "UI", _even(raw.syntax)),
            Element(0x00020012, "UI", _even(IMPLEMENTATION_UID)),
            Element(0x00020013, "SH", IMPLEMENTATION_NAME.encode() + b" "),
        )
    )
    length = encode_elements((Element(0x00020000, "UL", struct.pack("<I", len(meta))),))
    body = encode_elements(raw.elements, is_explicit=raw.is_explicit, is_little=raw.is_little)
    return b"\0" * 128 + b"DICM" + length + meta + body + raw.pixels


def _even(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def encode_elements(elements: Elements, *, is_explicit: bool = True, is_little: bool = True) -> bytes:
    r"""Return the bytes of elements, sequences with their lengths.

    Notes
    -----
    Source: DICOM PS3.5 7.1 and 7.5.

    Examples
    --------
    >>> encode_elements((Element(0x00100040, "CS", b"F "),))
    b'\x10\x00@\x00CS\x02\x00F '
    """
    order = "<" if is_little else ">"
    parts = []
    for element in elements:
        value = element.value
        if not isinstance(value, bytes):
            items = [encode_elements(item, is_explicit=is_explicit, is_little=is_little) for item in value]
            value = b"".join(struct.pack(f"{order}HHI", ITEM >> 16, ITEM & 0xFFFF, len(item)) + item for item in items)
        vr = element.vr.encode() if element.vr != AMBIGUOUS else b"UN"
        if vr in SHORT and len(value) > MAX_SHORT:
            vr = b"UN"
        tag = struct.pack(f"{order}HH", element.tag >> 16, element.tag & 0xFFFF)
        if not is_explicit:
            parts.append(tag + struct.pack(f"{order}I", len(value)) + value)
        elif vr in SHORT:
            parts.append(tag + vr + struct.pack(f"{order}H", len(value)) + value)
        else:
            parts.append(tag + vr + b"\0\0" + struct.pack(f"{order}I", len(value)) + value)
    return b"".join(parts)
