"""Commands that train: train, tune, compare, sync, models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from medfuse.cli.options import SOME_REFUSED, JsonLog, Out, Quiet, log
from medfuse.errors import TrainingError

__all__ = ["compare", "models", "sync", "train", "tune"]


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
    from medfuse.training.run_folder import check_writable

    check_writable(out)

    watchers = [ShowEpochs(settings.name), *([StopInTime(limit)] if limit else [])]
    table, loaded = read_cases(settings, manifest=manifest, progress=bar("studies", quiet=quiet))
    for study_key, lesion_id, reason in loaded.refused:
        log.warning("refused %s %s: %s", study_key, lesion_id, reason)
    start = train_folds if settings.data.folds else train
    run = start(settings, out=out, manifest=table, cases=loaded, callbacks=watchers, resume=resume)
    if not run.is_complete:
        log.warning("the time was up after %d epochs; --resume goes on", run.n_epochs)
    elif run.model_id:
        log.info("best epoch %d of %d; model %s in %s", run.best_epoch + 1, run.n_epochs, run.model_id, out / "model")
    for name, value in run.auroc.items():
        log.info("test AUROC %s %.3f", name, value)
    if loaded.refused:
        raise typer.Exit(SOME_REFUSED)


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


def compare(
    *,
    grid: Annotated[Path, typer.Option(help="YAML: config, evaluate_on, folds, seeds, reference, shared, runs, grid.")],
    out: Out,
    manifest: Annotated[Path | None, typer.Option(help="Instead of the config's manifest.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, one thread each.")] = 1,
    scheduler: Annotated[str, typer.Option(metavar="ADDRESS", help="Of a dask scheduler: its workers train.")] = "",
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
    found = compare(plan, configs, out=out, manifest=table, workers=workers, scheduler=scheduler)
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
