import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import DataError
from medfuse.evaluation import evaluate
from medfuse.splits import inner_validation
from medfuse.training import StopInTime, cross_fit, train_folds
from medfuse.training.folds import in_folds

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


def test_folds_of_the_manifest_are_taken_where_there_are_as_many(
    toy_config: RunConfig, toy_cases: Sequence[Case], halves: list[Case]
) -> None:
    def folds(cases: Sequence[Case], n_folds: int | None) -> list[str]:
        data = toy_config.data.model_copy(update={"folds": n_folds})
        return [case.row["fold"] for case in in_folds(toy_config.model_copy(update={"data": data}), cases)]

    assert folds(toy_cases, 4) == folds(toy_cases, None) == [case.row["fold"] for case in toy_cases]
    assert folds(halves, 2) == [case.row["fold"] for case in halves]
    made = folds(toy_cases, 3)
    assert set(made) == {"0", "1", "2"}
    by_patient: dict[str, set[str]] = {}
    for case, fold in zip(toy_cases, made, strict=True):
        by_patient.setdefault(case.patient_id, set()).add(fold)
    assert all(len(found) == 1 for found in by_patient.values())


def check_that_the_folds_are_children_of_one_run(folder: Path) -> None:
    import mlflow

    run_id = json.loads((folder / "run.json").read_text())["mlflow_run_id"]
    uri = json.loads((folder / "tracking.jsonl").read_text().splitlines()[-1])["uri"]
    client = mlflow.MlflowClient(tracking_uri=uri)
    parent = client.get_run(run_id)
    children = client.search_runs(
        [parent.info.experiment_id], filter_string=f"tags.mlflow.parentRunId = '{run_id}'", order_by=["start_time"]
    )
    assert [run.info.run_name for run in children] == [f"{parent.info.run_name} fold {fold}" for fold in (0, 1)]
    figures = json.loads((folder / "run.json").read_text())["test_auroc"]
    assert parent.data.metrics["test_auroc/malignancy/fused"] == figures["malignancy/fused"]
    assert (
        "Each of 2 folds was tested by a model that never saw its patients" in parent.data.tags["mlflow.note.content"]
    )
    assert set(json.loads((folder / "evaluation" / "calibration.json").read_text())) == {"fold-0", "fold-1"}
    journal = [json.loads(line) for line in (folder / "fold-0" / "tracking.jsonl").read_text().splitlines()]
    assert [entry["register_as"] for entry in journal if entry["kind"] == "model"] == [""]


def test_folds_are_runs_of_their_own_that_go_on_where_they_stopped(
    toy_config: RunConfig, toy: Any, halves: list[Case], tmp_path: Path, table: pd.DataFrame
) -> None:
    config = toy_config.model_copy(
        update={
            "optim": toy_config.optim.model_copy(update={"epochs": 2}),
            "data": toy_config.data.model_copy(update={"folds": 2}),
        }
    )
    options: dict[str, Any] = {"out": tmp_path, "manifest": toy.manifest, "cases": halves}
    stopped = train_folds(config, **options, callbacks=[StopInTime(0.001 + 1e9)])
    assert stopped.is_complete
    check_that_the_folds_are_children_of_one_run(tmp_path)
    first = (tmp_path / "fold-0" / "run.json").read_bytes()
    (tmp_path / "fold-1" / "run.json").unlink()
    (tmp_path / "run.json").unlink()
    again = train_folds(config, **options, resume=True)
    assert again.auroc == stopped.auroc
    assert (tmp_path / "fold-0" / "run.json").read_bytes() == first
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["is_complete"] and [fold["folder"] for fold in record["folds"]] == ["fold-0", "fold-1"]
    assert all((tmp_path / fold["folder"] / "model" / "weights.safetensors").exists() for fold in record["folds"])
    # As `cross_fit` gives them, which trains in memory.
    found = pd.read_parquet(tmp_path / "predictions.parquet")
    columns = ["case_id", "split", "fold", "condition", "target", "class"]
    both = found.merge(table, on=columns, validate="one_to_one")
    assert len(both) == len(found) == len(table)
    assert (both["probability_x"] - both["probability_y"]).abs().max() < 1e-6
