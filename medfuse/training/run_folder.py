"""The folder of a run: one training writes to it at a time, and only where it can."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medfuse.errors import UsageError

__all__ = ["check_writable", "held_folder"]


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before hours are spent on what shall go there; makes nothing.

    Raises
    ------
    UsageError
        Where it, or the folder that it would be made in, cannot be written to, or the disk is full.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        raise _closed(folder, error) from error


def _closed(folder: Path, error: OSError) -> UsageError:
    found = f"{folder.name} cannot be written to ({error.strerror})"
    return UsageError("--out", found, expected="a folder of yours, on a disk with room")


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a folder; the system gives it back when this process ends, however.

    Raises
    ------
    UsageError
        If another training writes to it, or it cannot be written to.
    """
    check_writable(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _closed(folder, error) from error
    if sys.platform == "win32":
        yield
        return
    import fcntl

    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            found = f"another training writes to {folder.name}"
            raise UsageError("--out", found, expected="one at a time, or another folder") from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(held)
