"""Every fold tested once, by a model that never saw its patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import DataError
from medfuse.training.fitting import fit
from medfuse.training.parts import split_cases
from medfuse.training.predictions import baseline_tables, prediction_table

__all__ = ["cross_fit"]


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
        With a ``fold`` in their row; a ``split`` there is not read.
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
    if not all(case.row.get("fold", "").isdigit() for case in cases):
        raise DataError("manifest.csv column fold", "found a case without one", expected="0, 1, 2, ... in each row")
    cases = [replace(case, row={**case.row, "split": ""}) for case in cases]
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
