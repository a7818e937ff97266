"""The command that takes patients out of DICOM files: deidentify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import SHOWN_REASONS, SOME_REFUSED, JsonLog, KeyFile, Quiet, log

__all__ = ["deidentify"]


def deidentify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A DICOM file, or a folder, zip or tar of them.")],
    *,
    out: Annotated[Path, typer.Option(help="A folder: OUT/<patient>/<study>/<series>/<file>.dcm, all pseudonyms.")],
    keep_characteristics: Annotated[
        bool, typer.Option("--keep-characteristics", help="Keep sex, age up to 90, size, weight and the like.")
    ] = False,
    allow_burned_in: Annotated[
        bool, typer.Option("--allow-burned-in", help="Write images that may show text (look at them); they say so.")
    ] = False,
    key_file: KeyFile = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """De-identify DICOM files by PS3.15 Annex E: dates shift, UIDs are mapped by your key, pixels stay. Resumable."""
    from medfuse.io import load_pseudonymizer
    from medfuse.io.deidentify import Profile, deidentify
    from medfuse.progress import counted, start_logging

    start_logging(quiet=quiet, json_log=json_log)
    done = deidentify(
        source,
        out,
        pseudonymizer=load_pseudonymizer(key_file),
        profile=Profile(keep_characteristics, allow_burned_in),
        count=counted("files", quiet=quiet),
    )
    for kind, named in (("refused", done.refused), ("burned-in text?", done.flagged)):
        for name, reason in named[:SHOWN_REASONS]:
            log.warning("%s %s: %s", kind, name, reason)
        if len(named) > SHOWN_REASONS:
            log.warning("%s %d more", kind, len(named) - SHOWN_REASONS)
    log.info(
        "%d files written, %d were there, %d refused, %d no DICOM; see %s",
        done.n_written, done.n_there, len(done.refused), done.n_ignored, out,
    )  # fmt: skip
    if done.refused:
        raise typer.Exit(SOME_REFUSED)
