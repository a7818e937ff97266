"""A results folder as one CSV or JSONL file, part after part: memory does not grow with the number of cases."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from medfuse.errors import UsageError
from medfuse.scoring import parts

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["export_results", "writer_for"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the start of a formula."""


def export_results(folder: Path, out: Path) -> int:
    """Write the rows of a results folder to one file.

    Parameters
    ----------
    folder : Path
    out : Path
        ``.csv``, in which a text that a spreadsheet would take for a formula is put behind an apostrophe, or
        ``.jsonl``, an object a row, in which a number that is not there is null. Replaced if it exists, once it is
        whole.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    UsageError
        If it has another suffix, there are no results, or it cannot be written.
    """
    write = writer_for(out)
    paths = parts.part_paths(folder / "predictions")
    if not paths:
        raise UsageError("--export", "found no results", expected="the folder of a scoring run")
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", newline="") as file:
            n_rows = _write_all(file, paths, write)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(
            "--export", f"cannot be written ({type(error).__name__})", expected="a writable place"
        ) from error
    return n_rows


_Write = Callable[[TextIO, "pa.Table", bool], None]


def writer_for(out: Path) -> _Write:
    """Return what writes a file of that name.

    Raises
    ------
    UsageError
        If it is neither .csv nor .jsonl.
    """
    write = {".csv": _write_csv, ".jsonl": _write_jsonl}.get(out.suffix.lower())
    if write is None:
        raise UsageError("--export", f"found {out.suffix or 'no suffix'!r}", expected=".csv or .jsonl")
    return write


def _write_all(file: TextIO, paths: list[Path], write: _Write) -> int:
    n_rows = 0
    for number, path in enumerate(paths):
        table = parts.read_part(path)
        write(file, table, number == 0)
        n_rows += len(table)
    return n_rows


def _write_csv(file: TextIO, table: pa.Table, is_first: bool) -> None:
    writer = csv.writer(file, lineterminator="\n")
    if is_first:
        writer.writerow(table.column_names)
    writer.writerows([_cell(value) for value in row.values()] for row in table.to_pylist())


def _cell(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return "" if isinstance(value, float) and math.isnan(value) else value


def _write_jsonl(file: TextIO, table: pa.Table, _is_first: bool) -> None:
    for row in table.to_pylist():
        file.write(json.dumps(_jsonable(row)) + "\n")


def _jsonable(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
