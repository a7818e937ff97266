"""Zip and tar files read in place: each member is a path, ``archive.zip!/folder/name``, and nothing is unpacked.

What would be unsafe to unpack is refused by name: links, absolute names and such that lead outside, members and
archives that expand beyond any image. Only a compressed tar cannot be read in place; it is expanded once, within
limits, into a nameless temporary file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol

from medfuse.errors import DataError, VolumeError

__all__ = ["WITHIN", "Container", "Problems", "container_of", "is_container", "members_of", "open_bytes", "root_within"]

WITHIN = "!"
"""Marks the name of a zip or tar whose members the rest of a path names."""

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_OPEN = 8

Problems = list[tuple[Path, DataError]]
"""A VolumeError may be an image that is lost; another DataError (a link, an unsafe name) is none."""


class Container(Protocol):
    """An open zip or tar."""

    def names(self) -> Iterator[str]:
        """Yield the names of its safe members, sorted, folder by folder."""
        ...

    def problems(self) -> list[tuple[str, DataError]]:
        """Return the members that are refused, and why."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a member for reading; `KeyError` if there is none."""
        ...


def is_container(path: str | Path) -> bool:
    """Tell by its name whether a file is a zip or a tar.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bool

    Examples
    --------
    >>> is_container("a.zip"), is_container("a.TAR.GZ"), is_container("a.nii.gz")
    (True, True, False)
    """
    return os.fspath(path).lower().endswith((*ZIP_SUFFIXES, *TAR_SUFFIXES))


def root_within(path: Path) -> Path:
    """Return the path that stands for what is inside a zip or tar.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path

    Examples
    --------
    >>> str(root_within(Path("data/a.zip")) / "dicom")
    'data/a.zip!/dicom'
    """
    return path.with_name(path.name + WITHIN)


def container_of(path: Path) -> tuple[Path, str] | None:
    """Split the path of a member into the zip or tar and the member's name.

    Parameters
    ----------
    path : Path

    Returns
    -------
    container : Path
    name : str
        None instead of both if the path is no member's.

    Examples
    --------
    >>> container, name = container_of(Path("data/a.zip!/dicom/1.dcm"))
    >>> str(container), name
    ('data/a.zip', 'dicom/1.dcm')
    >>> container_of(Path("data/a.dcm")) is None
    True
    """
    parts = path.parts
    for count, part in enumerate(parts, start=1):
        if part.endswith(WITHIN) and is_container(part[: -len(WITHIN)]):
            return Path(*parts[: count - 1], part[: -len(WITHIN)]), "/".join(parts[count:])
    return None


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, or a member of a zip or tar, for reading.

    Parameters
    ----------
    path : Path
        A member's is ``archive.zip!/folder/name``.

    Returns
    -------
    BinaryIO
        Unbuffered and seekable. A member is expanded as it is read; seeking back in one of a zip starts it again.

    Raises
    ------
    OSError
        If it cannot be opened. Reading a damaged member raises OSError too.
    VolumeError
        If the zip or tar, or the member, is refused; see `members_of`.
    """
    try:
        return path.open("rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError):
        found = container_of(path)
        if found is None:
            raise
    file, name = found
    container = _opened(file)
    try:
        return container.open(name)
    except KeyError:
        for refused, error in container.problems():
            if refused == name:
                raise error from None
        raise FileNotFoundError("no such member") from None


def members_of(path: Path, *, problems: Problems) -> Iterator[Path]:
    """Yield the members of a zip or tar that are regular files, sorted by name, folder by folder.

    Parameters
    ----------
    path : Path
    problems : list
        Gets (path, error) of each member that is refused, or of the whole file.

    Yields
    ------
    Path
        Which `open_bytes` opens.
    """
    try:
        container = _opened(path)
    except (OSError, VolumeError) as error:
        problems.append((path, error if isinstance(error, VolumeError) else _unreadable(error)))
        return
    root = str(root_within(path))
    problems += [(Path(f"{root}/{name.lstrip('/')}"), error) for name, error in container.problems()]
    yield from (Path(f"{root}/{name}") for name in container.names())


def safe_name(name: str) -> str | None:
    """Return a member's name in its plain form, None if it leads outside or names nothing.

    Parameters
    ----------
    name : str

    Returns
    -------
    str or None

    Examples
    --------
    >>> safe_name("./a//b.dcm"), safe_name("../b"), safe_name("/b"), safe_name("C:/b")
    ('a/b.dcm', None, None, None)
    """
    name = name.replace("\\", "/")
    path = PurePosixPath(name)
    drive = path.parts[:1] and path.parts[0][1:2] == ":"
    if not path.parts or path.is_absolute() or drive or ".." in path.parts or "\0" in name:
        return None
    return str(path)


def folder_order(name: str) -> tuple[str, ...]:
    """Return the key that sorts members as a walk over folders does.

    Examples
    --------
    >>> sorted(["b/1", "a.b/1", "a/2"], key=folder_order)
    ['a/2', 'a.b/1', 'b/1']
    """
    return tuple(name.split("/"))


class _Version(NamedTuple):
    """A file as it is now, for one process: a fork shares the place in an open file."""

    path: Path
    size: int
    mtime_ns: int
    process: int


def _opened(path: Path) -> Container:
    status = path.stat()
    return _open(_Version(path, status.st_size, status.st_mtime_ns, os.getpid()))


@lru_cache(maxsize=MAX_OPEN)
def _open(version: _Version) -> Container:
    if version.path.name.lower().endswith(ZIP_SUFFIXES):
        from medfuse.io.zip_files import ZipContainer

        return ZipContainer(version.path)
    from medfuse.io.tar_files import TarContainer

    return TarContainer(version.path)


def _unreadable(error: OSError) -> VolumeError:
    return VolumeError("zip or tar", f"cannot be read ({type(error).__name__})", expected="a whole, readable file")


class Member(io.RawIOBase):
    """A member that is being read: every fault of its bytes is an OSError."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: object) -> int:
        """Read into a buffer; see `io.RawIOBase.readinto`."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
