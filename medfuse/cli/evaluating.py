"""The command that evaluates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import Out, log
from medfuse.errors import UsageError

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path | None, typer.Argument(help="A run's folder.")] = None,
    *,
    out: Out,
    predictions: Annotated[Path | None, typer.Option(help="A predictions table instead of a run.")] = None,
    title: Annotated[str, typer.Option(help="Title of the evaluation report.")] = "Evaluation",
) -> None:
    """Evaluate predictions: OUT/report.html, metrics.json, predictions.csv."""
    if (run is None) == (predictions is None):
        found = "found neither a run nor --predictions" if run is None else "found both a run and --predictions"
        raise UsageError("evaluate", found, expected="one of them")
    from medfuse.evaluation import evaluate, read_predictions
    from medfuse.progress import start_logging
    from medfuse.reporting import design_of, limits_of, read_provenance, read_settings, write_evaluation_report

    start_logging()
    table = read_predictions(run / "predictions.parquet" if run else predictions or Path())
    provenance = {"predictions": "a table given by the user"} if run is None else read_provenance(run)
    settings = read_settings(run) if run else None
    result = evaluate(table)
    page = write_evaluation_report(
        result,
        out,
        title=title,
        provenance=provenance,
        design=design_of(settings) if settings else (),
        limits=limits_of(settings) if settings else (),
    )
    table.to_csv(out / "predictions.csv", index=False)
    for condition, figures in result.metrics.items():
        figure = figures["auroc"]
        log.info("AUROC %s %.3f (%.3f to %.3f)", condition, figure.value, figure.low, figure.high)
    log.info("wrote %s", page)
