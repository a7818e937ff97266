"""One digest of what lies in some places, from one listing: the same digest, the same files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from medfuse.errors import UsageError

__all__ = ["fingerprint"]

INSTANCE_SUFFIX = ".dcm"
"""A DICOM instance never changes under its name: PS3.3 C.12.1.1. Of other files size and time count too."""


def fingerprint(places: Iterable[Path], *, without: Path | None = None) -> str:
    """Return a digest of names, sizes and times of the files in some places; no file is opened.

    Parameters
    ----------
    places : iterable of Path
        Files or folders.
    without : Path, optional
        A folder that is left out, such as that of results.

    Returns
    -------
    str

    Raises
    ------
    UsageError
        If a place is not there or cannot be listed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     before = fingerprint([Path(folder)])
    ...     _ = Path(folder, "report.txt").write_text("FINDINGS: Clear.")
    ...     before == fingerprint([Path(folder)])
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    left_out = None if without is None else os.path.realpath(without)
    try:
        for place in places:
            root = os.path.realpath(place)
            digest.update(root.encode(errors="surrogateescape"))
            if os.path.isdir(root):  # noqa: PTH112 - millions of names: as text
                for line in _lines(root, left_out):
                    digest.update(line)
            else:
                digest.update(_version(os.stat(root)))  # noqa: PTH116
    except OSError as error:
        found = f"cannot be listed ({type(error).__name__})"
        raise UsageError("INPUT", found, expected="files and folders that can be read") from error
    return digest.hexdigest()


def _lines(folder: str, left_out: str | None) -> Iterator[bytes]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    below: list[str] = []
    yield os.fsencode(folder)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            below.append(entry.path)
        else:
            yield os.fsencode(entry.name)
            if not entry.name.endswith(INSTANCE_SUFFIX):
                yield _version(entry.stat(follow_symlinks=False))
    for path in below:
        if path != left_out:
            yield from _lines(path, left_out)


def _version(status: os.stat_result) -> bytes:
    return b"\0%d %d\0" % (status.st_size, status.st_mtime_ns)
