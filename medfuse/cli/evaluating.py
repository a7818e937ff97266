"""The command that evaluates: a run, a model on another site's cases, any predictions, or several of these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medfuse.cli.evaluation_sources import (
    PREDICTIONS,
    Source,
    command_stamp,
    source_of_model,
    source_of_run,
    source_of_table,
)
from medfuse.cli.options import SOME_REFUSED, JsonLog, KeyFile, Out, Quiet, log
from medfuse.errors import UsageError, nearest_name

if TYPE_CHECKING:
    import pandas as pd

    from medfuse.evaluation import Evaluation, LearningCurve, ReaderAgreement, TargetEvaluation
    from medfuse.io import Pseudonymizer
    from medfuse.reporting.thumbnails import WorstCase

__all__ = ["evaluate"]

N_WORST = 4


def evaluate(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]", help="A run's folder.")] = None,
    *,
    out: Out,
    predictions: Annotated[Path | None, typer.Option(help="A predictions table of any model, CSV or Parquet.")] = None,
    model: Annotated[str, typer.Option(help="A saved model, to test on the cases of --manifest.")] = "",
    manifest: Annotated[
        Path | None, typer.Option(help="Another site's labelled manifest; of a RUN its own, for pictures.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Several RUNs or predictions tables, each against the first.")
    ] = False,
    target: Annotated[str, typer.Option(help="One target of several.")] = "",
    language: Annotated[str, typer.Option(help="Of the report: en or zh.")] = "en",
    include_text: Annotated[
        bool, typer.Option("--include-text", help="Show the reports of the worst errors. They may name patients.")
    ] = False,
    readings: Annotated[
        Path | None, typer.Option(help="What several readers said: case_id and a column of numbers a reader.")
    ] = None,
    middle: Annotated[float, typer.Option(help="Between negative and positive readings.")] = 0.5,
    title: Annotated[str, typer.Option(help="Title of the evaluation report.")] = "",
    allow_late_reports: Annotated[
        bool, typer.Option("--allow-late-reports", help="Take reports dated after the outcome; the page says so.")
    ] = False,
    key_file: KeyFile = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Evaluate: OUT/report.html, metrics.json, predictions.csv, and report.pdf where the pdf extra is installed."""
    chosen = runs or []
    _check(chosen, predictions, model, manifest, compare=compare)
    from medfuse.progress import start_logging
    from medfuse.reporting.catalogue import open_catalogue

    start_logging(quiet=quiet, json_log=json_log)
    say = open_catalogue(language)
    if compare:
        _compare(chosen, out, target=target, title=title, language=language)
        return
    from medfuse.io import load_pseudonymizer, read_manifest

    names = load_pseudonymizer(key_file)
    if model and manifest:
        cases = read_manifest(manifest, allow_late_reports=allow_late_reports)
        source = source_of_model(model, cases, names, quiet=quiet, title=title)
        if allow_late_reports:
            late = (say("design.late_reports"),)
            source = replace(source, background=replace(source.background, design=late))
    elif predictions:
        source = source_of_table(predictions, title=title)
    else:
        source = source_of_run(chosen[0], manifest, title=title, language=language)
    found = _evaluated(source, target)
    worst = _worst(source, found, names, include_text=include_text)
    readers = _readers(source, found, readings, middle) if readings else None
    background = replace(source.background, worst=worst, readers=readers)
    from medfuse.reporting import write_csv, write_evaluation_report

    page = write_evaluation_report(found, out, background=background, language=language, pdf=True)
    write_csv(out / "predictions.csv", source.table)
    for name, one in found.items():
        for label, evaluation in one.by_class.items():
            _say_areas(" ".join(filter(None, (name, label if one.kind != "binary" else ""))), evaluation)
    log.info("wrote %s", page)
    if source.n_refused:
        raise typer.Exit(SOME_REFUSED)


def _check(runs: list[Path], predictions: Path | None, model: str, manifest: Path | None, *, compare: bool) -> None:
    """Refuse what is not exactly one source."""
    if compare:
        if len(runs) < 2 or predictions or model:
            raise UsageError("evaluate --compare", f"found {len(runs)} runs", expected="two or more RUNs or tables")
        return
    given = [bool(runs), predictions is not None, bool(model)]
    if sum(given) != 1:
        found = "found neither a run nor --predictions nor --model" if not any(given) else "found more than one source"
        raise UsageError("evaluate", found, expected="RUN, --predictions P.csv, or --model M --manifest X")
    if len(runs) > 1:
        raise UsageError("evaluate", f"found {len(runs)} runs", expected="one, or --compare")
    if model and manifest is None:
        raise UsageError("evaluate --model", "found no --manifest", expected="a labelled manifest.csv")


def _evaluated(source: Source, target: str) -> dict[str, TargetEvaluation]:
    """Evaluate every target, or the one that is asked for, each at its own thresholds where it brings them."""
    from medfuse.evaluation import EvaluationPlan, evaluate, evaluate_targets

    table = _of_target(source.table, target)
    found: dict[str, TargetEvaluation] = {}
    for name in table["target"].unique():
        plan = EvaluationPlan(thresholds=source.thresholds.get(name, {}))
        rows = table[table["target"] == name]
        found |= evaluate_targets(rows, targets=source.targets, columns=source.columns, plan=plan)
    if not any(one.by_class for one in found.values()):
        evaluate(table, target=next(iter(found), None))  # raises what is wrong with it
    return found


def _of_target(table: pd.DataFrame, target: str) -> pd.DataFrame:
    known = table["target"].unique().tolist()
    if target and target not in known:
        raise UsageError("--target", f"found no {target!r}", expected=nearest_name(target, known))
    return table[table["target"] == target] if target else table


def _worst(
    source: Source, found: dict[str, TargetEvaluation], names: Pseudonymizer, *, include_text: bool
) -> tuple[WorstCase, ...]:
    """Return the worst errors of a single binary target, with their pictures where the manifest is at hand."""
    from medfuse.reporting.thumbnails import WorstCase, calls_of, slices, worst_calls

    one = next(iter(found.values()))
    if len(found) > 1 or one.kind != "binary":
        return ()
    evaluation = next(iter(one.by_class.values()))
    called = worst_calls(calls_of(evaluation, source.table), n=N_WORST)
    if source.manifest is None or source.preprocessing is None:
        return tuple(WorstCase(case) for case in called)
    from medfuse.training import find_cases

    wanted = {case.case_id for case in called}
    shown = find_cases(
        wanted, manifest=source.manifest, preprocessing=source.preprocessing, pseudonymizer=names
    )  # fmt: skip
    worst = []
    for case in called:
        held = shown.get(case.case_id)
        pictures = slices(held.image[0]) if held is not None and held.image is not None else ()
        worst.append(WorstCase(case, pictures, held.text if held is not None and include_text else ""))
    return tuple(worst)


def _readers(source: Source, found: dict[str, TargetEvaluation], readings: Path, middle: float) -> ReaderAgreement:
    """Return how far readers agree on the evaluated cases of a single binary target."""
    from medfuse.evaluation import agreement_of, main_condition, read_readings
    from medfuse.evaluation.evaluating import cases_of_test

    name, one = next(iter(found.items()))
    if len(found) > 1 or one.kind != "binary":
        raise UsageError("--readings", "found several targets or classes", expected="one binary target: --target NAME")
    cases = cases_of_test(source.table[source.table["target"] == name], target=name or None)
    condition = main_condition([str(column) for column in cases.probabilities.columns])
    return agreement_of(cases, read_readings(readings), condition=condition, middle=middle)


def _learning(runs: list[Path], tables: list[pd.DataFrame], target: str) -> LearningCurve | None:
    """Return what more training cases gave, where the runs are one configuration on several numbers of them."""
    from medfuse.evaluation import learning_curve
    from medfuse.reporting.background import read_cohort
    from medfuse.reporting.provenance import read_record

    if not all((run / "run.json").is_file() for run in runs):
        return None
    facts = [read_cohort(run)[1] for run in runs]
    parts = [one["parts"]["train"] for one in facts if one is not None]
    sizes = {part["cases"] - part["unlabelled"] for part in parts}
    configs = {str(read_record(run)["config_digest"]) for run in runs}
    if len(parts) < len(runs) or len(sizes) < len(runs) or len(configs) > 1:
        return None
    by_size = {
        part["cases"] - part["unlabelled"]: table.assign(condition="fused")
        for part, table in zip(parts, tables, strict=True)
    }
    return learning_curve(by_size, target=target or None, condition="fused")


def _say_areas(name: str, evaluation: Evaluation) -> None:
    for condition, figures in evaluation.metrics.items():
        area = figures["auroc"]
        log.info("AUROC %s %.3f (%.3f to %.3f)", f"{name} {condition}".strip(), area.value, area.low, area.high)


def _compare(sources: list[Path], out: Path, *, target: str, title: str, language: str) -> None:
    """Put several runs or tables on one page, on the cases that all of them answered."""
    import pandas as pd

    from medfuse.evaluation import compare_areas, evaluate, read_predictions
    from medfuse.evaluation.answers import main_condition
    from medfuse.evaluation.evaluating import cases_of_test
    from medfuse.evaluation.inputs import repeated_patients
    from medfuse.reporting import Background, count_look
    from medfuse.reporting.catalogue import open_catalogue
    from medfuse.reporting.models_report import write_models_report

    tables = []
    for path, name in zip(sources, _names(sources), strict=True):
        rows = _of_target(read_predictions(path / PREDICTIONS if path.is_dir() else path), target)
        main = main_condition(sorted(rows["condition"].unique(), key=lambda one: one.startswith("baseline_")))
        tables.append(rows[rows["condition"] == main].assign(condition=name))
        if path.is_dir():
            count_look(path)
    table = pd.concat(tables, ignore_index=True)
    cases = cases_of_test(table, target=target or None)
    scores = {str(name): [cases.probabilities[name].to_numpy()] for name in _names(sources)}
    clusters = repeated_patients(cases.patients)
    models = compare_areas(cases.labels, scores, reference=_names(sources)[0], clusters=clusters)
    evaluation = evaluate(table, target=target or None)
    learning = _learning(sources, tables, target)
    background = Background(title or open_catalogue(language)("compare.title"), command_stamp(), learning=learning)
    page = write_models_report(models, evaluation, out, background=background, language=language, pdf=True)
    for one in models:
        log.info("%s: AUROC %.3f (%.3f to %.3f)", one.name, one.area.value, one.area.low, one.area.high)
    log.info("wrote %s", page)


def _names(sources: list[Path]) -> list[str]:
    """Name each source by its folder or file, and those of one name by their number too."""
    stems = [path.stem if path.is_file() else path.name or path.resolve().name for path in sources]
    return [name if stems.count(name) == 1 else f"{name} {place + 1}" for place, name in enumerate(stems)]
