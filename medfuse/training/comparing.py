"""Many configurations on the same cases: one training a run, fold and seed, in parallel, each kept when it is done."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from numpy.typing import ArrayLike

from medfuse.config import RunConfig
from medfuse.errors import TrainingError
from medfuse.evaluation import ComparedModel, case_table, check_predictions, compare_areas
from medfuse.io import Manifest
from medfuse.training.comparison_trainings import HISTORY, PREDICTIONS, RECORD, Job, is_done, jobs_of, run_all
from medfuse.training.grids import Grid
from medfuse.training.journal import Journal
from medfuse.training.runs import config_digest
from medfuse.training.tracking import tracked_run
from medfuse.whole_files import write_whole

__all__ = ["Comparison", "compare", "compared_table", "kept_predictions"]

log = logging.getLogger("medfuse")
BETWEEN = "#"
"""Between a run and its seed; no run's name holds it."""

TABLE = "comparison.csv"


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
    grid: Grid,
    configs: Mapping[str, RunConfig],
    *,
    out: Path,
    manifest: Manifest,
    workers: int = 1,
    scheduler: str = "",
) -> Comparison:
    """Train what is not trained yet, and compare.

    The comparison is a run in MLflow, and every training a child of it.

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
    scheduler : str
        Address of a dask scheduler whose workers train instead; see `run_all`.

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
    jobs = jobs_of(grid, configs, out=out, manifest=manifest)
    waiting = [job for job in jobs if not is_done(job, manifest)]
    log.info("%d trainings, %d of them done", len(jobs), len(jobs) - len(waiting))
    for job in waiting:
        Journal(job.folder).path.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    base = configs[grid.reference].model_copy(update={"name": "comparison"})
    with tracked_run(base, out, digests={"data_digest": manifest.digest}, resume=True) as tracked:
        for job in jobs:
            if job not in waiting and not Journal(job.folder).path.exists():
                _track(job, manifest)
        refused = run_all(
            waiting, manifest, workers=workers, scheduler=scheduler, on_done=lambda job: _track(job, manifest)
        )
        if grid.reference in refused:
            raise TrainingError(f"run {grid.reference!r}", refused[grid.reference], expected="a reference that trains")
        found = _compared([job for job in jobs if job.run not in refused], grid, refused)
        write_whole(out / TABLE, found.table.to_csv(index=False).encode())
        tracked.log_metrics({f"auroc/{one.name}": one.area.value for one in found.models}, step=0)
        tracked.log_values(tags={"mlflow.note.content": " ".join(grid.design())})
        tracked.log_artifact(TABLE)
    return found


def _track(job: Job, manifest: Manifest) -> None:
    """Log a finished training as a child of the open run."""
    digests = {"config_digest": config_digest(job.config), "data_digest": manifest.digest}
    name = f"{job.run}, fold {job.fold}, seed {job.seed}"
    with tracked_run(job.config, job.folder, digests=digests, name=name) as tracked:
        for step, row in enumerate(pd.read_csv(job.folder / HISTORY).to_dict("records")):
            tracked.log_metrics({f"epoch/{key}": float(value) for key, value in row.items()}, step=step)
        tracked.log_metrics(_costs(job), step=0)


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
