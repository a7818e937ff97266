"""The performance pages: every committed benchmark as a table a person can read.

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
OTHERS = {
    "io": "Reading and indexing",
    "text": "Reading reports",
    "scoring": "Scoring archives",
    "explain": "Explaining",
    "evaluation": "Evaluating",
}
SITE = """# Performance

Every row is measured by the command above its table, for medfuse and for what stands beside it in turns in one run, on
two CPU cores without a GPU; a ratio above 1 speaks for medfuse. An aim that is missed is marked, and stays on the page.
Written from `reports/performance/*.json` by `python -m pipelines.performance_page`.

What costs time in use: reading compressed DICOM (more processes: `medfuse score --workers`), the first preparation of a
cohort's images (kept afterwards; `medfuse prepare` does it ahead), and training (a GPU, or `compute.threads`). Indexing
and scoring go on where they stopped, and their memory does not grow with the archive.
"""
INTRODUCTION = """# Performance of data and training

Each row is one thing measured for medfuse and for what stands beside it, in turns in one run on two CPU cores without a
GPU; the ratio is theirs to ours, of the fastest rounds. An aim that is missed is marked. Rebuilt by `make performance`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page.

    Parameters
    ----------
    argv : sequence of str, optional
        ``--folder`` of the figures, where ``training.md`` goes; ``--page`` of the site, which holds all figures.

    Returns
    -------
    int
        0; 1 if a part was not measured.
    """
    parser = argparse.ArgumentParser(prog="performance_page", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, default=Path("reports/performance"))
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args(argv)
    pieces = [INTRODUCTION]
    for part, title in PARTS.items():
        path = options.folder / f"{part}.json"
        if not path.exists():
            print(f"error: {path.name}: found no figures; expected those of make bench-{part}", file=sys.stderr)
            return 1
        pieces.append(section(title, json.loads(path.read_text(encoding="utf-8"))))
    (options.folder / "training.md").write_text("\n".join(pieces), encoding="utf-8")
    options.page.write_text(site_page(options.folder), encoding="utf-8")
    return 0


def site_page(folder: Path) -> str:
    """Return the figures of every part that was measured, each with the command that measures it."""
    titles = {**OTHERS, **PARTS}
    pieces = [SITE]
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    for part in (*titles, *sorted(found.keys() - titles.keys())):
        if part in found:
            commands = ", ".join(f"`{command}`" for command in dict.fromkeys(row["command"] for row in found[part]))
            said = section(titles.get(part, part), found[part])
            pieces.append(said.replace("\n\n", f"\n\nBy {commands}.\n\n", 1))
    return "\n".join(pieces)


def section(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return one part of the page.

    Parameters
    ----------
    title : str
    rows : sequence of dict
        ``name, ours, theirs, ratio, unit, command``, and ``aim`` where there is one; None where nothing is beside it.

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
        ours, theirs, ratio = ("" if row[key] is None else f"{row[key]:,.6g}" for key in ("ours", "theirs", "ratio"))
        lines.append(f"| {row['name']} | {ours} | {theirs} | {row['unit']} | {ratio} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
