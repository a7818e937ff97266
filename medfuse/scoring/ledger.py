"""What is done: parts of Parquet, each written whole or not at all, each case in one of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medfuse.errors import UsageError

__all__ = ["Ledger"]

RUN = "run.json"
REFUSED, WARNED = "refused.jsonl", "warnings.jsonl"


class Ledger:
    """The results folder of a scoring run, open for more rows.

    Parameters
    ----------
    folder : Path
        Made if absent. A folder of the same model and options is continued.
    identity : mapping of str to str
        What must be equal for the folder to be continued, for example the model id.

    Raises
    ------
    UsageError
        If the folder holds the results of something else.
    """

    def __init__(self, folder: Path, *, identity: Mapping[str, str]) -> None:
        self.folder = folder
        self.parts = folder / "predictions"
        self._rows: list[dict[str, Any]] = []
        self._check_identity(identity)
        self.parts.mkdir(parents=True, exist_ok=True)
        for left in self.parts.glob(".*.partial"):
            left.unlink()
        self.done = set(self.table()["study_key"]) if any(self.parts.glob("part-*.parquet")) else set[str]()

    def _check_identity(self, identity: Mapping[str, str]) -> None:
        record = self.folder / RUN
        expected = "an empty folder, or one of the same run"
        for left in self.folder.glob(".*.partial"):
            left.unlink()
        if record.exists():
            try:
                before = dict(json.loads(record.read_text(encoding="utf-8"))["identity"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UsageError("--out", "found a run.json of something else", expected=expected) from error
            changed = sorted(k for k in {*before, *identity} if before.get(k) != identity.get(k))
            if changed:
                found = f"it holds results of another run: {', '.join(changed)} differ"
                raise UsageError("--out", found, expected=expected)
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise UsageError("--out", "found other files there", expected=expected)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_run({"identity": dict(identity)})

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the rows of one finished study until the next `flush`."""
        self._rows += [dict(row) for row in rows]

    def flush(self) -> None:
        """Write the kept rows as one part: under a temporary name, synced, then renamed."""
        if not self._rows:
            return
        number = max((int(path.stem[5:]) for path in self.parts.glob("part-*.parquet")), default=-1) + 1
        partial = self.parts / f".part-{number:05d}.partial"
        pd.DataFrame(self._rows).to_parquet(partial, index=False)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(self.parts / f"part-{number:05d}.parquet")
        self._rows.clear()

    def table(self) -> pd.DataFrame:
        """Return every row written so far, sorted by case."""
        parts = [pd.read_parquet(path) for path in sorted(self.parts.glob("part-*.parquet"))]
        if not parts:
            return pd.DataFrame(columns=["study_key", "lesion_id", "status"])
        frame = pd.concat(parts, ignore_index=True)
        return frame.sort_values(["study_key", "lesion_id"], ignore_index=True)

    def write_lists(self) -> None:
        """Write refused.jsonl and warnings.jsonl anew from the parts: a line a case of either."""
        table = self.table()
        refused = table["status"] == "refused"
        warned = ~refused & (table.get("warnings", "") != "")
        self._write_list(REFUSED, table[refused], ("study_key", "lesion_id", "status", "stage", "reason"))
        self._write_list(WARNED, table[warned], ("study_key", "lesion_id", "status", "warnings"))

    def _write_list(self, name: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
        rows = table[[column for column in columns if column in table]].to_dict("records")
        self._write(name, "".join(json.dumps(row) + "\n" for row in rows))

    def write_run(self, record: Mapping[str, Any]) -> None:
        """Write run.json."""
        self._write(RUN, json.dumps(record, indent=1) + "\n")

    def _write(self, name: str, text: str) -> None:
        partial = self.folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.folder / name)
