"""Prepared boxes on disk, found by what they were made of: kept between runs, shared by folds and configurations.

A folder of packs and one index (SQLite). A pack is written at its end alone and never changed, so that whoever holds a
`StoredBox` reads on even while another process makes room by removing the pack. A box has two names in the index:

- its *key*, the digest of its source's bytes and of all that was done to them (`medfuse.data.source_parts.digest_of`);
- any number of *requests*, digests of the question it answers: which version of which files (path, size, times and
  inode), which place, which options. A request that is known needs no source file to be opened.

Both are plain SHA-256: a secret key would have to lie beside the boxes, which tell more than it hides. Pack names are
random; nothing of a patient is in the folder but the boxes' voxels, and what is made in it is the user's alone (0600).
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import DataError, UsageError

__all__ = ["BoxStore", "StoredBox"]

SCHEMA = """
CREATE TABLE packs(name TEXT PRIMARY KEY, bytes INTEGER, used REAL);
CREATE TABLE boxes(key BLOB PRIMARY KEY, pack TEXT, offset INTEGER, bytes INTEGER, checksum INTEGER, facts TEXT);
CREATE INDEX boxes_by_pack ON boxes(pack);
CREATE TABLE requests(request BLOB PRIMARY KEY, key BLOB) WITHOUT ROWID;
CREATE INDEX requests_by_key ON requests(key);
PRAGMA user_version = 1;
"""
INDEX, SUFFIX = "index.sqlite", ".pack"
LAYOUT = 1
PACK_BYTES, PACKS = 256 * 10**6, 16
"""A pack ends at PACK_BYTES, or at a PACKS-th of the limit if that is less: room is made pack by pack."""

LOCK_SECONDS = 60.0
Facts = Mapping[str, Any]
Found = tuple["StoredBox", Facts]


@dataclass(frozen=True, slots=True)
class StoredBox:
    """Where a prepared box lies; a few bytes, whatever its size.

    Parameters
    ----------
    pack : str
        Path of its file.
    offset : int
        Where its first byte is.
    shape : tuple of int
        (C, I, J, K).
    """

    pack: str = field(repr=False)
    offset: int
    shape: tuple[int, ...]

    def read(self) -> NDArray[np.uint16]:
        """Read it: in steps of 1 / 65535, shape (C, I, J, K).

        Raises
        ------
        DataError
            If its file is gone or shorter than it was.
        """
        # Read, not mapped: pages that are mapped count as this process's memory for as long as it lives.
        steps = np.empty(self.shape, dtype=np.uint16)
        try:
            n_read = os.preadv(_descriptor(self.pack), [steps.data], self.offset)
        except OSError:
            n_read = 0
        if n_read < steps.nbytes:
            raise DataError("data.cache", "found a kept image cut or removed while it was used", expected="a rerun")
        return steps


@cache
def _descriptor(pack: str) -> int:
    """Open a pack for as long as the process lives: what is open can be read even when it is removed."""
    return os.open(pack, os.O_RDONLY)


class BoxStore:
    """Prepared boxes by the digest of their source; a context manager that closes its index.

    Parameters
    ----------
    folder : Path
        Made where needed. A damaged index, or one of another version, is begun anew.
    max_bytes : int
        Largest size of all packs; what was used longest ago makes room.

    Attributes
    ----------
    n_added : int
        Boxes that this object kept.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.n_added = 0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = self._opened()
        except (OSError, sqlite3.OperationalError) as error:
            found = f"found a folder that cannot be used ({type(error).__name__})"
            raise UsageError("data.cache.folder", found, expected="one that can be written") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index; boxes that were handed out can still be read."""
        self._connection.close()

    def find(self, request: bytes) -> Found | None:
        """Return the box that answers a request, and the facts that were kept with it; None if there is none.

        Its checksum is verified: a box that is damaged or cut is forgotten, to be made again.
        """
        query = "SELECT boxes.* FROM requests JOIN boxes ON boxes.key = requests.key WHERE request = ?"
        return self._found(query, request)

    def find_key(self, key: bytes, *, request: bytes) -> Found | None:
        """Return the box of a key, which from now on answers the request too; None if there is none."""
        found = self._found("SELECT * FROM boxes WHERE key = ?", key)
        if found is not None:
            with self._writing() as connection:
                connection.execute("INSERT OR REPLACE INTO requests VALUES (?, ?)", (request, key))
        return found

    def add(self, key: bytes, steps: NDArray[np.uint16], facts: Facts, *, request: bytes) -> StoredBox:
        """Keep a box.

        Parameters
        ----------
        key : bytes
        steps : ndarray of uint16, shape (C, I, J, K)
        facts : mapping
            Kept with it, as JSON; nothing of a patient.
        request : bytes
            That it answers.

        Returns
        -------
        StoredBox

        Raises
        ------
        UsageError
            If it is larger than the whole store may be, or the disk is full.
        """
        data = np.ascontiguousarray(steps).data.cast("B")
        self.check_room(1, data.nbytes)
        told = json.dumps({**facts, "shape": list(steps.shape)})
        try:
            with self._writing() as connection:
                pack, offset = self._place(data.nbytes)
                path = self.folder / pack
                with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:  # noqa: PTH123 - a descriptor
                    file.seek(offset)
                    file.write(data)
                row = (key, pack, offset, data.nbytes, _checksum(data, told), told)
                connection.execute("INSERT OR REPLACE INTO boxes VALUES (?, ?, ?, ?, ?, ?)", row)
                connection.execute("INSERT OR REPLACE INTO requests VALUES (?, ?)", (request, key))
        except OSError as error:
            found = f"found no place to write to ({type(error).__name__})"
            raise UsageError("data.cache.folder", found, expected="room on the disk, or data.cache.max_gb=0") from error
        box = StoredBox(os.fspath(path), offset, steps.shape)
        _descriptor(box.pack)
        self.n_added += 1
        return box

    def check_room(self, n_boxes: int, n_bytes: int) -> None:
        """Refuse a limit that a data set does not fit in: every run would prepare it again.

        Raises
        ------
        UsageError
            If boxes of so many bytes are more than the store may hold.
        """
        # Room is made pack by pack: one may be there that holds other boxes, and one is not full.
        if n_boxes * n_bytes > self.max_bytes * (1 - (2 / PACKS if n_boxes > 1 else 0)):
            needed = n_boxes * n_bytes / (1 - 2 / PACKS) / 1e9
            found = f"found {self.max_bytes / 1e9:g} GB, and {n_boxes} images of {n_bytes} bytes"
            raise UsageError("data.cache.max_gb", found, expected=f"{needed:.3g} at least, or 0 to keep none")

    def size(self) -> int:
        """Return the bytes of all packs."""
        ((total,),) = self._connection.execute("SELECT coalesce(sum(bytes), 0) FROM packs")
        return int(total)

    def _found(self, query: str, name: bytes) -> Found | None:
        row = self._connection.execute(query, (name,)).fetchone()
        if row is None:
            return None
        key, pack, offset, _, checksum, told = row
        try:
            facts = json.loads(told)
            box = StoredBox(os.fspath(self.folder / pack), offset, tuple(facts.pop("shape")))
            is_whole = _checksum(box.read().data.cast("B"), told) == checksum
        except (DataError, ValueError, TypeError, LookupError):
            is_whole = False
        if not is_whole:
            with self._writing() as connection:
                connection.execute("DELETE FROM boxes WHERE key = ? AND pack = ? AND offset = ?", (key, pack, offset))
            return None
        self._touch(pack)
        return box, facts

    def _touch(self, pack: str) -> None:
        """Note that a pack is in use; once a minute is enough."""
        now = time.time()
        ((used,),) = self._connection.execute("SELECT used FROM packs WHERE name = ?", (pack,)).fetchall() or ((now,),)
        if now - used > 60:
            with self._writing() as connection:
                connection.execute("UPDATE packs SET used = ? WHERE name = ?", (now, pack))

    def _place(self, n_bytes: int) -> tuple[str, int]:
        """Return a pack and where in it a box goes; make room first. Within a transaction."""
        connection, largest = self._connection, min(PACK_BYTES, self.max_bytes // PACKS)
        newest = connection.execute("SELECT name, bytes FROM packs ORDER BY rowid DESC LIMIT 1").fetchone()
        if newest is None or newest[1] + n_bytes > max(largest, n_bytes) or not (self.folder / newest[0]).exists():
            newest = (secrets.token_hex(16) + SUFFIX, 0)
            connection.execute("INSERT INTO packs VALUES (?, 0, 0)", newest[:1])
        name, offset = newest
        total = self.size() + n_bytes
        oldest = connection.execute("SELECT name, bytes FROM packs WHERE name != ? ORDER BY used, rowid", (name,))
        for other, size in oldest.fetchall():
            if total <= self.max_bytes:
                break
            total -= size
            self._remove(other)
        connection.execute("UPDATE packs SET bytes = ?, used = ? WHERE name = ?", (offset + n_bytes, time.time(), name))
        return name, offset

    def _remove(self, pack: str) -> None:
        connection = self._connection
        connection.execute("DELETE FROM requests WHERE key IN (SELECT key FROM boxes WHERE pack = ?)", (pack,))
        connection.execute("DELETE FROM boxes WHERE pack = ?", (pack,))
        connection.execute("DELETE FROM packs WHERE name = ?", (pack,))
        (self.folder / pack).unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One process at a time; what is interrupted is as if it had not been."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _opened(self) -> sqlite3.Connection:
        path = self.folder / INDEX
        for _ in range(2):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            path.chmod(0o600)  # SQLite gives its journal the same
            connection = sqlite3.connect(path, isolation_level=None, timeout=LOCK_SECONDS)
            try:
                connection.execute("PRAGMA synchronous = OFF")  # what a power cut spoils, the checksums tell
                connection.execute("PRAGMA journal_mode = PERSIST")  # making a file a box is what takes long
                if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("damaged")
                connection.execute("BEGIN IMMEDIATE")
                ((layout,),) = connection.execute("PRAGMA user_version")
                if layout not in (0, LAYOUT):
                    raise sqlite3.DatabaseError("of another version")
                if layout == 0:
                    for statement in filter(None, map(str.strip, SCHEMA.split(";"))):
                        connection.execute(statement)
                connection.execute("COMMIT")
                return connection
            except sqlite3.OperationalError:  # locked, or not to be written: nothing is wrong with it
                connection.close()
                raise
            except sqlite3.DatabaseError:
                connection.close()
                _empty(self.folder)
        raise sqlite3.OperationalError("cannot be made anew")


def _checksum(data: memoryview, told: str) -> int:
    return zlib.crc32(data, zlib.crc32(told.encode()))


def _empty(folder: Path) -> None:
    """Remove what a store keeps, and nothing else."""
    packs: Iterable[Path] = folder.glob(f"*{SUFFIX}")
    for path in (*packs, folder / INDEX, folder / f"{INDEX}-journal"):
        with suppress(FileNotFoundError):
            path.unlink()
