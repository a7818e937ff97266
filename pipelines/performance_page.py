"""The performance page: every committed benchmark as a table a person can read.

Run it by ``make performance``, which measures again first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PARTS = {
    "data": "Preparing images, and reading what is kept",
    "training": "Training",
}
INTRODUCTION = """# Performance of data and training

Each row is one thing measured for medfuse and for what stands beside it, in turns in one run on two CPU cores without a
GPU; the ratio is theirs to ours, of the fastest rounds. An aim that is missed is marked. Rebuilt by `make performance`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--folder`` of the figures, where ``training.md`` goes.

    Returns
    -------
    int
        0; 1 if a part was not measured.
    """
    parser = argparse.ArgumentParser(prog="performance_page", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, default=Path("reports/performance"))
    options = parser.parse_args(argv)
    pieces = [INTRODUCTION]
    for part, title in PARTS.items():
        path = options.folder / f"{part}.json"
        if not path.exists():
            print(f"error: {path.name}: found no figures; expected those of make bench-{part}", file=sys.stderr)
            return 1
        pieces.append(section(title, json.loads(path.read_text(encoding="utf-8"))))
    (options.folder / "training.md").write_text("\n".join(pieces), encoding="utf-8")
    return 0


def section(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return one part of the page.

    Parameters
    ----------
    title : str
    rows : sequence of dict
        ``name, ours, theirs, ratio, unit, command``, and ``aim`` where there is one.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> row = {"name": "reading", "ours": 2.0, "theirs": 6.0, "ratio": 3.0, "unit": "ms", "command": "make", "aim": 4}
    >>> print(section("Speed", [row]).splitlines()[-1])
    | reading | 2 | 6 | ms | 3 | **missed**: 4 |
    """
    lines = [f"## {title}", "", "| what | medfuse | beside it | unit | ratio | aim |", "|---|---|---|---|---|---|"]
    for row in rows:
        aim = row.get("aim")
        said = "" if aim is None else f"{aim:g}" if row["ratio"] >= aim else f"**missed**: {aim:g}"
        figures = " | ".join(f"{row[key]:,.6g}" for key in ("ours", "theirs"))
        lines.append(f"| {row['name']} | {figures} | {row['unit']} | {row['ratio']:g} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
