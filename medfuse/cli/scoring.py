"""The command that scores archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import (
    SHOWN_REASONS,
    SOME_REFUSED,
    JsonLog,
    KeyFile,
    Model,
    Out,
    Position,
    Positions,
    Quiet,
    Reports,
    Rois,
    load_predictor,
    log,
)

__all__ = ["score"]


def score(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="An archive, a study folder or a manifest.csv.")],
    *,
    model: Model,
    out: Out,
    reports: Reports = None,
    rois: Rois = None,
    position: Positions = Position.require,
    key_file: KeyFile = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Score every study: OUT/predictions/part-*.parquet, refused.jsonl, warnings.jsonl. Goes on where it stopped."""
    from medfuse.memory import prepare_process
    from medfuse.progress import start_logging

    prepare_process()
    start_logging(quiet=quiet, json_log=json_log)
    from medfuse.io import find_studies, load_pseudonymizer
    from medfuse.scoring import Meter, ScoreOptions, score

    predictor = load_predictor(model)
    unit, rule = predictor.preprocessing.unit, predictor.bundle.series
    entries, refused = find_studies(source, reports=reports, rois=rois, unit=unit, rule=rule)
    for reason, count in refused["reason"].value_counts().head(SHOWN_REASONS).items():
        log.warning("refused %d: %s", count, reason)
    summary = score(
        entries,
        predictor=predictor,
        out=out,
        pseudonymizer=load_pseudonymizer(key_file),
        options=ScoreOptions(position=position.value),
        meter=Meter(quiet=quiet),
    )
    if summary.n_warned:
        log.warning("%d cases are scored with a warning; see %s", summary.n_warned, out / "warnings.jsonl")
    log.info("%d scored, %d refused in %.1f s; see %s", summary.n_scored, summary.n_refused, summary.seconds, out)
    if summary.n_refused:
        raise typer.Exit(SOME_REFUSED)
