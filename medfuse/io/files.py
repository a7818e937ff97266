"""Walking a folder: regular files in a fixed order, nothing outside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from medfuse.errors import DataError

__all__ = ["walk_files"]


def walk_files(root: Path, *, problems: list[tuple[Path, DataError]]) -> Iterator[Path]:
    """Yield the regular files under a folder, sorted by name, folder by folder.

    Pipes, sockets and devices are passed over. Links are not followed: a target inside the folder is met anyway.

    Parameters
    ----------
    root : Path
    problems : list
        Gets (path, error) of each folder that cannot be listed and each link that leaves the folder.

    Yields
    ------
    Path
    """
    yield from _walk(root, root.resolve(), problems)


def _walk(folder: Path, root: Path, problems: list[tuple[Path, DataError]]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        found = f"cannot be listed ({type(error).__name__})"
        problems.append((folder, DataError("folder", found, expected="a folder that can be read")))
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_symlink():
            if not Path(os.path.realpath(path)).is_relative_to(root):
                problems.append((path, DataError("link", "found a link that leaves the folder; it is not followed")))
        elif entry.is_dir():
            yield from _walk(path, root, problems)
        elif stat.S_ISREG(entry.stat().st_mode):
            yield path
