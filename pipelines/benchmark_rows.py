"""What the benchmarks share: a row of results, and the table that says whether an aim is missed. No pipeline itself."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Row", "make_row", "show"]

Row = dict[str, object]


def make_row(name: str, ours: float, theirs: float, *, command: str, unit: str = "ms", aim: float | None = None) -> Row:
    """Return one row: how many times faster or smaller ours is.

    Parameters
    ----------
    name : str
        What was measured, and against what.
    ours, theirs : float
        The less the better; to four digits.
    command : str
        Which measures it again.
    unit : str
    aim : float, optional
        Least ratio that is aimed at.

    Examples
    --------
    >>> make_row("reading", 2.0, 6.0, command="make", aim=2)["ratio"]
    3.0
    """
    figures = {"ours": ours, "theirs": theirs, "ratio": theirs / max(ours, 1e-6)}
    found: Row = {"name": name, **{key: float(f"{value:.4g}") for key, value in figures.items()}}
    return found | {"unit": unit, "command": command} | ({"aim": aim} if aim else {})


def show(rows: Sequence[Row]) -> int:
    """Print a table; return 1 if a row misses its aim."""
    missed = 0
    for found in rows:
        aim = float(str(found.get("aim", 0)))
        missed += float(str(found["ratio"])) < aim
        aimed = f"(aim {aim:g})" if aim else ""
        figures = f"{found['ours']:>10} {found['theirs']:>10} {found['unit']:<9} x{found['ratio']}"
        print(f"{found['name']:<100} {figures} {aimed}")
    return int(missed > 0)
