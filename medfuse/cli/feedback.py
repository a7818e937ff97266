"""The command that collects what readers say of explained answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import SOME_REFUSED, log

__all__ = ["feedback"]


def feedback(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that medfuse explain wrote.")],
    *,
    out: Annotated[Path, typer.Option(help="CSV to write: a row a filled-in feedback.json.")],
) -> None:
    """Collect the readers' views on explained answers: labels to train on, never to test against."""
    from medfuse.progress import start_logging
    from medfuse.reporting.csv_files import write_csv
    from medfuse.reporting.feedback import collect_feedback

    start_logging()
    table, refused = collect_feedback(folder)
    for where, reason in refused:
        log.warning("refused %s: %s", where, reason)
    write_csv(out, table)
    log.info("%d views of readers, %d refused; see %s", len(table), len(refused), out)
    if refused:
        raise typer.Exit(SOME_REFUSED)
