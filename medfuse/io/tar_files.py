"""The members of a tar file, within limits. A plain one is read in place; a compressed one is expanded once."""

from __future__ import annotations

import os
import tarfile
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterator
from gzip import GzipFile
from pathlib import Path
from typing import BinaryIO, cast

from medfuse.errors import DataError, VolumeError
from medfuse.io.containers import Member, folder_order, safe_name
from medfuse.io.expansion import check_expansion

__all__ = ["TarContainer"]

CHUNK_BYTES = 2**20
MAX_HEADER_BYTES = 4 * 2**20
"""Of one header: tarfile reads the extended ones (long names) whole."""

DAMAGES = (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, RecursionError)
WHERE = "tar"


class TarContainer:
    """An open tar file; see `medfuse.io.containers.Container`."""

    def __init__(self, path: Path) -> None:
        self._places: dict[str, tuple[int, int]] = {}
        self._links: set[str] = set()
        self._problems: list[tuple[str, DataError]] = []
        n_stored = path.stat().st_size
        file: BinaryIO = path.open("rb")
        try:
            if not path.name.lower().endswith(".tar"):
                file = _expanded(file, n_stored)
            self._find_members(file)
        except BaseException as error:
            file.close()
            if isinstance(error, DAMAGES):
                found = f"cannot be read ({type(error).__name__})"
                raise VolumeError(WHERE, found, expected="a whole tar file") from error
            raise
        self._file, self._lock = file, threading.Lock()
        weakref.finalize(self, file.close)

    def _find_members(self, file: BinaryIO) -> None:
        n_members = 0
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        with tarfile.open(fileobj=cast(BinaryIO, _Headers(file)), mode="r:") as tar:
            for entry in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                if entry.isdir():
                    continue
                n_members += 1
                check_expansion(WHERE, n_bytes, n_bytes, n_members=n_members)
                try:
                    self._places[self._judged(entry, n_bytes)] = (entry.offset_data, entry.size)
                except DataError as error:
                    self._problems.append((entry.name, error))

    def _judged(self, entry: tarfile.TarInfo, n_bytes: int) -> str:
        """Return a member's plain name, or refuse it."""
        name, where = safe_name(entry.name), "tar member"
        if entry.issym() or entry.islnk():
            self._links.add(name or entry.name)
            raise DataError(where, "found a link; it is not followed", expected="a regular file")
        if name is None:
            raise DataError(where, "found an unsafe name: a path that leads outside", expected="one inside the tar")
        if any(folder in self._links for folder in _folders(name)):
            raise DataError(where, "found a member behind a link, which may lead outside", expected="a plain folder")
        if not entry.isreg() or entry.issparse():
            raise DataError(where, "found no regular file but a device, a pipe or a sparse one", expected="a file")
        if entry.offset_data + entry.size > n_bytes:
            raise VolumeError(where, "found a truncated member", expected="a whole tar file")
        if name in self._places:
            raise VolumeError(where, "found a second member of one name", expected="each name once")
        return name

    def names(self) -> Iterator[str]:
        """Yield the names of the safe members, sorted, folder by folder."""
        return iter(sorted(self._places, key=folder_order))

    def problems(self) -> list[tuple[str, DataError]]:
        """Return the members that are refused, and why."""
        return self._problems

    def open(self, name: str) -> BinaryIO:
        """Open a member for reading."""
        return cast(BinaryIO, _TarMember(self._file, self._lock, *self._places[name]))


class _TarMember(Member):
    """A member of a tar: a part of its file."""

    def __init__(self, file: BinaryIO, lock: threading.Lock, start: int, size: int) -> None:
        super().__init__()
        self._file, self._lock, self._start, self._size, self._place = file, lock, start, size, 0

    def read(self, size: int | None = -1) -> bytes:
        """Read a part; see `io.RawIOBase.read`."""
        left = max(0, self._size - self._place)
        size = left if size is None or size < 0 else min(size, left)
        with self._lock:  # several members may be open
            self._file.seek(self._start + self._place)
            data = self._file.read(size)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; see `io.RawIOBase.seek`."""
        self._place = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence])
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place


class _Headers:
    """A tar file of which only headers are read: no read of it is large."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > MAX_HEADER_BYTES:
            raise tarfile.ReadError("a header too large")
        return self._file.read(size)


def _folders(name: str) -> Iterator[str]:
    """Yield the folders above a member."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _expanded(file: BinaryIO, n_stored: int) -> BinaryIO:
    """Expand a compressed tar into a temporary file that has no name, so that it goes with the process."""
    target = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - it stays open with the container
    n_bytes = 0
    try:
        with file, GzipFile(fileobj=file, mode="rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                n_bytes += len(chunk)
                check_expansion(WHERE, n_bytes, n_stored, n_members=1)
                target.write(chunk)
    except BaseException:
        target.close()
        raise
    target.seek(0)
    return target
