"""CSV tables whose every mistake is named by row and column, never by value."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NoReturn

import pandas as pd

from medfuse.errors import ManifestError, nearest_name

__all__ = ["inside", "number", "read_table", "wrong_cell"]

SEPARATORS = ",;\t"
"""As spreadsheets write them, by the country they are set to."""

NEAR = 0.9
"""A column this like a known one that is absent is taken for a slip of the pen."""


def read_table(
    path: Path, *, required: Collection[str], known: Collection[str], synonyms: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read a CSV as text, blanks as empty text.

    Parameters
    ----------
    path : Path
    required : collection of str
        Columns that must be there.
    known : collection of str
        Columns that have a meaning; others are free, unless they look like a mistyped known one.
    synonyms : mapping of str to str, optional
        Other names of known columns, to these; one counts where the known name itself is absent.

    Returns
    -------
    DataFrame of str
        Cells are stripped, but for ``report_text``.

    Raises
    ------
    ManifestError
        If the file cannot be read, has no row, a doubled or mistyped column, a row of another length, or not
        all required columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            between = max(SEPARATORS, key=first.count)
            header, *rows = [row for row in csv.reader(file, delimiter=between) if row] or [[]]
    except (OSError, ValueError, csv.Error) as error:
        found = f"cannot be read ({type(error).__name__})"
        raise ManifestError(path.name, found, expected="a CSV file in UTF-8") from error
    columns = [name.strip() for name in header]
    columns = [known_name if (known_name := (synonyms or {}).get(n, n)) not in columns else n for n in columns]
    _check_columns(path, columns, required, known)
    if not rows:
        raise ManifestError(path.name, "found no row", expected="at least one")
    for row, cells in enumerate(rows):
        if len(cells) != len(columns):
            found = f"found {len(cells)} cells"
            raise ManifestError(f"{path.name} row {row + 2}", found, expected=f"{len(columns)}, as the header has")
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    for column in frame.columns.drop("report_text", errors="ignore"):
        frame[column] = frame[column].str.strip()
    return frame


def _check_columns(path: Path, columns: list[str], required: Collection[str], known: Collection[str]) -> None:
    for name in columns:
        if columns.count(name) > 1:
            raise ManifestError(path.name, f"found column {name!r} twice", expected="each column once")
    free = [name for name in columns if name not in known]
    for name in required:
        if name not in columns:
            expected = f"it; the file has {nearest_name(name, free or columns)}"
            raise ManifestError(path.name, f"found no column {name!r}", expected=expected)
    for name in free:
        if close := difflib.get_close_matches(name, [k for k in known if k not in columns], n=1, cutoff=NEAR):
            raise ManifestError(path.name, f"found column {name!r}", expected=f"{close[0]!r}, or a name unlike it")


def wrong_cell(path: Path, row: int, column: str, found: str, expected: str) -> NoReturn:
    """Raise a ManifestError that names a cell; the first data row is row 2, as a spreadsheet shows it."""
    raise ManifestError(f"{path.name} row {row + 2} column {column}", found, expected=expected)


def number(path: Path, row: int, column: str, text: str) -> float:
    """Return a cell's finite number.

    Raises
    ------
    ManifestError
        Naming the cell, if it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        wrong_cell(path, row, column, "found no finite number", "a number in mm")
    return value


def inside(path: Path, row: int, column: str, text: str) -> Path:
    """Return a cell's path, which must exist and stay under the table's folder.

    Raises
    ------
    ManifestError
        Naming the cell, if it does not.
    """
    root = path.parent.resolve()
    if "\0" in text or Path(text).is_absolute():
        wrong_cell(path, row, column, "found an absolute path", "a path relative to the table's folder")
    try:
        target = (root / text).resolve()
        if not target.is_relative_to(root):
            wrong_cell(path, row, column, "found a path that leaves the table's folder", "a path inside it")
        there = target.exists()
    except (OSError, RuntimeError):  # a name too long, a loop of links
        there = False
    if not there:
        wrong_cell(path, row, column, "found no such file", "a file or folder that exists")
    return target
