"""The trainings of a comparison: what each follows from, where it is kept, and many of them at a time."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import MedfuseError, TrainingError
from medfuse.io import Manifest
from medfuse.training.fitting import fit
from medfuse.training.grids import Grid
from medfuse.training.parts import split_cases
from medfuse.training.predictions import baseline_tables, prediction_table
from medfuse.training.runs import config_digest, read_cases, run_versions, write_record

__all__ = ["HISTORY", "PREDICTIONS", "RECORD", "Job", "is_done", "jobs_of", "run_all", "run_job"]

log = logging.getLogger("medfuse")

PREDICTIONS, RECORD, HISTORY = "predictions.parquet", "run.json", "history.csv"
TIMEOUT_S = 10.0
"""After so long a scheduler is taken to be away."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training of a comparison.

    Parameters
    ----------
    run : str
    fold, seed : int
    split_seed : int
        Of the inner validation part: one for all seeds, so that all answer the same cases.
    config : RunConfig
    manifest : Path
    on : {"validation", "folds"}
    folder : Path
    """

    run: str
    fold: int
    seed: int
    split_seed: int
    config: RunConfig
    manifest: Path
    on: str
    folder: Path


def jobs_of(grid: Grid, configs: Mapping[str, RunConfig], *, out: Path, manifest: Manifest) -> list[Job]:
    """Return a job a run, fold and seed, in that order."""
    return [
        Job(
            run,
            fold,
            seed,
            grid.seeds[0],
            _of_job(config, fold, seed),
            manifest.path.resolve(),
            grid.evaluate_on,
            (out / "trainings" / run / f"fold-{fold}-seed-{seed}").resolve(),
        )
        for run, config in configs.items()
        for fold in grid.folds
        for seed in grid.seeds
    ]


def _of_job(config: RunConfig, fold: int, seed: int) -> RunConfig:
    data = config.data.model_copy(update={"test_fold": fold, "folds": None})
    compute = config.compute.model_copy(update={"threads": 1, "devices": 1, "strategy": "auto"})
    return config.model_copy(update={"seed": seed, "data": data, "compute": compute})


def is_done(job: Job, manifest: Manifest) -> bool:
    """Tell whether the job's folder holds the training of just this configuration, data and set of versions."""
    try:
        record = json.loads((job.folder / RECORD).read_text(encoding="utf-8"))
        return bool(record["origin"] == _origin(job, manifest) and (job.folder / PREDICTIONS).exists())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _origin(job: Job, manifest: Manifest) -> dict[str, object]:
    """Say what a training's result follows from, on whatever machine and under whatever name."""
    return {
        "config": config_digest(job.config),
        "data": manifest.digest,
        "on": job.on,
        "split_seed": job.split_seed,
        "versions": run_versions(),
    }


def run_all(
    jobs: Sequence[Job], manifest: Manifest, *, workers: int, scheduler: str, on_done: Callable[[Job], None]
) -> dict[str, str]:
    """Run trainings, several at a time.

    Parameters
    ----------
    jobs : sequence of Job
    manifest : Manifest
    workers : int
        Processes of this machine, one thread each.
    scheduler : str
        Address of a dask scheduler, whose workers then train instead; they see the same folders. Empty for none.
    on_done : callable
        Called with each job that is finished, in this process.

    Returns
    -------
    dict of str to str
        By run, why one of its trainings failed.

    Raises
    ------
    TrainingError
        If a process died, or the scheduler does not answer.
    """
    refused: dict[str, str] = {}
    if not jobs:
        return refused
    started, n_done = time.monotonic(), 0
    with _executor(min(workers, len(jobs)), scheduler) as pool:
        pending = {pool.submit(run_job, job, _origin(job, manifest)): job for job in jobs}
        for future in as_completed(pending):
            job = pending[future]
            n_done += 1
            left = (time.monotonic() - started) / n_done * (len(jobs) - n_done)
            try:
                seconds = future.result()
            except BrokenProcessPool as error:
                raise TrainingError(
                    f"run {job.run!r}", "its process was ended from outside", expected="memory for all workers; the "
                    "same command goes on where this one stopped",
                ) from error  # fmt: skip
            except MedfuseError as error:
                refused[job.run] = str(error)
                log.warning("refused %s: %s", job.run, error)
                continue
            log.info("%s fold %d seed %d: %.0f s; %d left, %.0f s", job.run, job.fold, job.seed, seconds,
                     len(jobs) - n_done, left)  # fmt: skip
            on_done(job)
    return refused


@contextmanager
def _executor(workers: int, scheduler: str) -> Iterator[Executor]:
    if not scheduler:
        # Read by torch when a worker starts: the workers share the cores already.
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
        return
    from distributed import Client

    try:
        client = Client(scheduler, timeout=TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"scheduler {scheduler}", f"does not answer ({type(error).__name__})", expected="a running dask scheduler"
        ) from error
    with client:
        yield client.get_executor(pure=False)


def run_job(job: Job, origin: Mapping[str, object]) -> float:
    """Train one run in a process of its own, and keep its predictions.

    Returns
    -------
    float
        Seconds of a core for the training alone, whatever else the machine did meanwhile.
    """
    cases = _read(job.manifest, job.config.model_dump_json(exclude={"seed", "name", "optim", "augment", "compute"}))
    started = time.process_time()
    parts = split_cases(cases, job.config.data, seed=job.split_seed)
    done = fit(job.config, train=parts.train, validation=parts.validation)
    seconds = time.process_time() - started
    tables = [prediction_table(done.bundle, parts.validation, split="validation", fold=job.fold)]
    if job.on == "folds":  # otherwise the test cases stay unseen
        tables += [prediction_table(done.bundle, parts.test, split="test"), *baseline_tables(job.config, parts)]
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / RECORD).unlink(missing_ok=True)
    pd.concat(tables, ignore_index=True).to_parquet(job.folder / PREDICTIONS, index=False)
    pd.DataFrame(done.history).to_csv(job.folder / HISTORY, index=False)
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
