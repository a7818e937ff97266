"""What is done: parts of Parquet, each written whole or not at all, each case in one of them exactly once."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd

from medfuse.errors import UsageError
from medfuse.scoring import parts
from medfuse.scoring.locks import FolderLock
from medfuse.scoring.parts import STATE, key_of
from medfuse.scoring.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Counts", "DoneStudies", "Ledger", "check_identity", "read_run"]

RUN = "run.json"
REFUSED_LIST, WARNED_LIST = "refused.jsonl", "warnings.jsonl"
SHOWN_DIFFERENCES = 5
HIDDEN = ("pseudonym_key",)
SAME = "an empty folder, or one of the same run"


class Counts(NamedTuple):
    """Cases in a results folder; ``n_warned`` of the scored ones carry a warning."""

    n_scored: int
    n_refused: int
    n_warned: int


class DoneStudies:
    """The studies that parts hold, 21 bytes each in memory.

    Parameters
    ----------
    paths : sequence of Path
        Parts.

    Raises
    ------
    UsageError
        If one of them is damaged.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        known = [parts.read_states(path) for path in self.paths]
        states = np.concatenate([*known, np.empty(0, STATE)])
        places = np.repeat(np.arange(len(known), dtype=np.uint32), [len(found) for found in known])
        order = np.argsort(states["study"], kind="stable")
        self._states, self._places = states[order], places[order]
        self._keys = np.ascontiguousarray(self._states["study"])

    def __len__(self) -> int:
        return len(self._keys)

    def holds(self, study_key: str, digest: int = 0, *, retry_refused: bool = False) -> bool:
        """Tell whether a study is done, from the same content.

        Parameters
        ----------
        study_key : str
        digest : int
            See `medfuse.scoring.work.digest_of`.
        retry_refused : bool
            Whether a study of which a case was refused counts as not done.
        """
        place = self._find(study_key)
        if place is None:
            return False
        state = self._states[place]
        return int(state["digest"]) == digest and not (retry_refused and state["refused"])

    def part_of(self, study_key: str) -> int | None:
        """Return which of the parts holds a study, from 0; None if none does."""
        place = self._find(study_key)
        return None if place is None else int(self._places[place])

    def _find(self, study_key: str) -> int | None:
        key = np.uint64(key_of(study_key))
        place = int(np.searchsorted(self._keys, key))
        return place if place < len(self._keys) and self._keys[place] == key else None


class _Finished(NamedTuple):
    study_key: str
    digest: int
    rows: Sequence[Row]


class Ledger:
    """The results folder of a scoring run, open for more rows by this process alone; a context manager.

    A study's rows are in one part. If it is scored again, that part is replaced as a whole, so that each case is there
    exactly once at any time, whatever is killed when.

    Parameters
    ----------
    folder : Path
        Made if absent. A folder of the same model and options is continued.
    identity : mapping of str to str
        What must be equal for the folder to be continued, for example the model id.
    share : (int, int)
        Which of how many shares of the studies this process scores; others may work beside it.

    Raises
    ------
    UsageError
        If the folder holds the results of something else, another process writes to it, or a part is damaged.
    """

    def __init__(self, folder: Path, *, identity: Mapping[str, str], share: tuple[int, int] = (0, 1)) -> None:
        self.folder = folder
        self.parts = folder / "predictions"
        self._prefix = "part" if share[1] == 1 else f"part-{share[0]}of{share[1]}"
        self._identity = dict(identity)
        self._waiting: list[_Finished] = []
        self._check()
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder, share)
        except OSError as error:
            raise UsageError(
                "--out", f"cannot be made ({type(error).__name__})", expected="a writable place"
            ) from error
        try:
            self._remove_partials(is_alone=share[1] == 1)
            if self._check() is None:
                self.write_run({})
            self.done = DoneStudies(parts.part_paths(self.parts))
        except BaseException:
            self.close()
            raise
        self._number = 1 + max((int(path.stem.rpartition("-")[2]) for path in self.done.paths), default=-1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write to the folder; rows that are not flushed are lost."""
        self._lock.release()

    def add(self, study_key: str, rows: Sequence[Row], *, digest: int = 0) -> None:
        """Keep the rows of one finished study until the next `flush`."""
        self._waiting.append(_Finished(study_key, digest, rows))

    def flush(self) -> None:
        """Write the kept rows: new studies as one part, those scored again in the place of what was there of them.

        Raises
        ------
        ScoringError
            If the disk is full or the folder is gone.
        """
        again: dict[int, list[_Finished]] = defaultdict(list)
        new: list[_Finished] = []
        for study in self._waiting:
            number = self.done.part_of(study.study_key)
            (new if number is None else again[number]).append(study)
        for number, studies in again.items():
            self._replace(self.done.paths[number], studies)
        if new:
            path = self.parts / f"{self._prefix}-{self._number:05d}.parquet"
            parts.write_part(path, parts.as_table([row for study in new for row in study.rows]), _states_of(new))
            self._number += 1
        self._waiting.clear()

    def table(self) -> pd.DataFrame:
        """Return every row written so far, sorted by case."""
        import pyarrow as pa

        tables = list(self.tables())
        if not tables:
            return pd.DataFrame(columns=["study_key", "lesion_id", "status"])
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame.sort_values(["study_key", "lesion_id"], ignore_index=True)

    def tables(self, *columns: str) -> Iterator[pa.Table]:
        """Yield part after part, or some columns of it."""
        for path in parts.part_paths(self.parts):
            yield parts.read_part(path, columns=columns or None)

    def count(self) -> Counts:
        """Count the cases."""
        import pyarrow.compute as pc

        n_refused = n_warned = n = 0
        for table in self.tables("status", "warnings"):
            refused = pc.equal(table["status"], "refused")
            n += len(table)
            n_refused += pc.sum(refused).as_py() or 0
            warned = pc.and_(pc.invert(refused), pc.not_equal(table["warnings"], ""))
            n_warned += pc.sum(warned).as_py() or 0
        return Counts(n - n_refused, n_refused, n_warned)

    def write_lists(self) -> None:
        """Write refused.jsonl and warnings.jsonl anew from the parts: a line a case of either, sorted by case."""
        import pyarrow.compute as pc

        refused: list[Row] = []
        warned: list[Row] = []
        for table in self.tables("study_key", "lesion_id", "status", "stage", "reason", "warnings"):
            is_named = pc.or_(pc.equal(table["status"], "refused"), pc.not_equal(table["warnings"], ""))
            for row in table.filter(is_named).to_pylist():
                warnings, reason = row.pop("warnings"), row["reason"]
                if row["status"] == "refused":
                    refused.append({**row, "hint": reason.partition("; expected ")[2]})
                else:
                    warned.append(
                        {key: row[key] for key in ("study_key", "lesion_id", "status")} | {"warnings": warnings}
                    )
        self._write_list(REFUSED_LIST, refused)
        self._write_list(WARNED_LIST, warned)

    def write_run(self, record: Mapping[str, Any]) -> None:
        """Write run.json; its identity stays."""
        self._write(RUN, json.dumps({**record, "identity": self._identity}, indent=1) + "\n")

    def n_done_now(self) -> int:
        """Count the studies in the folder, those of other processes too."""
        return sum(len(parts.read_states(path)) for path in parts.part_paths(self.parts))

    def _replace(self, path: Path, studies: Sequence[_Finished]) -> None:
        """Write a part anew with other rows of some of its studies."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table, states = parts.read_part(path), parts.read_states(path)
        keys = [study.study_key for study in studies]
        kept = table.filter(pc.invert(pc.is_in(table["study_key"], pa.array(keys, pa.string()))))
        others = states[~np.isin(states["study"], _states_of(studies)["study"])]
        rows = parts.as_table([row for study in studies for row in study.rows]).cast(table.schema)
        parts.write_part(path, pa.concat_tables([kept, rows]), np.concatenate([others, _states_of(studies)]))

    def _check(self) -> dict[str, Any] | None:
        """Refuse a folder of something else; return the record of this run, None if there is none yet."""
        before = check_identity(self.folder, self._identity)
        if before is not None:
            return before
        found = [*self.folder.glob("*"), *self.parts.glob("*")]
        if any(path != self.parts and not path.name.startswith(".") for path in found):
            raise UsageError("--out", "found other files there", expected=SAME)
        return None

    def _remove_partials(self, *, is_alone: bool) -> None:
        """Remove what a killed run left half-written; beside others only what can be nobody else's."""
        found = [*self.parts.glob(f".{'' if is_alone else self._prefix}*.partial")]
        for left in [*found, *(self.folder.glob(".*.partial") if is_alone else ())]:
            left.unlink(missing_ok=True)

    def _write_list(self, name: str, rows: Sequence[Row]) -> None:
        ordered = sorted(rows, key=lambda row: (row["study_key"], row["lesion_id"]))
        self._write(name, "".join(json.dumps(row) + "\n" for row in ordered))

    def _write(self, name: str, text: str) -> None:
        partial = self.folder / f".{name}.{os.getpid()}.partial"
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.folder / name)
        except OSError as error:
            raise parts.unwritable(error) from error


def check_identity(folder: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the run.json of a results folder if it is of the same run, None if there is none.

    Raises
    ------
    UsageError
        If it is of another run, showing the difference.
    """
    before = read_run(folder)
    if before is not None and (changed := _differences(before["identity"], identity)):
        raise UsageError("--out", f"it holds results of another run: {changed} differ", expected=SAME)
    return before


def read_run(folder: Path) -> dict[str, Any] | None:
    """Read the run.json of a results folder; None if there is none.

    Raises
    ------
    UsageError
        If it is of something else.
    """
    path = folder / RUN
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record["identity"] = {str(key): str(value) for key, value in record["identity"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError("--out", "found a run.json of something else", expected=SAME) from error
    return record


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say in which keys two runs differ, and how."""
    changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    told = [
        key if key in HIDDEN else f"{key} ({before.get(key, 'nothing')} there, {now.get(key, 'nothing')} now)"
        for key in changed
    ]
    more = f" and {len(told) - SHOWN_DIFFERENCES} more" if len(told) > SHOWN_DIFFERENCES else ""
    return ", ".join(told[:SHOWN_DIFFERENCES]) + more


def _states_of(studies: Sequence[_Finished]) -> parts.States:
    return np.array(
        [
            (key_of(study.study_key), study.digest, any(row["status"] == "refused" for row in study.rows))
            for study in studies
        ],
        dtype=STATE,
    )
