from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import DataError
from medfuse.evaluation import evaluate
from medfuse.splits import inner_validation
from medfuse.training import cross_fit

CONDITIONS = {"image", "text", "fused"}


@pytest.fixture(scope="module")
def halves(toy_cases: Sequence[Case]) -> list[Case]:
    """The cohort in two folds; a split column, which cross-fitting does not read, names one part for all."""
    return [replace(c, row={**c.row, "fold": str(int(c.row["fold"]) // 2), "split": "train"}) for c in toy_cases]


@pytest.fixture(scope="module")
def table(toy_config: RunConfig, halves: list[Case]) -> pd.DataFrame:
    optim = toy_config.optim.model_copy(update={"epochs": 2})
    done: list[int] = []
    table = cross_fit(
        toy_config.model_copy(update={"optim": optim}), halves, on_fold=lambda fold, epoch: done.append(fold)
    )
    assert done == [0, 1]
    return table


def test_every_case_is_tested_exactly_once(table: pd.DataFrame, halves: list[Case]) -> None:
    tested = table[(table["split"] == "test") & (table["class"] == "positive")]
    assert not tested.duplicated(["case_id", "condition"]).any()
    fold = {str(case.id): int(case.row["fold"]) for case in halves}
    assert (tested["fold"] == tested["case_id"].map(fold)).all()
    for condition in (*CONDITIONS, "baseline_diameter"):
        found = set(tested.loc[tested["condition"] == condition, "case_id"])
        lacking = {
            str(case.id)
            for case in halves
            if (case.image is None and condition in ("image", "fused"))
            or (case.text is None and condition in ("text", "fused"))
        }
        assert found == set(fold) - lacking, condition


def test_validation_rows_name_the_fold_that_their_model_tests(
    table: pd.DataFrame, halves: list[Case], toy_config: RunConfig
) -> None:
    validation = table[table["split"] == "validation"]
    assert set(validation["condition"]) == CONDITIONS
    for fold in (0, 1):
        others = [case for case in halves if case.row["fold"] != str(fold)]
        held = inner_validation(
            [c.patient_id for c in others], fraction=toy_config.data.validation_fraction, seed=toy_config.seed
        )
        expected = {str(case.id) for case, out in zip(others, held, strict=True) if out}
        assert set(validation.loc[validation["fold"] == fold, "case_id"]) == expected


def test_no_patient_s_validation_row_meets_its_test_row_in_one_fold(table: pd.DataFrame) -> None:
    for _, rows in table.groupby("fold"):
        by_split = rows.groupby("split")["patient_key"].agg(set)
        assert not by_split["test"] & by_split["validation"]


def test_evaluation_takes_its_thresholds_from_the_validation_rows(table: pd.DataFrame, halves: list[Case]) -> None:
    result = evaluate(table)
    assert set(result.metrics) == CONDITIONS
    assert set(result.baselines) == {"diameter", "prevalence"}
    assert result.n == len([c for c in halves if c.image is not None and c.text is not None])
    assert all("largest Youden index on the validation cases" in result.thresholds[c] for c in CONDITIONS)


def test_a_case_without_a_fold_is_refused(toy_config: RunConfig, toy_cases: Sequence[Case]) -> None:
    for row in ({}, {"fold": ""}, {"fold": "first"}):
        with pytest.raises(DataError, match="column fold"):
            cross_fit(toy_config, [*toy_cases, replace(toy_cases[0], row=row)])
