"""Tables as CSV that a spreadsheet opens as a table: no cell is a formula."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medfuse.whole_files import write_whole

__all__ = ["safe_cell", "write_csv"]

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(cell: object) -> object:
    """Return a cell so that no spreadsheet computes it: a text that begins like a formula gets an apostrophe.

    Parameters
    ----------
    cell : object
        Numbers stay as they are.

    Notes
    -----
    Source: OWASP, CSV Injection.

    Examples
    --------
    >>> safe_cell("=1+1"), safe_cell("a=b"), safe_cell(-0.5), safe_cell("-0.5")
    ("'=1+1", 'a=b', -0.5, '-0.5')
    """
    if not isinstance(cell, str) or not cell.lstrip(" ").startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as UTF-8, without its index, every text safe to open.

    Parameters
    ----------
    path : Path
    table : DataFrame

    Returns
    -------
    Path
        The file written.
    """
    safe = table.rename(columns=lambda name: safe_cell(str(name)))
    for position, column in enumerate(table.columns):
        if not pd.api.types.is_numeric_dtype(table[column]):
            safe.isetitem(position, [safe_cell(cell) for cell in table[column]])
    write_whole(path, safe.to_csv(index=False, lineterminator="\n").encode())
    return path
