"""Who writes to a folder, told by locks that end with the process."""

import errno
import fcntl
import os
import sys
from pathlib import Path

import pytest

from medfuse.errors import UsageError
from medfuse.scoring.locks import FolderLock, is_written


def test_a_folder_is_written_to_from_taking_it_until_giving_it_back(tmp_path: Path) -> None:
    assert not is_written(tmp_path)
    lock = FolderLock(tmp_path, (0, 1))
    assert is_written(tmp_path)
    with pytest.raises(UsageError, match="another process writes to it"):
        FolderLock(tmp_path, (0, 1))
    lock.release()
    assert not is_written(tmp_path)
    FolderLock(tmp_path, (0, 1)).release()


def test_giving_it_back_twice_closes_nothing_of_others(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, (0, 1))
    lock.release()
    with (tmp_path / "other").open("w") as other:  # has the number that the lock had
        lock.release()
        other.write("still open")
    assert (tmp_path / "other").read_text() == "still open"
    os.fstat(0)


def test_shares_of_one_number_go_together_and_no_other_number_beside_them(tmp_path: Path) -> None:
    locks = [FolderLock(tmp_path, (0, 2)), FolderLock(tmp_path, (1, 2))]
    with pytest.raises(UsageError, match="another number of parts"):
        FolderLock(tmp_path, (0, 3))
    for lock in locks:
        lock.release()
    FolderLock(tmp_path, (0, 3)).release()


def test_who_asks_is_not_taken_for_one_who_writes(tmp_path: Path) -> None:
    FolderLock(tmp_path, (0, 1)).release()
    with next(tmp_path.glob(".share-*")).open() as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)  # as another process does while it asks
        assert not is_written(tmp_path)


def test_where_the_system_knows_no_locks_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    first, second = FolderLock(tmp_path, (0, 1)), FolderLock(tmp_path, (0, 1))
    assert not is_written(tmp_path)
    first.release()
    second.release()


def test_where_the_file_system_knows_no_locks_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    first, second = FolderLock(tmp_path, (0, 1)), FolderLock(tmp_path, (0, 1))
    assert not is_written(tmp_path)
    first.release()
    second.release()
