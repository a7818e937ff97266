"""The command that collects what readers say of explained answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medfuse.cli.options import SOME_REFUSED, KeyFile, log
from medfuse.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["feedback"]


def feedback(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that medfuse explain wrote.")],
    *,
    out: Annotated[Path, typer.Option(help="CSV to write: a row a filled-in feedback.json.")],
    manifest: Annotated[Path | None, typer.Option(help="manifest.csv whose unlabelled cases get the labels.")] = None,
    joined: Annotated[Path | None, typer.Option(help="CSV to write: that manifest with them, beside it.")] = None,
    key_file: KeyFile = None,
) -> None:
    """Collect the readers' views on explained answers: labels to train on, never to test against."""
    from medfuse.progress import start_logging
    from medfuse.reporting.csv_files import write_csv
    from medfuse.reporting.feedback import collect_feedback

    start_logging()
    if manifest is not None or joined is not None:
        _check_places(manifest, joined)
    table, refused = collect_feedback(folder)
    if manifest is not None and joined is not None:
        _join(table, manifest, joined, key_file)
    for where, reason in refused:
        log.warning("refused %s: %s", where, reason)
    write_csv(out, table)
    log.info("%d views of readers, %d refused; see %s", len(table), len(refused), out)
    if refused:
        raise typer.Exit(SOME_REFUSED)


def _check_places(manifest: Path | None, joined: Path | None) -> None:
    if manifest is None or joined is None:
        missing = "--joined" if joined is None else "--manifest"
        raise UsageError("command line", f"Missing option {missing!r}", expected="both or neither")
    if joined.resolve().parent != manifest.resolve().parent or joined.resolve() == manifest.resolve():
        found = "found another folder, or the manifest itself"
        raise UsageError("--joined", found, expected="a new file beside the manifest, whose paths are relative to it")


def _join(table: DataFrame, manifest: Path, joined: Path, key_file: Path | None) -> None:
    """Write the manifest with the readers' labels."""
    from medfuse.io import load_pseudonymizer, read_manifest
    from medfuse.reporting.feedback_joining import join_views
    from medfuse.whole_files import write_whole

    found = join_views(table, read_manifest(manifest).frame, load_pseudonymizer(key_file))
    write_whole(joined, found.frame.to_csv(index=False, lineterminator="\n").encode())
    for reason, count in sorted(found.left.items()):
        log.warning("not joined %d: %s", count, reason)
    log.info("%d labels joined, for training only; see %s", found.n_joined, joined)
