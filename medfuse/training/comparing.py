"""Many configurations on the same cases: one training a run, fold and seed, in parallel, each kept when it is done."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd
from numpy.typing import ArrayLike

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import MedfuseError, TrainingError
from medfuse.evaluation import ComparedModel, case_table, check_predictions, compare_areas
from medfuse.io import Manifest
from medfuse.training.fitting import fit
from medfuse.training.grids import Grid
from medfuse.training.parts import split_cases
from medfuse.training.predictions import baseline_tables, prediction_table
from medfuse.training.runs import config_digest, read_cases, run_versions, write_record
from medfuse.whole_files import write_whole

__all__ = ["Comparison", "compare", "compared_table", "kept_predictions"]

log = logging.getLogger("medfuse")
BETWEEN = "#"
"""Between a run and its seed; no run's name holds it."""

PREDICTIONS, RECORD = "predictions.parquet", "run.json"


@dataclass(frozen=True, slots=True)
class Job:
    """One training of a comparison."""

    run: str
    fold: int
    seed: int
    config: RunConfig
    manifest: Path
    on: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Parameters
    ----------
    models : tuple of ComparedModel
        In the order of the grid, then the baselines.
    table : DataFrame
        One row a model: its figures, the mean seconds of a core a training and the number of its parameters.
    n, n_positive, n_patients : int
        Cases that every model answered.
    refused : tuple of (run, reason)
        Runs whose training failed; they are in no figure.
    """

    models: tuple[ComparedModel, ...]
    table: pd.DataFrame
    n: int
    n_positive: int
    n_patients: int
    refused: tuple[tuple[str, str], ...]


def compare(
    grid: Grid, configs: Mapping[str, RunConfig], *, out: Path, manifest: Manifest, workers: int = 1
) -> Comparison:
    """Train what is not trained yet, and compare.

    Parameters
    ----------
    grid : Grid
    configs : mapping of str to RunConfig
        By run.
    out : Path
        Gets ``trainings/<run>/fold-<f>-seed-<s>/``, one folder a training, and ``comparison.csv``. Trainings of the
        same configuration, data and versions are left as they are.
    manifest : Manifest
    workers : int
        Trainings at a time, one thread each.

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        If no case was answered by every run.
    TrainingError
        If the reference's training failed.
    """
    jobs = [
        Job(
            run, fold, seed, _of_job(config, fold, seed), manifest.path, grid.evaluate_on, _folder(out, run, fold, seed)
        )
        for run, config in configs.items()
        for fold in grid.folds
        for seed in grid.seeds
    ]
    waiting = [job for job in jobs if not _is_done(job, manifest)]
    log.info("%d trainings, %d of them done", len(jobs), len(jobs) - len(waiting))
    refused = _run_all(waiting, manifest, workers=workers)
    if grid.reference in refused:
        raise TrainingError(f"run {grid.reference!r}", refused[grid.reference], expected="a reference that trains")
    found = _compared([job for job in jobs if job.run not in refused], grid, refused)
    write_whole(out / "comparison.csv", found.table.to_csv(index=False).encode())
    return found


def _of_job(config: RunConfig, fold: int, seed: int) -> RunConfig:
    data = config.data.model_copy(update={"test_fold": fold, "folds": None})
    compute = config.compute.model_copy(update={"threads": 1, "devices": 1, "strategy": "auto"})
    return config.model_copy(update={"seed": seed, "data": data, "compute": compute})


def _folder(out: Path, run: str, fold: int, seed: int) -> Path:
    return out / "trainings" / run / f"fold-{fold}-seed-{seed}"


def _is_done(job: Job, manifest: Manifest) -> bool:
    try:
        record = json.loads((job.folder / RECORD).read_text(encoding="utf-8"))
        return bool(record["origin"] == _origin(job, manifest) and (job.folder / PREDICTIONS).exists())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _origin(job: Job, manifest: Manifest) -> dict[str, object]:
    """Say what a training's result follows from, on whatever machine and under whatever name."""
    return {"config": config_digest(job.config), "data": manifest.digest, "on": job.on, "versions": run_versions()}


def _run_all(jobs: Sequence[Job], manifest: Manifest, *, workers: int) -> dict[str, str]:
    """Run trainings, several at a time; return by run why one failed."""
    refused: dict[str, str] = {}
    if not jobs:
        return refused
    # Read by torch when a worker starts: the workers share the cores already.
    os.environ["OMP_NUM_THREADS"] = "1"
    started, n_done = time.monotonic(), 0
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = {pool.submit(run_job, job, _origin(job, manifest)): job for job in jobs}
        for future in as_completed(pending):
            job = pending[future]
            n_done += 1
            left = (time.monotonic() - started) / n_done * (len(jobs) - n_done)
            error = future.exception()
            if error is None:
                log.info("%s fold %d seed %d: %.0f s; %d left, %.0f s", job.run, job.fold, job.seed, future.result(),
                         len(jobs) - n_done, left)  # fmt: skip
            elif isinstance(error, MedfuseError):
                refused[job.run] = str(error)
                log.warning("refused %s: %s", job.run, error)
            else:
                raise error
    return refused


def run_job(job: Job, origin: Mapping[str, object]) -> float:
    """Train one run in a process of its own, and keep its predictions.

    Returns
    -------
    float
        Seconds of a core for the training alone, whatever else the machine did meanwhile.
    """
    cases = _read(job.manifest, job.config.model_dump_json(exclude={"seed", "name", "optim", "augment", "compute"}))
    started = time.process_time()
    parts = split_cases(cases, job.config.data, seed=job.config.seed)
    done = fit(job.config, train=parts.train, validation=parts.validation)
    seconds = time.process_time() - started
    tables = [prediction_table(done.bundle, parts.validation, split="validation", fold=job.fold)]
    if job.on == "folds":  # otherwise the test cases stay unseen
        tables += [prediction_table(done.bundle, parts.test, split="test"), *baseline_tables(job.config, parts)]
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / RECORD).unlink(missing_ok=True)
    pd.concat(tables, ignore_index=True).to_parquet(job.folder / PREDICTIONS, index=False)
    record = {
        "origin": dict(origin),
        "seconds": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in done.bundle.model.parameters()),
        "best_epoch": done.best_epoch,
        "epochs": len(done.history),
    }
    write_record(job.folder, record)
    return seconds


@lru_cache(maxsize=2)
def _read(manifest: Path, config: str) -> tuple[Case, ...]:
    """Read cases once a process for all runs that prepare them alike."""
    return read_cases(RunConfig.model_validate_json(config), manifest=manifest)[1].cases


def _compared(jobs: Sequence[Job], grid: Grid, refused: Mapping[str, str]) -> Comparison:
    """Put every run's own condition on the same cases."""
    rows = pd.concat([_own_rows(job, is_reference=job.run == grid.reference) for job in jobs], ignore_index=True)
    cases = case_table(check_predictions(rows))
    scores: dict[str, list[ArrayLike]] = {}
    for column in cases.probabilities.columns:
        scores.setdefault(column.partition(BETWEEN)[0], []).append(cases.probabilities[column].to_numpy())
    names = [*dict.fromkeys(job.run for job in jobs), *sorted(name for name in scores if name.startswith("baseline_"))]
    ordered = {name: scores[name] for name in names}
    models = compare_areas(cases.labels, ordered, reference=grid.reference, clusters=cases.patients)
    costs = pd.DataFrame([{"run": job.run, **_costs(job)} for job in jobs]).groupby("run").mean()
    table = compared_table(models).merge(costs.reset_index(), on="run", how="left")
    return Comparison(
        tuple(models),
        table,
        n=len(cases.labels),
        n_positive=int(cases.labels.sum()),
        n_patients=len(set(cases.patients)),
        refused=tuple(refused.items()),
    )


def _own_rows(job: Job, *, is_reference: bool) -> pd.DataFrame:
    """Return a training's answers, as the condition that the run is; the reference brings the baselines."""
    table = pd.read_parquet(job.folder / PREDICTIONS)
    rows = table[table["split"] == ("test" if job.on == "folds" else "validation")]
    conditions = set(rows["condition"])
    own = "fused" if "fused" in conditions else next(c for c in ("image", "text", "table") if c in conditions)
    kept = rows["condition"] == own
    named = rows["condition"].where(~kept, f"{job.run}{BETWEEN}{job.seed}")
    if is_reference:
        kept |= rows["condition"].str.startswith("baseline_")
        named = named.where(~named.str.startswith("baseline_"), named + f"{BETWEEN}{job.seed}")
    # A case may be held out for validation by several folds.
    return rows.assign(condition=named, case_id=f"{job.fold} " + rows["case_id"])[kept]


def _costs(job: Job) -> dict[str, float]:
    record = json.loads((job.folder / RECORD).read_text(encoding="utf-8"))
    return {key: float(record[key]) for key in ("seconds", "parameters", "best_epoch")}


def kept_predictions(out: Path, run: str, *, seed: int) -> pd.DataFrame:
    """Return what the trainings of one run and seed answered, of all folds, under every condition.

    Parameters
    ----------
    out : Path
        Folder of a comparison.
    run : str
    seed : int

    Returns
    -------
    DataFrame
        As contract.md's predictions table.

    Raises
    ------
    TrainingError
        If there are none.
    """
    kept = sorted((out / "trainings" / run).glob(f"fold-*-seed-{seed}/{PREDICTIONS}"))
    if not kept:
        raise TrainingError(f"run {run!r}", "found no predictions", expected=f"trainings from seed {seed}")
    return pd.concat([pd.read_parquet(path) for path in kept], ignore_index=True)


def compared_table(models: Sequence[ComparedModel]) -> pd.DataFrame:
    """Lay models out as a table.

    Parameters
    ----------
    models : sequence of ComparedModel

    Returns
    -------
    DataFrame
        One row a model; what a reference has no difference for is empty.
    """
    return pd.DataFrame([_row(one) for one in models])


def _row(one: ComparedModel) -> dict[str, object]:
    row: dict[str, object] = {
        "run": one.name, "auroc": one.area.value, "low": one.area.low, "high": one.area.high,
        "difference": None, "difference_low": None, "difference_high": None, "p": None, "p_holm": None,
    }  # fmt: skip
    if one.against is not None:
        row |= {
            "difference": one.against.difference, "difference_low": one.against.low,
            "difference_high": one.against.high, "p": one.against.p_value, "p_holm": one.p_holm,
        }  # fmt: skip
    return row
