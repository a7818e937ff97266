"""The command that scores archives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medfuse.cli.options import (
    SHOWN_REASONS,
    SOME_REFUSED,
    JsonLog,
    KeyFile,
    Position,
    Positions,
    Quiet,
    Reports,
    Rois,
    load_predictor,
    log,
    run_of,
)
from medfuse.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from medfuse.inference import Predictor
    from medfuse.io import StudyEntry
    from medfuse.scoring import Meter, ScoreOptions
    from medfuse.scoring.records import RunArguments

__all__ = ["score"]

Source = Annotated[
    str | None,
    typer.Argument(metavar="INPUT", help="An archive, a study folder, a manifest.csv, or dicomweb:URL of a service."),
]
MaybeModel = Annotated[
    str | None, typer.Option("--model", help="A model bundle, RUN/model, or in MLflow models:/NAME@candidate.")
]
MaybeOut = Annotated[Path | None, typer.Option("--out", help="Where the results go.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes to score in; 0 scores in this one.")]
Scheduler = Annotated[str, typer.Option(metavar="ADDRESS", help="Score by the workers of a dask scheduler.")]
NumParts = Annotated[int, typer.Option(min=1, help="Share the studies between so many commands.")]
PartId = Annotated[int, typer.Option(min=0, help="Which of them this is, from 0.")]
StudyLimit = Annotated[str, typer.Option(help="How long reading one study may take, as in 90, 5m.")]
Pages = Annotated[bool, typer.Option("--explain", help="Write pages for flagged and positive cases.")]
Dicom = Annotated[bool, typer.Option("--dicom", help="Write SR, SEG, map and page of every case for a PACS.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, hours and disk; write nothing.")]
Export = Annotated[Path | None, typer.Option(help="Write all results to one .csv or .jsonl file too.")]
Query = Annotated[
    list[str] | None,
    typer.Option(
        "--query", metavar="KEYWORD=VALUE", help="Of a service those studies alone: StudyDate=20240101-20240131."
    ),
]
Store = Annotated[bool, typer.Option("--store", help="Send what --dicom writes back to the service.")]
Status = Annotated[Path | None, typer.Option(metavar="DIR", help="Say how far the run in DIR is.")]
RetryRefused = Annotated[Path | None, typer.Option(metavar="DIR", help="Score the refused studies of DIR again.")]


def score(
    source: Source = None,
    *,
    model: MaybeModel = None,
    out: MaybeOut = None,
    reports: Reports = None,
    rois: Rois = None,
    position: Positions = Position.require,
    workers: Workers = 0,
    scheduler: Scheduler = "",
    num_parts: NumParts = 1,
    part_id: PartId = 0,
    study_limit: StudyLimit = "5m",
    explain: Pages = False,
    dicom: Dicom = False,
    query: Query = None,
    store: Store = False,
    dry_run: DryRun = False,
    export: Export = None,
    status: Status = None,
    retry_refused: RetryRefused = None,
    key_file: KeyFile = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Score every study: OUT/predictions/part-*.parquet, refused.jsonl, warnings.jsonl, summary.html.

    Run it again with the same OUT to go on where it stopped, also with another number of workers. What --dicom writes
    to OUT/explanations/<case>/ carries the studies' real identity.
    """
    from medfuse.io.dicomweb_session import SCHEME
    from medfuse.memory import prepare_process
    from medfuse.progress import parse_duration, start_logging
    from medfuse.scoring import Meter, ScoreOptions
    from medfuse.scoring.exporting import writer_for
    from medfuse.scoring.records import RunArguments, recall_arguments, remember_arguments

    prepare_process()
    start_logging(quiet=quiet, json_log=json_log)
    if export is not None:
        writer_for(export)
    if status is not None:
        _show_status(status, export)
        return
    if retry_refused is not None and source is None:
        arguments, out = recall_arguments(retry_refused), retry_refused
    else:
        if source is None:
            raise UsageError("command line", "Missing argument 'INPUT'", expected="what 'medfuse score --help' shows")
        if model is None or (out := out or retry_refused) is None:
            missing = "--model" if model is None else "--out"
            raise UsageError(
                "command line", f"Missing option '{missing}'", expected="what 'medfuse score --help' shows"
            )
        place = source if source.startswith(SCHEME) else str(Path(source).absolute())
        texts = (_absolute(model), _text(reports), _text(rois), position.value, _text(key_file))
        arguments = RunArguments(place, *texts, query=tuple(query or ()))
    is_service = arguments.source.startswith(SCHEME)
    if (store and not is_service) or (query and not (source or "").startswith(SCHEME)):
        found = "found an INPUT that is no DICOMweb service" if source else "found no INPUT: it stays what it was"
        raise UsageError("--query" if query else "--store", found, expected="dicomweb:URL")
    options = ScoreOptions(
        position="centre" if arguments.position == "centre" else "require",
        share=(part_id, num_parts),
        retry_refused=retry_refused is not None,
        study_seconds=parse_duration(study_limit),
        workers=workers,
        scheduler=scheduler,
    )
    meter = Meter(quiet=quiet, shown_refusals=sys.maxsize if json_log else SHOWN_REASONS)
    pages = "dicom" if dicom or store else "explain" if explain else ""
    if is_service:
        n_refused = _run_service(arguments, out, options, meter, pages=pages, dry_run=dry_run, store=store, quiet=quiet)
    else:
        n_refused = _run(arguments, out, options, meter, pages=pages, dry_run=dry_run)
    if dry_run:
        return
    remember_arguments(out, arguments)
    if export is not None:
        _export(out, export)
    if n_refused:
        raise typer.Exit(SOME_REFUSED)


def _run(arguments: RunArguments, out: Path, options: ScoreOptions, meter: Meter, *, pages: str, dry_run: bool) -> int:
    """Score, unless everything is done already; return how many cases are refused."""
    from dataclasses import replace

    from medfuse.io import load_pseudonymizer
    from medfuse.io.fingerprint import fingerprint
    from medfuse.scoring.records import finished_run, model_id_of

    names = load_pseudonymizer(Path(arguments.key_file) if arguments.key_file else None)
    source = Path(arguments.source)
    places = [source.parent if source.suffix.lower() == ".csv" else source]
    places += [Path(text) for text in (arguments.reports, arguments.rois) if text]
    options = replace(options, source=fingerprint([place for place in places if place.exists()], without=out))
    known = {
        "model_id": model_id_of(arguments.model),
        "position": options.position,
        "pseudonym_key": names.file("ledger"),
    }
    before = finished_run(out, identity=known, source=options.source)
    if before is not None and not (options.retry_refused or pages or dry_run):
        log.info("nothing left to do: %d scored, %d refused; see %s", before.n_scored, before.n_refused, out)
        return before.n_refused
    return _score(arguments, out, options, meter, pages=pages, dry_run=dry_run)


def _score(
    arguments: RunArguments, out: Path, options: ScoreOptions, meter: Meter, *, pages: str, dry_run: bool
) -> int:
    from medfuse.io import load_pseudonymizer
    from medfuse.io.archive_store import kept_store
    from medfuse.io.inputs import FoundStudies
    from medfuse.scoring import plan_scoring

    predictor = load_predictor(arguments.model)
    source, names = Path(arguments.source), load_pseudonymizer(_path(arguments.key_file))
    reports, rois = _path(arguments.reports), _path(arguments.rois)
    found = FoundStudies(source, reports=reports, rois=rois, cache=kept_store(source))
    entries = found.entries(unit=predictor.preprocessing.unit, rule=predictor.bundle.series)
    if dry_run:
        plan = plan_scoring(entries, predictor=predictor, out=out, pseudonymizer=names, options=options)
        typer.echo("\n".join(plan.lines()))
        return 0
    for reason, count in found.reasons.most_common(SHOWN_REASONS):
        log.warning("refused %d: %s", count, reason)
    return _score_entries(entries, predictor, arguments, out, options, meter, pages=pages)


def _run_service(
    arguments: RunArguments,
    out: Path,
    options: ScoreOptions,
    meter: Meter,
    *,
    pages: str,
    dry_run: bool,
    store: bool,
    quiet: bool,
) -> int:
    """Retrieve what a DICOMweb service lists, score it, send the results; return how many are refused."""
    from medfuse.cli.scoring_dicomweb import list_service, plan_lines, retrieved_entries, send_results
    from medfuse.io import load_pseudonymizer

    service, listed = list_service(arguments, options)
    if dry_run:
        typer.echo("\n".join(plan_lines(listed, out, load_pseudonymizer(_path(arguments.key_file)))))
        return 0
    predictor = load_predictor(arguments.model)
    entries, n_refused = retrieved_entries(
        service, listed, arguments, options, out=out, predictor=predictor, quiet=quiet
    )
    n_refused += _score_entries(entries, predictor, arguments, out, options, meter, pages=pages)
    return n_refused + (send_results(service, out, quiet=quiet) if store else 0)


def _score_entries(
    entries: Collection[StudyEntry],
    predictor: Predictor,
    arguments: RunArguments,
    out: Path,
    options: ScoreOptions,
    meter: Meter,
    *,
    pages: str,
) -> int:
    """Score studies and write their pages; return how many cases are refused."""
    from medfuse.io import load_pseudonymizer
    from medfuse.scoring import score

    names = load_pseudonymizer(_path(arguments.key_file))
    summary = score(entries, predictor=predictor, out=out, pseudonymizer=names, options=options, meter=meter)
    if pages:
        from medfuse.explain import PageOptions
        from medfuse.scoring import explain_results

        page = PageOptions(dicom=pages == "dicom", run=run_of(arguments.model))
        n_written, n_failed = explain_results(
            entries, predictor=predictor, out=out, pseudonymizer=names, position=options.position, page=page
        )
        log.info("%d pages in %s, %d without", n_written, out / "explanations", n_failed)
    if summary.n_warned:
        log.warning("%d cases are scored with a warning; see %s", summary.n_warned, out / "warnings.jsonl")
    log.info("%d scored, %d refused in %.1f s; see %s", summary.n_scored, summary.n_refused, summary.seconds, out)
    return summary.n_refused


def _show_status(folder: Path, export: Path | None) -> None:
    from medfuse.scoring.status import run_status

    typer.echo("\n".join(run_status(folder).lines()))
    if export is not None:
        _export(folder, export)


def _export(folder: Path, out: Path) -> None:
    from medfuse.scoring.exporting import export_results

    log.info("wrote %d rows to %s", export_results(folder, out), out)


def _absolute(model: str) -> str:
    return model if ":/" in model else str(Path(model).absolute())


def _text(path: Path | None) -> str:
    return "" if path is None else str(path.absolute())


def _path(text: str) -> Path | None:
    return Path(text) if text else None
