"""The command that explains cases."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medfuse.cli.options import (
    SOME_REFUSED,
    KeyFile,
    Model,
    Out,
    Position,
    Positions,
    Rois,
    load_predictor,
    log,
    run_of,
)
from medfuse.errors import DataError, UsageError

if TYPE_CHECKING:
    from medfuse.io import StudyEntry

__all__ = ["explain"]


def explain(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study folder, an archive or a manifest.csv.")],
    *,
    model: Model,
    out: Out,
    rois: Rois = None,
    position: Positions = Position.require,
    key_file: KeyFile = None,
    report: Annotated[Path | None, typer.Option(help="The study's report; it must be the only study.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="NAME, or image=NAME, text=NAME; may be repeated.")] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print each page too; needs the extra pdf.")] = False,
    dicom: Annotated[bool, typer.Option("--dicom", help="Write SR, SEG, parametric map and page for a PACS.")] = False,
) -> None:
    """Explain every case of a study: OUT/<case>/report.html, explanation.json, explanation.nii.gz, feedback.json.

    What --dicom writes beside them carries the study's real identity.
    """
    from medfuse.memory import prepare_process
    from medfuse.progress import start_logging

    prepare_process()
    start_logging()
    from medfuse.explain.choosing import chosen_methods
    from medfuse.explain.studies import PageOptions, explain_study
    from medfuse.io import find_studies, load_pseudonymizer

    if pdf and find_spec("weasyprint") is None:
        raise UsageError("--pdf", "weasyprint is not installed", expected="pip install 'medfuse[pdf]'")
    methods = chosen_methods(method or [])
    predictor = load_predictor(model)
    page = PageOptions(pdf, dicom, run_of(model), methods)
    names = load_pseudonymizer(key_file)
    n_refused = 0
    unit, rule = predictor.preprocessing.unit, predictor.bundle.series
    entries, _ = find_studies(study, rois=rois, unit=unit, rule=rule)
    if report is not None:
        entries = [_with_report(entries, report)]
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


def _with_report(entries: list[StudyEntry], report: Path) -> StudyEntry:
    """Return the only study, with a report that lies elsewhere."""
    if len(entries) != 1:
        raise UsageError("--report", f"found {len(entries)} studies", expected="one study for one report")
    if not report.is_file():
        raise UsageError("--report", "found no such file", expected="a report as text, PDF, HL7 or DICOM SR")
    return replace(entries[0], report=report)
