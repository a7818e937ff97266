"""One writer a results folder, or one a share of it."""

from __future__ import annotations

import os
from pathlib import Path

from medfuse.errors import UsageError

__all__ = ["FolderLock", "is_written"]


class FolderLock:
    """Keeps other processes from writing to a folder; the system releases it when this process ends, however.

    Parameters
    ----------
    folder : Path
    share : (int, int)
        Which of how many shares of the work this process does.

    Raises
    ------
    UsageError
        If another process does this share, or shares the work in another number.
    """

    def __init__(self, folder: Path, share: tuple[int, int]) -> None:
        own = folder / f".share-{share[0]}of{share[1]}.lock"
        self._descriptor = os.open(own, os.O_RDWR | os.O_CREAT, 0o644)
        if not _take(self._descriptor):
            self.release()
            raise UsageError("--out", "another process writes to it", expected="one at a time, or --num-parts")
        for other in folder.glob(".share-*of*.lock"):
            if not other.name.endswith(f"of{share[1]}.lock") and _is_taken(other):
                self.release()
                found = "another process scores a part of another number of parts"
                raise UsageError("--out", found, expected="the same --num-parts at one time")

    def release(self) -> None:
        """Give it back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_written(folder: Path) -> bool:
    """Tell whether a process writes to a folder now."""
    return any(_is_taken(path) for path in folder.glob(".share-*of*.lock"))


def _take(descriptor: int, *, is_shared: bool = False) -> bool:
    """Lock a file; where the file system knows no locks, nothing is locked."""
    try:
        import fcntl
    except ImportError:  # no POSIX
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_taken(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR)
    try:
        return not _take(descriptor, is_shared=True)
    finally:
        os.close(descriptor)
