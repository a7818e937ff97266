"""The first bytes of a file -> whether it is DICOM, how it is written, and where its data set starts."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from medfuse.io.transfer_syntaxes import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

__all__ = ["START_BYTES", "FileStart", "read_start"]

START_BYTES = 8 * 1024
"""As many of a file's first bytes as are read at once: mostly its whole header."""

META_GROUP = 0x0002
TRANSFER_SYNTAX, SOP_CLASS = 0x0010, 0x0002
LONG_VRS = (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OD", b"OF", b"OL", b"UC", b"UR")
EXPLICIT, LENGTH = struct.Struct("<HH2sH").unpack_from, struct.Struct("<I").unpack_from
MAX_FIRST_BYTES = 64
"""Without a preamble, an implicit first element longer than this is none."""


@dataclass(frozen=True, slots=True)
class FileStart:
    """How a DICOM file is written.

    Parameters
    ----------
    offset : int
        Where its data set starts, after the file meta information.
    syntax : str
        Transfer syntax UID, guessed where the file does not name it.
    sop_class : str
        As the file meta information has it; may be empty.
    """

    offset: int
    syntax: str
    sop_class: str

    @property
    def is_explicit(self) -> bool:
        """Whether VRs are written."""
        return self.syntax != IMPLICIT_LITTLE

    @property
    def is_big(self) -> bool:
        """Whether it is big endian."""
        return self.syntax == EXPLICIT_BIG


def read_start(head: bytes) -> FileStart | None:
    r"""Read how a file is written, with or without the preamble.

    Parameters
    ----------
    head : bytes
        The file's first bytes.

    Returns
    -------
    FileStart or None
        None if it is no DICOM file.

    Notes
    -----
    Source: DICOM PS3.10 7.1: group 0002 is always explicit VR little endian.

    Examples
    --------
    >>> read_start(b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\x00")
    FileStart(offset=0, syntax='1.2.840.10008.1.2.1', sop_class='')
    >>> read_start(b"plain text, not an image") is None
    True
    """
    has_preamble = head[128:132] == b"DICM"
    place = 132 if has_preamble else 0
    found = {TRANSFER_SYNTAX: "", SOP_CLASS: ""}
    while place + 12 <= len(head):
        group, element, vr, length = EXPLICIT(head, place)
        if group != META_GROUP:
            break
        place += 8
        if vr in LONG_VRS:
            (length,) = LENGTH(head, place)
            place += 4
        if element in found:
            found[element] = head[place : place + length].strip(b" \0").decode("ascii", "replace")
        place += length
    guess = _guessed(head[place : place + 8])
    if not has_preamble and ((place == 0 and not guess) or place > len(head)):
        return None
    return FileStart(place, found[TRANSFER_SYNTAX] or guess or IMPLICIT_LITTLE, found[SOP_CLASS])


def _guessed(first: bytes) -> str:
    """Guess by its first element how a data set is written, empty if it is none."""
    if len(first) < 8:
        return ""
    group, element, length = struct.unpack("<HHI", first)
    is_explicit = first[4:6].isalpha() and first[4:6].isupper()
    if is_explicit and group in (0x0800, 0x0200):
        return EXPLICIT_BIG
    if group not in (2, 8) or element > 0x20:
        return ""
    return EXPLICIT_LITTLE if is_explicit else IMPLICIT_LITTLE if length <= MAX_FIRST_BYTES else ""
