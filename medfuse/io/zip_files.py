"""The members of a zip file, within limits. Nothing is unpacked to disk."""

from __future__ import annotations

import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from medfuse.errors import DataError, VolumeError
from medfuse.io.containers import Member, folder_order, safe_name
from medfuse.io.expansion import MAX_MEMBERS, check_expansion

__all__ = ["ZipContainer"]

MAX_DIRECTORY_BYTES = 48 * 2**20
"""Of the central directory: zipfile makes an object of 0.5 KB of each of its entries, before any can be judged."""

END, END_64 = b"PK\x05\x06", b"PK\x06\x06"
END_BYTES = 22 + 0xFFFF + 76
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
WHERE = "zip"


class ZipContainer:
    """An open zip file; see `medfuse.io.containers.Container`."""

    def __init__(self, path: Path) -> None:
        _check_directory(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGES as error:
            found = f"cannot be read ({type(error).__name__})"
            raise VolumeError(WHERE, found, expected="a whole zip file") from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._problems: list[tuple[str, DataError]] = []
        entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        check_expansion(WHERE, sum(e.file_size for e in entries), path.stat().st_size, n_members=len(entries))
        for entry in entries:
            try:
                self._members[self._judged(entry)] = entry
            except DataError as error:
                self._problems.append((entry.filename, error))

    def _judged(self, entry: zipfile.ZipInfo) -> str:
        """Return a member's plain name, or refuse it."""
        name = safe_name(entry.filename)
        where, kind = "zip member", entry.external_attr >> 28
        if name is None:
            raise DataError(where, "found an unsafe name: a path that leads outside", expected="one inside the zip")
        if kind == 0o12:
            raise DataError(where, "found a link; it is not followed", expected="a regular file")
        if name in self._members:
            raise VolumeError(where, "found a second member of one name", expected="each name once")
        if entry.flag_bits & ENCRYPTED:
            raise VolumeError(where, "found an encrypted member", expected="one without a password")
        if entry.compress_type not in METHODS:
            raise VolumeError(where, f"found compression method {entry.compress_type}", expected="stored or deflated")
        check_expansion(where, entry.file_size, entry.compress_size)
        return name

    def names(self) -> Iterator[str]:
        """Yield the names of the safe members, sorted, folder by folder."""
        return iter(sorted(self._members, key=folder_order))

    def problems(self) -> list[tuple[str, DataError]]:
        """Return the members that are refused, and why."""
        return self._problems

    def open(self, name: str) -> BinaryIO:
        """Open a member for reading."""
        entry = self._members[name]
        try:
            return cast(BinaryIO, _ZipMember(self._zip.open(entry)))
        except DAMAGES as error:
            raise OSError("damaged zip member") from error


class _ZipMember(Member):
    """A member of a zip. Its size is known, so that its end is found without expanding it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._lock = threading.Lock()

    def read(self, size: int | None = -1) -> bytes:
        """Read and expand; see `io.RawIOBase.read`."""
        try:
            with self._lock:
                return self._stream.read(-1 if size is None else size)
        except DAMAGES as error:
            raise OSError("damaged zip member") from error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; see `io.RawIOBase.seek`."""
        try:
            return self._stream.seek(offset, whence)
        except DAMAGES as error:
            raise OSError("damaged zip member") from error

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()

    def close(self) -> None:
        """Close it; the zip stays open."""
        self._stream.close()
        super().close()


def _check_directory(path: Path) -> None:
    """Refuse a zip with too many entries before any of them is read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES))
        tail = file.read()
    n_bytes = 0
    if (place := tail.rfind(END)) >= 0 and place + 16 <= len(tail):
        n_bytes = struct.unpack_from("<I", tail, place + 12)[0]
    if n_bytes == 0xFFFFFFFF and (place := tail.rfind(END_64)) >= 0 and place + 48 <= len(tail):
        n_bytes = struct.unpack_from("<Q", tail, place + 40)[0]
    if n_bytes > MAX_DIRECTORY_BYTES:
        found = f"found a directory of {n_bytes} bytes: too many members"
        raise VolumeError(WHERE, found, expected=f"at most {MAX_MEMBERS} members")
