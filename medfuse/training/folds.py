"""Every fold tested once, by a model that never saw its patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import lightning
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only

from medfuse.config import RunConfig
from medfuse.data import Case, CaseSet, write_cohort
from medfuse.errors import DataError
from medfuse.io import Manifest
from medfuse.splits import fold_of
from medfuse.training.fitting import fit
from medfuse.training.outcome import log_outcome
from medfuse.training.parts import split_cases
from medfuse.training.predictions import baseline_tables, prediction_table
from medfuse.training.runs import (
    Run,
    cases_of,
    config_digest,
    run_record,
    test_figures,
    train,
    write_config,
    write_record,
)

if TYPE_CHECKING:
    from medfuse.training.tracking import Tracked

__all__ = ["cross_fit", "in_folds", "train_folds"]


def cross_fit(
    config: RunConfig,
    cases: Sequence[Case],
    *,
    on_fold: Callable[[int, int], None] = lambda fold, epoch: None,
) -> pd.DataFrame:
    """Train once a fold and predict that fold out of sample.

    Parameters
    ----------
    config : RunConfig
        Its ``test_fold`` is not used; every choice is made on patients held out of the training folds.
    cases : sequence of Case
        See `in_folds`.
    on_fold : callable
        Called with the fold and its best epoch when a fold is done.

    Returns
    -------
    DataFrame
        As contract.md lays predictions out. Split ``"test"``: every case once a condition, the baselines among
        them. Split ``"validation"``: what each fold's choices were made on, with the ``fold`` that its model
        tests, for thresholds that no test case has touched.

    Raises
    ------
    DataError
        If a case has no fold, a part is empty or a patient is in two.
    """
    cases = in_folds(config, cases)
    tables = []
    for fold in sorted({int(case.row["fold"]) for case in cases}):
        data = config.data.model_copy(update={"test_fold": fold})
        parts = split_cases(cases, data, seed=config.seed)
        done = fit(config, train=parts.train, validation=parts.validation)
        tables += [
            prediction_table(done.bundle, parts.validation, split="validation", fold=fold),
            prediction_table(done.bundle, parts.test, split="test"),
        ]
        tables += baseline_tables(config, parts)
        on_fold(fold, done.best_epoch)
    return pd.concat(tables, ignore_index=True)


def in_folds(config: RunConfig, cases: Sequence[Case]) -> list[Case]:
    """Return the cases, each with the fold that it is tested in; a ``split`` of the manifest is not read.

    Parameters
    ----------
    config : RunConfig
        Its ``data.folds``; None takes the manifest's.
    cases : sequence of Case

    Returns
    -------
    list of Case

    Raises
    ------
    DataError
        If the manifest's folds are wanted and a case has none.
    """
    named = {case.row.get("fold", "") for case in cases}
    n_folds = config.data.folds
    if all(name.isdigit() for name in named) and n_folds in (None, len(named)):
        return [replace(case, row={**case.row, "split": ""}) for case in cases]
    if n_folds is None:
        raise DataError("manifest.csv column fold", "found a case without one", expected="0, 1, 2, ... in each row")
    folds = {c.patient_id: str(fold_of(c.patient_id, n_folds=n_folds, seed=config.seed)) for c in cases}
    return [replace(case, row={**case.row, "split": "", "fold": folds[case.patient_id]}) for case in cases]


def train_folds(
    config: RunConfig,
    *,
    out: Path,
    manifest: Manifest,
    cases: Sequence[Case] | CaseSet,
    callbacks: Sequence[lightning.Callback] = (),
    resume: bool = False,
) -> Run:
    """Train one run a fold, ``out/fold-0`` and so on, and put their out-of-fold predictions together.

    Parameters
    ----------
    config : RunConfig
        ``data.folds`` says how many.
    out : Path
    manifest : Manifest
    cases : sequence of Case, or CaseSet
        See `medfuse.training.train`.
    callbacks : sequence of lightning.Callback
        Of every fold; a limit of the time holds for all of them together.
    resume : bool
        Leave finished folds as they are, and go on with the one that was broken off.

    Returns
    -------
    Run
        Without a model of its own: each fold's folder holds one. Its figures are those of all folds' test cases.

    Raises
    ------
    MedfuseError
        See `medfuse.training.train` and `in_folds`.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "run.json").unlink(missing_ok=True)
    members = in_folds(config, cases_of(cases))
    loaded = replace(cases, cases=tuple(members)) if isinstance(cases, CaseSet) else None
    given = loaded or members
    numbers = sorted({int(case.row["fold"]) for case in members})
    runs: list[Run] = []
    with _tracked(config, out, manifest, resume=resume) as tracked:
        for fold in numbers:
            data = config.data.model_copy(update={"test_fold": fold, "folds": None})
            one = config.model_copy(update={"name": f"{config.name} fold {fold}", "data": data})
            folder = out / f"fold-{fold}"
            runs.append(train(one, out=folder, manifest=manifest, cases=given, callbacks=callbacks, resume=resume))
            if not runs[-1].is_complete:
                break
        is_complete = len(runs) == len(numbers) and runs[-1].is_complete
        best, n_epochs = max(run.best_epoch for run in runs), sum(run.n_epochs for run in runs)
        if tracked is None:
            return Run(out, "", best, n_epochs, {}, is_complete)
        table = pd.concat([_out_of_fold(run.folder, fold) for run, fold in zip(runs, numbers, strict=False)])
        table.to_parquet(out / "predictions.parquet", index=False)
        figures = test_figures(table)
        record = {
            **run_record(config, manifest),
            "folds": [
                {
                    "folder": run.folder.name,
                    "model_id": run.model_id,
                    "best_epoch": run.best_epoch,
                    "test_auroc": run.auroc,
                }
                for run in runs
            ],
            "is_complete": is_complete,
            "test_auroc": figures,
            "mlflow_run_id": tracked.run_id,
        }
        write_config(config, out)
        targets = [target.build() for target in config.targets]
        write_cohort(out, manifest=manifest, parts={"test": members}, targets=targets, loaded=loaded)
        write_record(out, record)
        tracked.log_cases(members, name="every fold", context="cross-validation")
        log_outcome(tracked, step=n_epochs)
    return Run(out, "", best, n_epochs, figures, is_complete)


@contextmanager
def _tracked(config: RunConfig, out: Path, manifest: Manifest, *, resume: bool) -> Iterator[Tracked | None]:
    """Open the run that the folds are children of, in the first process; the others only share the steps."""
    if getattr(rank_zero_only, "rank", 0):
        yield None
        return
    from medfuse.training.tracking import tracked_run

    digests = {"data_digest": manifest.digest, "config_digest": config_digest(config)}
    with tracked_run(config, out, digests=digests, resume=resume) as tracked:
        yield tracked


def _out_of_fold(folder: Path, fold: int) -> pd.DataFrame:
    """Return a fold's predictions; its validation rows name the fold that its model tests."""
    table = pd.read_parquet(folder / "predictions.parquet")
    return table.assign(fold=table["fold"].where(table["split"] == "test", fold))
