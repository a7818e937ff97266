"""The command that explains cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import SOME_REFUSED, KeyFile, Model, Out, Position, Positions, Rois, load_predictor, log
from medfuse.errors import DataError

__all__ = ["explain"]


def explain(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study folder, an archive or a manifest.csv.")],
    *,
    model: Model,
    out: Out,
    rois: Rois = None,
    position: Positions = Position.require,
    key_file: KeyFile = None,
) -> None:
    """Explain every case of a study: OUT/<case>/report.html, explanation.json, explanation.nii.gz."""
    from medfuse.memory import prepare_process
    from medfuse.progress import start_logging

    prepare_process()
    start_logging()
    from medfuse.explain import explain_study
    from medfuse.io import find_studies, load_pseudonymizer

    predictor = load_predictor(model)
    names = load_pseudonymizer(key_file)
    n_refused = 0
    unit, rule = predictor.preprocessing.unit, predictor.bundle.series
    entries, _ = find_studies(study, rois=rois, unit=unit, rule=rule)
    for entry in entries:
        try:
            pages = explain_study(entry, predictor=predictor, out=out, pseudonymizer=names, position=position.value)
        except DataError as error:
            n_refused += 1
            log.warning("refused %s: %s", names.study(entry.study_uid), error)
            continue
        for page in pages:
            log.info("wrote %s", page / "report.html")
    if n_refused:
        raise typer.Exit(SOME_REFUSED)
