"""What the files of an archive are, file by file, on disk: memory stays bounded, and the next run reads only the rest.

Real ids are in it. Kept between runs it is a private file of the user's own folder (mode 0600), never an output.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medfuse import __version__
from medfuse.io.pseudonyms import private_folder

__all__ = ["ArchiveStore", "Facts", "KnownFiles", "Version", "forget", "kept_store"]

_OUT_OF_REACH = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_PERM,
}  # fmt: skip
SCHEMA = """
CREATE TABLE run(made_by TEXT, number INTEGER);
CREATE TABLE series(id INTEGER PRIMARY KEY, study_uid TEXT, series_uid TEXT, UNIQUE(study_uid, series_uid));
CREATE TABLE bases(id INTEGER PRIMARY KEY, facts TEXT);
CREATE TABLE files(path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, run INTEGER, kind TEXT, series INTEGER,
    base INTEGER, facts TEXT) WITHOUT ROWID;
CREATE INDEX files_by_series ON files(series, path) WHERE series IS NOT NULL;
CREATE TABLE verdicts(signature BLOB PRIMARY KEY, run INTEGER, facts TEXT) WITHOUT ROWID;
"""
SLICE, OTHER = "slice", "other"
FILES_A_COMMIT = 250
BASES_AT_HAND = 64
SERIES_AT_HAND = 1024
CACHE_KIB = 8192
LOCK_SECONDS = 1.0

Facts = Mapping[str, Any]
Version = tuple[int, int]
"""Size and mtime_ns of a file."""

UNKNOWN: Version = (-1, -1)
"""Of files that are read again by every run."""

log = logging.getLogger("medfuse")


def kept_store(root: Path) -> Path:
    """Return where the facts of an archive are kept between runs: in the user's own folder, by a digest of its path.

    Parameters
    ----------
    root : Path

    Returns
    -------
    Path
    """
    digest = hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=16).hexdigest()
    return private_folder() / "index" / f"{digest}.sqlite"


class ArchiveStore:
    """The facts of an archive's files; a context manager that closes the file.

    Parameters
    ----------
    path : Path, optional
        Where they are kept. A file that is damaged, or that another version made, is made anew; where another process
        works with it, or without a path, they are kept for this run only.
    made_by : str
        What the facts depend on beside the files.
    """

    def __init__(self, path: Path | None, *, made_by: str = "") -> None:
        self.is_kept = path is not None
        self._made_by = f"{__version__} {made_by}"
        self._pending: list[tuple[object, ...]] = []
        self._n_changes = 0
        self._series: dict[tuple[str, str], int] = {}
        self._bases: dict[int, tuple[int, Facts]] = {}
        self._connection = self._open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._connection.execute("DELETE FROM verdicts WHERE run != ?", (self._run,))
            if not isinstance(error, sqlite3.Error):
                self._write()  # whatever stopped the run, what was read is kept
        finally:
            self._connection.close()

    def has(self, path: bytes, version: Version) -> bool:
        """Tell whether a file is known and unchanged; then it belongs to this run too."""
        done = self._connection.execute(
            "UPDATE files SET run = ? WHERE path = ? AND size = ? AND mtime_ns = ?", (self._run, path, *version)
        )
        self._changed()
        return done.rowcount == 1

    def add(self, path: bytes, version: Version, kind: str, facts: Facts) -> None:
        """Add what a file is."""
        self._add((path, *version, self._run, kind, None, None, json.dumps(facts) if facts else ""))

    def add_slice(self, path: bytes, version: Version, ids: tuple[str, str], facts: Facts) -> None:
        """Add a slice of (study_uid, series_uid): of its facts only what differs from its series is written."""
        series = self._series.get(ids) or self._series_number(ids)
        if series not in self._bases:
            if len(self._bases) >= BASES_AT_HAND:
                del self._bases[next(iter(self._bases))]
            done = self._connection.execute("INSERT INTO bases(facts) VALUES (?)", (json.dumps(facts),))
            self._bases[series] = (int(done.lastrowid or 0), facts)
        base, common = self._bases[series]
        known = common.get
        differing = {key: value for key, value in facts.items() if known(key) != value}
        if len(facts) - len(differing) < len(common):
            differing |= {key: None for key in common if key not in facts}
        self._add((path, *version, self._run, SLICE, series, base, json.dumps(differing)))

    def _series_number(self, ids: tuple[str, str]) -> int:
        """Return the number of a series, of a new one a new number; those met last are kept at hand."""
        if len(self._series) >= SERIES_AT_HAND:
            self._series.clear()
        query = "SELECT id FROM series WHERE study_uid = ? AND series_uid = ?"
        known = self._connection.execute(query, ids).fetchone()
        if known is None:
            insertion = "INSERT INTO series(study_uid, series_uid) VALUES (?, ?)"
            known = (int(self._connection.execute(insertion, ids).lastrowid or 0),)
        self._series[ids] = int(known[0])
        return self._series[ids]

    def finish(self) -> None:
        """Forget the files that this run has not met."""
        self._write()
        gone = self._connection.execute("DELETE FROM files WHERE run != ?", (self._run,)).rowcount
        if gone:
            used = "(SELECT DISTINCT base FROM files WHERE base IS NOT NULL)"
            self._connection.execute(f"DELETE FROM bases WHERE id NOT IN {used}")  # noqa: S608 - a constant
        self._write()

    def count(self, kind: str) -> int:
        """Return how many files are of a kind."""
        ((number,),) = self._connection.execute("SELECT count(*) FROM files WHERE kind = ?", (kind,))
        return int(number)

    def special(self) -> Iterator[tuple[bytes, str, Facts]]:
        """Yield path, kind and facts of every file that is neither a slice nor another file, sorted by path."""
        query = "SELECT path, kind, facts FROM files WHERE kind NOT IN (?, ?) ORDER BY path"
        for path, kind, facts in self._connection.execute(query, (SLICE, OTHER)):
            yield path, kind, json.loads(facts) if facts else {}

    def series(self) -> Iterator[tuple[str, str]]:
        """Yield (study_uid, series_uid) of every series, sorted."""
        query = """SELECT study_uid, series_uid FROM series WHERE (study_uid, series_uid) > (?, ?)
            AND EXISTS (SELECT 1 FROM files WHERE files.series = series.id)
            ORDER BY study_uid, series_uid LIMIT ?"""
        last = ("", "")
        while found := self._connection.execute(query, (*last, SERIES_AT_HAND)).fetchall():
            yield from found
            last = found[-1]

    def shared_series(self) -> set[str]:
        """Return the series_uids that are in several studies."""
        query = """SELECT series_uid FROM series WHERE EXISTS (SELECT 1 FROM files WHERE files.series = series.id)
            GROUP BY series_uid HAVING count(*) > 1"""
        return {series_uid for (series_uid,) in self._connection.execute(query)}

    def slices(self, ids: tuple[str, str]) -> Iterator[tuple[bytes, Version, dict[str, Any]]]:
        """Yield path, version and facts of every slice of (study_uid, series_uid), sorted by path."""
        query = """SELECT path, size, mtime_ns, files.facts, base, bases.facts FROM series
            JOIN files ON files.series = series.id JOIN bases ON bases.id = files.base
            WHERE study_uid = ? AND series_uid = ? ORDER BY path"""
        at_hand, common = None, dict[str, Any]()
        for path, size, mtime_ns, differing, base, facts in self._connection.execute(query, ids):
            if base != at_hand:
                at_hand, common = base, json.loads(facts)
            found = common | json.loads(differing)
            if None in found.values():
                found = {key: value for key, value in found.items() if value is not None}
            yield path, (size, mtime_ns), found

    def verdict(self, signature: bytes) -> Facts | None:
        """Return what an earlier run found out of the same files, and keep it."""
        query = "UPDATE verdicts SET run = ? WHERE signature = ? RETURNING facts"
        for (facts,) in self._connection.execute(query, (self._run, signature)).fetchall():
            return dict(json.loads(facts))
        return None

    def keep_verdict(self, signature: bytes, facts: Facts) -> None:
        """Keep what was found out of some files."""
        values = (signature, self._run, json.dumps(facts))
        self._connection.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)", values)

    def _add(self, row: tuple[object, ...]) -> None:
        self._pending.append(row)
        self._changed()

    def _changed(self) -> None:
        self._n_changes += 1
        if self._n_changes >= FILES_A_COMMIT:
            self._write()

    def _write(self) -> None:
        """Write what is pending, so that it survives the process."""
        self._connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._pending)
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN")
        self._pending.clear()
        self._n_changes = 0

    def _open(self, path: Path | None) -> sqlite3.Connection:
        if path is not None:
            try:
                return self._opened(path)
            except (OSError, sqlite3.DatabaseError) as error:
                if not _is_damage(error):
                    kind = type(error).__name__
                    log.warning("the facts of earlier runs cannot be used (%s): every file is read", kind)
                else:
                    log.warning("the facts of earlier runs are damaged: every file is read again")
                    forget(path)
                    return self._opened(path)
        self.is_kept = False
        return self._started(sqlite3.connect("", isolation_level=None))

    def _opened(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
        path.chmod(0o600)
        connection = sqlite3.connect(path, isolation_level=None, timeout=LOCK_SECONDS)
        try:
            return self._started(connection)
        except BaseException:
            connection.close()
            raise

    def _started(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Make the tables, or take those that are there if the same version made them; lock them for this run."""
        for setting in ("synchronous = OFF", f"cache_size = -{CACHE_KIB}", "locking_mode = EXCLUSIVE"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("BEGIN IMMEDIATE")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        run = connection.execute("SELECT made_by, number FROM run").fetchone() if "run" in tables else None
        if run is None or run[0] != self._made_by:
            for name in tables:
                connection.execute(f'DROP TABLE "{name}"')
            for statement in filter(None, map(str.strip, SCHEMA.split(";"))):
                connection.execute(statement)
            connection.execute("INSERT INTO run VALUES (?, 0)", (self._made_by,))
        connection.execute("UPDATE run SET number = number + 1")
        ((self._run,),) = connection.execute("SELECT number FROM run")
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        return connection


def _is_damage(error: Exception) -> bool:
    """Tell a store that is broken from one that is there but cannot be had: locked, write-protected, on a full disk."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, sqlite3.DatabaseError) and primary not in _OUT_OF_REACH


class KnownFiles:
    """What an earlier run kept, for looking only; a context manager.

    Parameters
    ----------
    path : Path
        Of the store; nothing is known if it is not there, damaged, in use or of another version.
    made_by : str
        See `ArchiveStore`.
    """

    def __init__(self, path: Path, *, made_by: str = "") -> None:
        self._connection = sqlite3.connect(":memory:")
        try:
            kept = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=LOCK_SECONDS)
        except sqlite3.Error:
            return
        try:
            (found,) = kept.execute("SELECT made_by FROM run").fetchone()
        except (sqlite3.Error, TypeError):
            found = None
        if found == f"{__version__} {made_by}":
            self._connection, kept = kept, self._connection
        kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def has(self, path: bytes, version: Version) -> bool:
        """Tell whether a file is known and unchanged."""
        query = "SELECT 1 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?"
        try:
            return self._connection.execute(query, (path, *version)).fetchone() is not None
        except sqlite3.Error:
            return False


def forget(path: Path) -> None:
    """Remove what a store keeps."""
    for name in (path.name, f"{path.name}-journal"):
        path.with_name(name).unlink(missing_ok=True)
