"""The studies of an archive one after another: what is known of them lies on disk, so that memory does not grow."""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from medfuse.config import SeriesRule
from medfuse.errors import DataError
from medfuse.io.archive_series import FoundSeries
from medfuse.io.companions import only_companion
from medfuse.io.report_documents import Paired
from medfuse.io.report_pairing import StudyIds
from medfuse.io.studies import LesionEntry, StudyEntry
from medfuse.io.study_entries import StudyParts, study_entry
from medfuse.types import Unit

__all__ = ["StoredStudies", "StudyTable"]

STUDIES_AT_ONCE = 256
FOLDERS_AT_HAND = 4096
SCHEMA = """
CREATE TABLE series(study TEXT, series TEXT, content BLOB, PRIMARY KEY(study, series)) WITHOUT ROWID;
CREATE TABLE owners(series TEXT PRIMARY KEY, study TEXT) WITHOUT ROWID;
CREATE TABLE folders(folder BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE companions(kind TEXT, folder BLOB, name BLOB, rank INTEGER, PRIMARY KEY(kind, folder)) WITHOUT ROWID;
CREATE TABLE nearest(kind TEXT, study TEXT, path BLOB, PRIMARY KEY(kind, study, path)) WITHOUT ROWID;
CREATE INDEX users ON nearest(kind, path);
CREATE TABLE objects(study TEXT, path BLOB, sop_class TEXT, PRIMARY KEY(study, path)) WITHOUT ROWID;
CREATE TABLE reports(study TEXT PRIMARY KEY, content BLOB) WITHOUT ROWID;
CREATE TABLE lesions(number INTEGER PRIMARY KEY, study TEXT, content BLOB);
CREATE INDEX given ON lesions(study);
"""
REPORT, MASK = "report", "mask"


class StudyTable:
    """What an archive holds, by study, in a temporary file that nobody else can open. Real ids are in it.

    Parameters
    ----------
    root : Path
        Where the search for reports and masks ends.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lost: dict[str, DataError] = {}
        self.reasons = Counter[str]()
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(SCHEMA)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("BEGIN")
        self._nearest = lru_cache(FOLDERS_AT_HAND)(self._look_up)

    def add_companion(self, kind: str, path: Path, rank: int) -> None:
        """Add a report or mask; of several in one folder the one of the least rank stays. To be done before series."""
        folder, name = os.fsencode(path.parent), os.fsencode(path.name)
        query = """INSERT INTO companions VALUES (?, ?, ?, ?) ON CONFLICT(kind, folder)
            DO UPDATE SET name = excluded.name, rank = excluded.rank WHERE excluded.rank < rank"""
        self._db.execute(query, (kind, folder, name, rank))

    def add_object(self, study_uid: str, path: Path, sop_class: str) -> None:
        """Add a SEG or RTSTRUCT object of a study."""
        self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", (study_uid, os.fsencode(path), sop_class))

    def add_series(self, found: FoundSeries) -> None:
        """Add a series, and find the reports and masks that lie nearest to it."""
        study, series = str(found.row["study_uid"]), str(found.row["series_uid"])
        content = pickle.dumps((found.row, found.source))
        self._db.execute("INSERT INTO series VALUES (?, ?, ?)", (study, series, content))
        self._db.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (series, study))
        for folder in found.folders:
            self._db.execute("INSERT OR IGNORE INTO folders VALUES (?)", (os.fsencode(folder),))
            for kind in (REPORT, MASK):
                if (path := self._nearest(kind, folder)) is not None:
                    self._db.execute("INSERT OR IGNORE INTO nearest VALUES (?, ?, ?)", (kind, study, path))
        if not found.row["n_volumes"] and not found.is_auxiliary:
            self.reasons[str(found.row["reason"])] += 1

    def add_report(self, study_uid: str, report: Paired) -> None:
        """Add the report that a study has by its ids; one that lies beside its images comes first."""
        self._db.execute("INSERT INTO reports VALUES (?, ?)", (study_uid, pickle.dumps(report)))

    def add_lesion(self, study_uid: str, lesion: LesionEntry) -> None:
        """Add a lesion that the user gives."""
        self._db.execute("INSERT INTO lesions(study, content) VALUES (?, ?)", (study_uid, pickle.dumps(lesion)))

    def holds_study(self, study_uid: str) -> bool:
        """Tell whether a study is there."""
        return self._db.execute("SELECT 1 FROM series WHERE study = ? LIMIT 1", (study_uid,)).fetchone() is not None

    def study_of(self, series_uid: str) -> str:
        """Return the study of a series; empty if it is not there."""
        found = self._db.execute("SELECT study FROM owners WHERE series = ?", (series_uid,)).fetchone()
        return "" if found is None else str(found[0])

    def uses(self, folder: Path) -> bool:
        """Tell whether a folder holds a series."""
        query = "SELECT 1 FROM folders WHERE folder = ?"
        return self._db.execute(query, (os.fsencode(folder),)).fetchone() is not None

    def study_ids(self) -> dict[str, StudyIds]:
        """Return the ids of each study beside its StudyInstanceUID; these lie in memory."""
        ids: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        for (content,) in self._db.execute("SELECT content FROM series"):
            row, _ = pickle.loads(content)  # noqa: S301 - written by this process into a file that nobody else can open
            accessions, patients = ids[str(row["study_uid"])]
            accessions.update(filter(None, str(row["accession_number"]).split("\\")))
            patients.update(filter(None, [str(row["patient_id"])]))
        return {uid: StudyIds(frozenset(numbers), frozenset(patients)) for uid, (numbers, patients) in ids.items()}

    def count(self) -> int:
        """Count the studies."""
        ((number,),) = self._db.execute("SELECT count(DISTINCT study) FROM series")
        return int(number)

    def uids(self) -> Iterator[str]:
        """Yield the studies, sorted."""
        query = "SELECT DISTINCT study FROM series WHERE study > ? ORDER BY study LIMIT ?"
        last = ""
        while found := self._db.execute(query, (last, STUDIES_AT_ONCE)).fetchall():
            for (uid,) in found:
                yield uid
            last = found[-1][0]

    def parts(self, study_uid: str) -> tuple[StudyParts, tuple[LesionEntry, ...]]:
        """Return what there is of a study, and the lesions that the user gives."""
        contents = self._db.execute("SELECT content FROM series WHERE study = ? ORDER BY series", (study_uid,))
        series = [pickle.loads(content) for (content,) in contents]  # noqa: S301 - as above
        sources = {str(row["series_uid"]): source for row, source in series if row["n_volumes"]}
        objects = self._db.execute("SELECT path, sop_class FROM objects WHERE study = ? ORDER BY path", (study_uid,))
        marks = [(Path(os.fsdecode(path)), kind) for path, kind in objects]
        given = self._db.execute("SELECT content FROM lesions WHERE study = ? ORDER BY number", (study_uid,))
        lesions = tuple(pickle.loads(content) for (content,) in given)  # noqa: S301 - as above
        report = self._companion(REPORT, study_uid)
        if report is None:
            found = self._db.execute("SELECT content FROM reports WHERE study = ?", (study_uid,)).fetchone()
            report = None if found is None else pickle.loads(found[0])  # noqa: S301 - as above
        rows = [row for row, _ in series]
        return StudyParts(study_uid, rows, sources, report, self._companion(MASK, study_uid), marks), lesions

    def _companion(self, kind: str, study_uid: str) -> Path | DataError | None:
        query = "SELECT path FROM nearest WHERE kind = ? AND study = ?"
        paths = [Path(os.fsdecode(path)) for (path,) in self._db.execute(query, (kind, study_uid))]
        return only_companion(paths, lambda path: self._n_users(kind, path), what=kind) if paths else None

    def _n_users(self, kind: str, path: Path) -> int:
        query = "SELECT count(*) FROM nearest WHERE kind = ? AND path = ?"
        ((number,),) = self._db.execute(query, (kind, os.fsencode(path)))
        return int(number)

    def _look_up(self, kind: str, folder: Path) -> bytes | None:
        """Return the companion that lies in a folder, else in the nearest one above it."""
        query = "SELECT name FROM companions WHERE kind = ? AND folder = ?"
        found = self._db.execute(query, (kind, os.fsencode(folder))).fetchone()
        if found is not None:
            return os.fsencode(folder / os.fsdecode(found[0]))
        return None if folder in (self.root, folder.parent) else self._nearest(kind, folder.parent)


class StoredStudies(Collection[StudyEntry]):
    """The studies of a table, each made when it is asked for.

    Parameters
    ----------
    table : StudyTable
    unit : {"HU", "arbitrary"}
        Of NIfTI voxels.
    rule : SeriesRule
        Which series is a study's image, where several are volumes.
    """

    def __init__(self, table: StudyTable, *, unit: Unit, rule: SeriesRule) -> None:
        self._table, self._unit, self._rule = table, unit, rule
        self._count = table.count() + len(table.lost)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, item: object) -> bool:
        return any(entry == item for entry in self)

    def __iter__(self) -> Iterator[StudyEntry]:
        for uid in self._table.uids():
            parts, lesions = self._table.parts(uid)
            yield study_entry(parts, lesions, unit=self._unit, rule=self._rule)
        for name, error in sorted(self._table.lost.items()):
            yield StudyEntry(f"folder {name}", "", refusal=error)
