"""Commands that look before anything runs: at a manifest, at the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import FAILED, SOME_REFUSED, JsonLog, Quiet, log

__all__ = ["check", "doctor"]


def check(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="manifest.csv.")],
    *,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Check a manifest: cells, labels, files, duplicates, patients in two folds, what gives the label away."""
    from medfuse.progress import bar, start_logging

    start_logging(quiet=quiet, json_log=json_log)
    from medfuse.data.manifest_check import check_manifest
    from medfuse.io import read_manifest

    found = check_manifest(read_manifest(manifest), progress=bar("images", quiet=quiet))
    log.info("%d patients, %d studies, %d cases", found.n_patients, found.n_studies, found.n_cases)
    for column, counts in found.labels.items():
        log.info("%s: %s", column, ", ".join(f"{name} {n}" for name, n in counts.items()))
    for problem in found.problems:
        tell = log.error if problem.kind == "error" else log.warning
        tell("%s: %s: %s: %s", problem.kind, manifest.name, problem.where, problem.found)
    n_errors = sum(problem.kind == "error" for problem in found.problems)
    log.info("%d errors, %d warnings", n_errors, len(found.problems) - n_errors)
    if n_errors:
        raise typer.Exit(SOME_REFUSED)


def doctor(
    *,
    out: Annotated[Path, typer.Option(help="Where results shall go.")] = Path(),
) -> None:
    """Look at this machine: packages, codecs, disk, memory, GPU, the pseudonym key. Exit code 1 if something fails."""
    from medfuse.doctor import examine

    found = examine(out)
    width = max(len(one.name) for one in found)
    for one in found:
        advice = f"  -> {one.advice}" if one.advice else ""
        typer.echo(f"{one.verdict:<8}{one.name:<{width + 2}}{one.found}{advice}")
    if any(one.verdict == "wrong" for one in found):
        raise typer.Exit(FAILED)
