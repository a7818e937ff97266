"""The command that explains cases."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import SOME_REFUSED, KeyFile, Model, Out, Position, Positions, Rois, load_predictor, log
from medfuse.errors import DataError, UsageError

__all__ = ["explain"]


def explain(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study folder, an archive or a manifest.csv.")],
    *,
    model: Model,
    out: Out,
    rois: Rois = None,
    position: Positions = Position.require,
    key_file: KeyFile = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print each page too; needs the extra pdf.")] = False,
) -> None:
    """Explain every case of a study: OUT/<case>/report.html, explanation.json, explanation.nii.gz, feedback.json."""
    from medfuse.memory import prepare_process
    from medfuse.progress import start_logging

    prepare_process()
    start_logging()
    from medfuse.explain.studies import PageOptions, explain_study
    from medfuse.io import find_studies, load_pseudonymizer

    if pdf and find_spec("weasyprint") is None:
        raise UsageError("--pdf", "weasyprint is not installed", expected="pip install 'medfuse[pdf]'")
    predictor = load_predictor(model)
    page = PageOptions(pdf, None if ":/" in model else Path(model).resolve().parent / "evaluation" / "metrics.json")
    names = load_pseudonymizer(key_file)
    n_refused = 0
    unit, rule = predictor.preprocessing.unit, predictor.bundle.series
    entries, _ = find_studies(study, rois=rois, unit=unit, rule=rule)
    for entry in entries:
        try:
            pages = explain_study(
                entry, predictor=predictor, out=out, pseudonymizer=names, position=position.value, page=page
            )
        except DataError as error:
            n_refused += 1
            log.warning("refused %s: %s", names.study(entry.study_uid), error)
            continue
        for folder in pages:
            log.info("wrote %s", folder / "report.html")
    if n_refused:
        raise typer.Exit(SOME_REFUSED)
