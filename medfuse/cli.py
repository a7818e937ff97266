"""The command line: each command is one arrow of the line, its heavy packages imported only when it runs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medfuse.errors import DataError, MedfuseError, TrainingError, UsageError

if TYPE_CHECKING:
    from medfuse.inference import Predictor

__all__ = ["app", "main"]

app = typer.Typer(
    help="Learn from medical images and their reports together. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cohort = typer.Typer(
    help="Turn a public data set into a manifest and files.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(cohort, name="cohort")

log = logging.getLogger("medfuse")
FAILED, WRONG_USE, SOME_REFUSED = 1, 2, 3
SHOWN_REASONS = 20

# The error of a wrong command line; typer exports only this one of its kinds.
_COMMAND_LINE_ERROR: type[Any] = typer.BadParameter.__mro__[1]


class Position(StrEnum):
    """What to do with a case that has no lesion position."""

    require = "require"
    centre = "centre"


class ImageKind(StrEnum):
    """What a cohort's images are."""

    rendered = "rendered"
    mask = "mask"
    ct = "ct"


class Size(StrEnum):
    """Whether a cohort's nodules keep their size."""

    keep = "keep"
    normalise = "normalise"


Out = Annotated[Path, typer.Option(help="Where the results go.")]
Model = Annotated[str, typer.Option(help="A model bundle, RUN/model, or in MLflow models:/NAME@candidate.")]
Reports = Annotated[
    Path | None,
    typer.Option(help="A CSV or JSONL table, HL7, DICOM SR, or a folder of these and <StudyInstanceUID>.txt."),
]
Rois = Annotated[Path | None, typer.Option(help="rois.csv with the lesion positions.")]
Positions = Annotated[Position, typer.Option(help="Without a lesion position: refuse, or take the volume's centre.")]
KeyFile = Annotated[Path | None, typer.Option(help="Key of the pseudonyms; by default the user's own.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only.")]
JsonLog = Annotated[bool, typer.Option("--json-log", help="Log one JSON object a line.")]


@cohort.command("lidc")
def cohort_lidc(
    *,
    out: Out,
    image: Annotated[
        ImageKind, typer.Option(help="CT rendered from the contours, the contours' mask, or the real CT.")
    ] = ImageKind.rendered,
    dicom: Annotated[Path | None, typer.Option(help="Folder of LIDC-IDRI's DICOM files, for --image ct.")] = None,
    size: Annotated[Size, typer.Option(help="True size, or every nodule scaled to one size.")] = Size.keep,
    text_size: Annotated[bool, typer.Option("--text-size", help="State the diameter in the reports.")] = False,
    seed: Annotated[int, typer.Option(help="Of the reporting reader, the noise and the wording.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Write the LIDC-IDRI cohort: OUT/manifest.csv, one folder a study, SOURCE.md."""
    from medfuse.cohorts import LidcOptions, build_cohort
    from medfuse.progress import bar, start_logging

    start_logging(quiet=quiet)
    options = LidcOptions(image=image.value, size=size.value, text_size=text_size, seed=seed)
    manifest = build_cohort(out, options=options, dicom=dicom, progress=bar("nodules", quiet=quiet))
    log.info("wrote %s", manifest)
    skipped = out / "skipped.csv"
    if dicom is not None and (n_skipped := len(skipped.read_text(encoding="utf-8").splitlines()) - 1):
        log.warning("left out %d nodules; see %s", n_skipped, skipped)
        raise typer.Exit(SOME_REFUSED)


@cohort.command("medmnist3d")
def cohort_medmnist3d(
    source: Annotated[Path, typer.Argument(metavar="NPZ", help="A published file, such as adrenalmnist3d_64.npz.")],
    *,
    out: Out,
    quiet: Quiet = False,
) -> None:
    """Write a cohort of MedMNIST3D with its official split: OUT/manifest.csv, images, SOURCE.md."""
    from medfuse.cohorts import build_medmnist3d
    from medfuse.progress import bar, start_logging

    start_logging(quiet=quiet)
    log.info("wrote %s", build_medmnist3d(source, out, progress=bar("volumes", quiet=quiet)))


@app.command()
def index(
    archive: Annotated[Path, typer.Argument(help="A folder, zip or tar of DICOM or NIfTI studies, or a DICOMDIR.")],
    *,
    out: Out,
    reports: Reports = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be read; write nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Read every file, not only new ones.")] = False,
    key_file: KeyFile = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Index an archive: OUT/index.parquet, refused.jsonl, summary.json. Reads only what is new or changed."""
    from medfuse.io import index_archive, load_pseudonymizer
    from medfuse.io.archive import plan_index
    from medfuse.io.archive_store import forget, kept_store
    from medfuse.progress import counted, start_logging

    start_logging(quiet=quiet, json_log=json_log)
    cache = kept_store(archive)
    if dry_run:
        n_files, n_new = plan_index(archive, cache=cache)
        typer.echo(f"{n_files} files, of which {n_files if fresh else n_new} would be read")
        return
    names = load_pseudonymizer(key_file)
    if fresh:
        forget(cache)
    found = index_archive(archive, reports=reports, cache=cache, count=counted("files", quiet=quiet))
    found.save(out, pseudonymizer=names)
    log.info("%d series, %d refused; see %s", len(found.series), len(found.refused), out)
    if len(found.refused):
        raise typer.Exit(SOME_REFUSED)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A DICOM file, or a folder, zip or tar of them.")],
    *,
    out: Annotated[Path, typer.Option(help="A folder; or a name in .nii or .nii.gz, for exactly one volume.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    key_file: KeyFile = None,
    quiet: Quiet = False,
) -> None:
    """Convert DICOM to NIfTI: OUT/<series key>.nii.gz and .json, one pair a volume."""
    from medfuse.io import load_pseudonymizer
    from medfuse.io.convert import convert
    from medfuse.progress import bar, start_logging

    start_logging(quiet=quiet)
    names = load_pseudonymizer(key_file)
    done = convert(source, out, pseudonymizer=names, overwrite=overwrite, progress=bar("volumes", quiet=quiet))
    for key, error in done.refused:
        log.warning("refused %s: %s", key, error)
    log.info("wrote %d volumes to %s", len(done.written), out)
    if done.refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def annotate(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE_OR_CSV", help="A CSV, JSONL, report file (also RTF, HTML, XML, HL7) or folder."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="FILE.jsonl: a line a report, with offsets and without text.")],
    column: Annotated[str, typer.Option(help="Column with the text; by default report_text, report or text.")] = "",
    text: Annotated[bool, typer.Option("--text", help="Write the reports' text too.")] = False,
    deidentify: Annotated[
        bool, typer.Option("--deidentify", help="Replace identity in that text by rule: best effort, never complete.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also a page that shows the first reports, with their text.")
    ] = None,
    shown: Annotated[int, typer.Option(min=1, help="Reports on that page.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Annotate reports: sections, sentences, findings with status, labels. A bad report is refused by its row."""
    from medfuse.io.report_rows import read_report_rows
    from medfuse.progress import counted, start_logging
    from medfuse.scoring import TextUse, annotate_reports

    start_logging(quiet=quiet, json_log=json_log)
    if deidentify and not (text or html):
        raise UsageError("--deidentify", "found no text to be written", expected="--text or --html with it")
    if html is not None and html.exists() and not overwrite:
        raise UsageError("--html", "found a file that exists", expected="a new name, or --overwrite")
    use = TextUse(text, deidentify, shown if html else 0)
    rows = read_report_rows(source, column=column)
    done = annotate_reports(rows, out, use=use, overwrite=overwrite, count=counted("reports", quiet=quiet))
    for what, named, n_all in (("warning", done.warned, done.n_warned), ("refused", done.refused, done.n_refused)):
        for row, reason in named:
            log.warning("%s row %d: %s", what, row, reason)
        if n_all > len(named):
            log.warning("%s %d more; see %s", what, n_all - len(named), out)
    if html is not None:
        from medfuse.reporting import write_annotated_reports

        log.info("wrote %s", write_annotated_reports(done.shown, html, is_deidentified=deidentify))
    log.info("%d annotated, %d refused; see %s", done.n_annotated, done.n_refused, out)
    if done.n_refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def prepare(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="manifest.csv.")],
    *,
    config: Annotated[Path, typer.Option(help="A YAML file, as in configs/.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: data.cache.max_gb=50.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes one a core.")] = 0,
    key_file: KeyFile = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Prepare a manifest's images and keep them (data.cache), so that no training waits. Goes on where it stopped."""
    from medfuse.config import load_config
    from medfuse.progress import bar, start_logging

    settings = load_config(config, overrides=set_ or [])
    start_logging(quiet=quiet, json_log=json_log)
    from medfuse.data import Preprocessing, fill_store
    from medfuse.data.filling import usable_cores
    from medfuse.io import load_pseudonymizer, read_manifest

    done = fill_store(
        read_manifest(manifest),
        preprocessing=Preprocessing(settings.data.image, settings.data.text, settings.data.unit, ("image",)),
        cache=settings.data.cache,
        pseudonymizer=load_pseudonymizer(key_file),
        workers=workers or usable_cores(),
        progress=bar("studies", quiet=quiet),
    )
    for study_key, lesion_id, reason in done.refused:
        log.warning("refused %s %s: %s", study_key, lesion_id, reason)
    log.info("%d images prepared, %d known before, %d refused", done.n_made, done.n_known, len(done.refused))
    if done.refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def train(
    *,
    config: Annotated[Path, typer.Option(help="A YAML file, as in configs/.")],
    out: Out,
    manifest: Annotated[Path | None, typer.Option(help="Instead of the config's manifest.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: optim.epochs=3.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Train once a fold by patient: OUT/fold-0, ... (data.folds).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last epoch that OUT holds.")] = False,
    max_time: Annotated[
        str, typer.Option(metavar="DURATION", help="Stop in time, with the best model so far: 90m, 1h30m, 1-02:00:00.")
    ] = "",
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Train: OUT/model, predictions.parquet, history.csv, run.json, checkpoints and an MLflow run."""
    from medfuse.config import load_config
    from medfuse.memory import prepare_process
    from medfuse.progress import bar, parse_duration, start_logging

    prepare_process()
    overrides = [*(set_ or []), *([f"data.folds={folds}"] if folds else [])]
    settings = load_config(config, overrides=overrides)
    quiet = quiet or int(os.environ.get("LOCAL_RANK", "0")) > 0  # of several processes the first one speaks
    limit = parse_duration(max_time) if max_time else None
    start_logging(quiet=quiet, json_log=json_log)
    from medfuse.training import ShowEpochs, StopInTime, read_cases, train, train_folds

    watchers = [ShowEpochs(settings.name), *([StopInTime(limit)] if limit else [])]
    table, loaded = read_cases(settings, manifest=manifest, progress=bar("studies", quiet=quiet))
    for study_key, lesion_id, reason in loaded.refused:
        log.warning("refused %s %s: %s", study_key, lesion_id, reason)
    start = train_folds if settings.data.folds else train
    run = start(settings, out=out, manifest=table, cases=loaded.cases, callbacks=watchers, resume=resume)
    if not run.is_complete:
        log.warning("the time was up after %d epochs; --resume goes on", run.n_epochs)
    elif run.model_id:
        log.info("best epoch %d of %d; model %s in %s", run.best_epoch + 1, run.n_epochs, run.model_id, out / "model")
    for name, value in run.auroc.items():
        log.info("test AUROC %s %.3f", name, value)
    if loaded.refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def tune(
    *,
    config: Annotated[Path, typer.Option(help="What every trial starts from.")],
    out: Out,
    manifest: Annotated[Path | None, typer.Option(help="Instead of the config's manifest.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key: optim.epochs=3.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="YAML, search: {optim.learning_rate: {low: 0.001, high: 0.1, log: true}, ...}.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="In all.")] = 20,
    learning_rate: Annotated[
        bool, typer.Option("--learning-rate", help="No search: a range test that suggests a learning rate.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search that OUT holds.")] = False,
    max_time: Annotated[str, typer.Option(metavar="DURATION", help="Start no trial after it: 90m, 1h30m.")] = "",
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Search by the validation part alone: OUT/best.yaml, trials.csv and an MLflow run with one child a trial."""
    from medfuse.config import load_config
    from medfuse.memory import prepare_process
    from medfuse.progress import bar, parse_duration, start_logging

    prepare_process()
    settings = load_config(config, overrides=set_ or [])
    seconds = parse_duration(max_time) if max_time else float("inf")
    start_logging(quiet=quiet, json_log=json_log)
    from medfuse.training import (
        TuneOptions,
        check_space,
        default_space,
        find_learning_rate,
        read_cases,
        read_space,
        split_cases,
        tune,
    )

    searched = read_space(space) if space else default_space(settings)
    check_space(settings, searched)
    table, loaded = read_cases(settings, manifest=manifest, progress=bar("studies", quiet=quiet))
    for study_key, lesion_id, reason in loaded.refused:
        log.warning("refused %s %s: %s", study_key, lesion_id, reason)
    parts = split_cases(loaded.cases, settings.data, seed=settings.seed)
    if learning_rate:
        curve = find_learning_rate(settings, train=parts.train, validation=parts.validation)
        out.mkdir(parents=True, exist_ok=True)
        curve.save(out / "learning_rate.csv")
        log.info("suggested: optim.learning_rate=%.2g; see %s", curve.suggestion, out / "learning_rate.csv")
    else:
        options = TuneOptions(trials, seconds, resume, table.digest)
        best = tune(settings, searched, train=parts.train, validation=parts.validation, out=out, options=options)
        if best.trial >= 0:
            log.info("best of %d: validation loss %.4f; see %s", best.n_trials, best.validation_loss, out / "best.yaml")
    if loaded.refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
def sync(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, of its folds, or of a search.")],
    *,
    uri: Annotated[str, typer.Option(help="Another MLflow store, which gets all of it.")] = "",
) -> None:
    """Send to MLflow what a run logged while the store was away. What is there already is not logged again."""
    from medfuse.progress import start_logging

    start_logging()
    from medfuse.training import sync

    if left := sync(run, uri=uri):
        raise TrainingError(f"sync {run.name}", f"{left} entries are not sent", expected="a store that answers")
    log.info("all of %s is in MLflow", run)


@app.command()
def compare(
    *,
    grid: Annotated[Path, typer.Option(help="YAML: config, on, folds, seeds, reference, runs, grid.")],
    out: Out,
    manifest: Annotated[Path | None, typer.Option(help="Instead of the config's manifest.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, one thread each.")] = 1,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Train many configurations on the same cases: OUT/comparison.csv, report.html. Goes on where it stopped."""
    from medfuse.memory import prepare_process
    from medfuse.progress import start_logging

    prepare_process()
    start_logging(quiet=quiet, json_log=json_log)
    from medfuse.io import read_manifest
    from medfuse.reporting import ComparedCases, write_comparison_report
    from medfuse.training import compare, read_grid

    plan, configs = read_grid(grid)
    table = read_manifest(manifest or Path(configs[plan.reference].data.manifest))
    found = compare(plan, configs, out=out, manifest=table, workers=workers)
    costs = found.table.dropna(subset=["seconds"]).set_index("run")
    page = write_comparison_report(
        found.models,
        out / "report.html",
        cases=ComparedCases(found.n, found.n_positive, found.n_patients, found.refused),
        costs={str(run): (float(row["seconds"]), float(row["parameters"])) for run, row in costs.iterrows()},
        design=plan.design(),
        provenance={"grid": grid.name, "data": table.digest[:12]},
    )
    for one in found.models:
        log.info("%s: AUROC %.3f (%.3f to %.3f)", one.name, one.area.value, one.area.low, one.area.high)
    log.info("wrote %s", page)
    if found.refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
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


@app.command()
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
    from medfuse.progress import bar, start_logging

    prepare_process()
    start_logging(quiet=quiet, json_log=json_log)
    from medfuse.io import find_studies, load_pseudonymizer
    from medfuse.scoring import score

    predictor = _load_predictor(model)
    unit, rule = predictor.preprocessing.unit, predictor.bundle.series
    entries, refused = find_studies(source, reports=reports, rois=rois, unit=unit, rule=rule)
    for reason, count in refused["reason"].value_counts().head(SHOWN_REASONS).items():
        log.warning("refused %d: %s", count, reason)
    summary = score(
        entries,
        predictor=predictor,
        out=out,
        pseudonymizer=load_pseudonymizer(key_file),
        position=position.value,
        progress=bar("studies", quiet=quiet),
    )
    if summary.n_warned:
        log.warning("%d cases are scored with a warning; see %s", summary.n_warned, out / "warnings.jsonl")
    log.info("%d scored, %d refused in %.1f s; see %s", summary.n_scored, summary.n_refused, summary.seconds, out)
    if summary.n_refused:
        raise typer.Exit(SOME_REFUSED)


@app.command()
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

    predictor = _load_predictor(model)
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


def _load_predictor(model: str) -> Predictor:
    from medfuse.inference import Predictor

    if not model.startswith(("models:/", "runs:/")):
        return Predictor.load(model)
    from medfuse.training import local_bundle

    with local_bundle(model) as folder:
        return Predictor.load(folder)


@app.command()
def models() -> None:
    """List every component that a configuration can name, with its options."""
    from medfuse.models import list_components

    for kind, components in list_components().items():
        typer.echo(f"model.{kind}")
        for name, options in components.items():
            typer.echo(f"  {name}: {options['']}")
            for option, default in options.items():
                if option:
                    typer.echo(f"      {option} = {default}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        By default the process's own; ``--debug`` anywhere shows tracebacks.

    Returns
    -------
    int
        0 done, 1 failed, 2 used wrongly (nothing written), 3 done with refusals.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        code = app(arguments, standalone_mode=False, prog_name="medfuse")
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except _COMMAND_LINE_ERROR as error:
        _complain(f"command line: {error.format_message()}; expected what 'medfuse --help' shows")
        return WRONG_USE
    except MedfuseError as error:
        if debug:
            raise
        _complain(str(error))
        return WRONG_USE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        _complain("interrupted: what was finished is kept")
        return FAILED


def _complain(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
