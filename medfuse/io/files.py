"""Walking what a user points at: regular files in a fixed order, zip and tar files as folders, nothing outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from medfuse.errors import DataError, VolumeError
from medfuse.io.containers import WITHIN, Problems, container_of, is_container, members_of, root_within
from medfuse.io.dicomdir import is_dicomdir, listed_files, missing_files

__all__ = ["input_files", "input_root", "is_archive", "walk_files"]


def is_archive(path: Path) -> bool:
    """Tell whether a path holds files: a folder, a zip, a tar or a DICOMDIR.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    return path.is_dir() or (path.is_file() and (is_container(path) or is_dicomdir(path)))


def input_root(path: Path) -> Path:
    """Return the folder that the files of `input_files` lie under.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path
        Of a zip or tar the path that stands for what is inside, of a DICOMDIR or another file its folder.
    """
    if path.is_dir():
        return path
    return root_within(path) if is_container(path) else path.parent


def input_files(path: Path, *, problems: Problems) -> Iterator[Path]:
    """Yield the files that a user points at.

    Parameters
    ----------
    path : Path
        A folder, a zip, a tar or a DICOMDIR; or a single file, which is yielded itself.
    problems : list
        Gets (path, error); see `walk_files`. Of a DICOMDIR, also each file that it lists but that is not there.

    Yields
    ------
    Path
        Of a DICOMDIR the files that it lists, and no others.
    """
    if path.is_dir():
        yield from walk_files(path, problems=problems)
    elif is_container(path):
        yield from members_of(path, problems=problems)
    elif is_dicomdir(path):
        yield from listed_files(path, problems=problems)
    else:
        yield path


def walk_files(root: Path, *, problems: Problems) -> Iterator[Path]:
    """Yield the regular files under a folder, sorted by name, folder by folder.

    Pipes, sockets and devices are passed over. Links are not followed: a target inside the folder is met anyway.
    A zip or tar is a folder of its members (those within another one stay closed).

    Parameters
    ----------
    root : Path
    problems : list
        Gets (path, error) of each folder that cannot be listed, each link that leaves the folder, each member
        that is refused, and each file that a DICOMDIR lists but that is not there.

    Yields
    ------
    Path
        Which `medfuse.io.containers.open_bytes` opens.
    """
    if root.name.endswith(WITHIN) and (found := container_of(root)) is not None:
        yield from members_of(found[0], problems=problems)
    else:
        yield from _walk(root, os.path.realpath(root) + os.sep, problems)


def _walk(folder: Path, root: str, problems: Problems) -> Iterator[Path]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        found = f"cannot be listed ({type(error).__name__})"
        problems.append((folder, VolumeError("folder", found, expected="a folder that can be read")))
        return
    for entry in entries:
        if entry.is_file(follow_symlinks=False):
            path = folder / entry.name
            if is_container(entry.name):
                yield from members_of(path, problems=problems)
            else:
                if entry.name.upper() == "DICOMDIR":
                    problems += missing_files(path)
                yield path
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, root, problems)
        elif entry.is_symlink() and not (os.path.realpath(entry.path) + os.sep).startswith(root):
            left = DataError("link", "found a link that leaves the folder; it is not followed")
            problems.append((Path(entry.path), left))
