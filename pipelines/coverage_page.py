"""How many lines and branches of medfuse the tests run, by room, and the files that they run least of.

Run it by ``make coverage``, which runs the tests first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

AIM = 95.0
LOW = 85.0
"""Percent of lines and branches together, under which a file is listed."""

COUNTS = ("num_statements", "covered_lines", "num_branches", "covered_branches")
Counts = dict[str, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--measured`` (what ``coverage json`` wrote), ``--tests`` (which tests ran, in words), ``--out``.

    Returns
    -------
    int
        0.
    """
    parser = argparse.ArgumentParser(prog="coverage_page", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--measured", type=Path, default=Path("build/coverage.json"))
    parser.add_argument("--tests", default="the fast tests")
    parser.add_argument("--out", type=Path, default=Path("reports/robustness/coverage.md"))
    options = parser.parse_args(argv)
    files = json.loads(options.measured.read_text())["files"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page_of(files, tests=options.tests), encoding="utf-8")
    return 0


def page_of(files: dict[str, Any], *, tests: str) -> str:
    """Return the page of what coverage.py measured of each file.

    Examples
    --------
    >>> summary = {"num_statements": 8, "covered_lines": 7, "num_branches": 4, "covered_branches": 2}
    >>> one = {"summary": summary, "missing_lines": [3], "missing_branches": [[5, 7]]}
    >>> page = page_of({"medfuse/io/files.py": one}, tests="the fast tests")
    >>> print(page.splitlines()[-1])
    | io/files.py | 75.0 | 3 | 5→7 |
    """
    rooms: dict[str, Counts] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for name, one in files.items():
        room = Path(name).parts[1] if len(Path(name).parts) > 2 else "(foundation)"
        for key in ("all", room):
            for count in COUNTS:
                rooms[key][count] += one["summary"].get(count, 0)
    total = rooms.pop("all")
    table = ["| room | lines | of them run, % | branches | of them taken, % | both, % |", "|---|---|---|---|---|---|"]
    for room, counts in [*sorted(rooms.items()), ("**all**", total)]:
        cells = [room, counts["num_statements"], share(counts, COUNTS[:2]), counts["num_branches"]]
        table.append("| " + " | ".join(map(str, [*cells, share(counts, COUNTS[2:]), share(counts, COUNTS)])) + " |")
    low = sorted((share(one["summary"], COUNTS), name, one) for name, one in files.items())
    listed = ["| file | both, % | lines not run | branches not taken |", "|---|---|---|---|"]
    for percent, name, one in low:
        if percent < LOW:
            branches = ", ".join(f"{start}→{end if end > 0 else 'end'}" for start, end in one["missing_branches"])
            lines = ", ".join(map(str, one["missing_lines"]))
            listed.append(f"| {name.removeprefix('medfuse/')} | {percent} | {lines} | {branches} |")
    return PAGE.format(
        tests=tests, lines=share(total, COUNTS[:2]), branches=share(total, COUNTS[2:]), both=share(total, COUNTS),
        aim=AIM, low=LOW, rooms="\n".join(table), listed="\n".join(listed),
    )  # fmt: skip


def share(counts: Counts, names: Sequence[str]) -> float:
    """Return how many of the lines, the branches or both were run, in percent; 100 of none.

    Examples
    --------
    >>> share({"num_statements": 8, "covered_lines": 7}, ("num_statements", "covered_lines"))
    87.5
    """
    present = sum(counts.get(name, 0) for name in names[::2])
    return round(100.0 * sum(counts.get(name, 0) for name in names[1::2]) / present, 1) if present else 100.0


PAGE = """# Lines and branches that the tests run

Written by `make coverage` from {tests}, with the examples of the docstrings; commands, workers and forked processes are
measured too. Of medfuse, **{lines} % of lines and {branches} % of branches** are run, {both} % of both together (the
aim is {aim:.0f} %). What is killed, as some tests do, cannot tell what it ran.

{rooms}

Files of which less than {low:.0f} % is run:

{listed}
"""


if __name__ == "__main__":
    sys.exit(main())
