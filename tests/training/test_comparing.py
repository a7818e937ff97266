import json
import os
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml
from distributed import LocalCluster

from medfuse.cli import main
from medfuse.config import RunConfig
from medfuse.errors import ConfigError, TrainingError
from medfuse.evaluation import auroc
from medfuse.training import compare, kept_predictions, read_grid


@pytest.fixture
def written(toy_config: RunConfig, tmp_path: Path) -> Path:
    content = toy_config.model_dump(mode="json")
    content["optim"]["epochs"] = 2
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "grid.yaml"


def write(path: Path, **content: Any) -> Path:
    path.write_text(yaml.safe_dump({"config": "config.yaml", **content}, sort_keys=False))
    return path


RUNS = {"image": {"model.modalities": ["image"]}, "both": {}}


def test_a_grid_makes_every_combination(written: Path) -> None:
    axes = {
        "fusion": {"concat": {"model.fusion": {"name": "concatenation"}}, "weighted": {"model.fusion": {"name": "weighted"}}},
        "rate": {"fast": {"optim.learning_rate": 0.1}, "slow": {"optim.learning_rate": 1.0e-3}},
    }  # fmt: skip
    _, configs = read_grid(write(written, reference="both", runs=RUNS, grid=axes))
    assert list(configs) == ["image", "both", "concat+fast", "concat+slow", "weighted+fast", "weighted+slow"]
    assert configs["weighted+slow"].model.fusion == {"name": "weighted"}
    assert configs["weighted+slow"].optim.learning_rate == 0.001
    assert configs["image"].model.modalities == ("image",)


def test_what_all_runs_share_gives_way_to_their_own(written: Path) -> None:
    runs = {"both": {}, "long": {"optim.epochs": 3}}
    _, configs = read_grid(write(written, reference="both", runs=runs, shared={"optim.epochs": 1}))
    assert [config.optim.epochs for config in configs.values()] == [1, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"refrence": "both"}, r"^grid.yaml: refrence: no such key; expected .*'reference'"),
        ({"reference": "bth"}, r"^grid.yaml: reference: found 'bth'; expected .*'both'"),
        ({"runs": {"both": {"optim.epoch": 3}}}, r"^run 'both': config.yaml: optim.epoch: no such key"),
        ({"folds": []}, r"^grid.yaml: folds: found a wrong value"),
        ({"runs": {"../both": {}}}, r"^grid.yaml: runs"),
    ],
)
def test_a_wrong_grid_is_refused_by_its_key(written: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_grid(write(written, **{"reference": "both", "runs": RUNS, **change}))


def test_runs_are_compared_on_the_same_cases_and_trained_once(
    written: Path, toy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, configs = read_grid(
        write(written, reference="both", runs=RUNS, evaluate_on="folds", folds=[0, 1], seeds=[0, 1])
    )
    out = tmp_path / "out"
    found = compare(grid, configs, out=out, manifest=toy.manifest, workers=2)
    assert [one.name for one in found.models] == ["image", "both", "baseline_diameter"]
    assert not found.refused
    trainings = sorted(out.glob("trainings/*/*/run.json"))
    assert len(trainings) == 8
    # By hand, for one model: the mean over seeds of the area on all folds' cases.
    tables = {
        (run, seed): pd.concat(pd.read_parquet(out / "trainings" / run / f"fold-{f}-seed-{seed}" / "predictions.parquet") for f in (0, 1))
        for run in RUNS for seed in (0, 1)
    }  # fmt: skip
    rows = {
        key: t[(t["split"] == "test") & (t["class"] == "positive") & (t["condition"] == ("fused" if key[0] == "both" else "image"))]
        for key, t in tables.items()
    }  # fmt: skip
    shared = set.intersection(*(set(t["case_id"]) for t in rows.values()))
    assert found.n == len(shared)
    areas = [
        auroc(t["label"], t["probability"]).value
        for k, t in rows.items()
        if k[0] == "image"
        for t in [t[t["case_id"].isin(shared)]]
    ]
    assert found.models[0].area.value == pytest.approx(sum(areas) / 2)
    # In MLflow the comparison is a run, and each training its child.
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_name: run for run in runs if run is not parent}
    assert set(children) == {f"{run}, fold {f}, seed {s}" for run in RUNS for f in (0, 1) for s in (0, 1)}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert parent.data.metrics["auroc/image"] == pytest.approx(found.models[0].area.value)
    assert {"seconds", "parameters", "epoch/validation_loss"} <= set(children["both, fold 1, seed 0"].data.metrics)
    # Nothing is trained anew but what changed.
    before = {path: path.stat().st_mtime_ns for path in trainings}
    trainings[0].unlink()
    again = compare(grid, configs, out=out, manifest=toy.manifest)
    assert [path for path in trainings if path.stat().st_mtime_ns != before[path]] == trainings[:1]
    pd.testing.assert_frame_equal(again.table.drop(columns="seconds"), found.table.drop(columns="seconds"))


def test_on_validation_no_test_case_is_predicted_and_a_run_that_fails_is_named(
    written: Path, toy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {**RUNS, "wild": {"optim.learning_rate": 1.0e30}}
    path = write(written, reference="both", runs=runs)
    out = tmp_path / "out"
    code = main(
        ["compare", "--grid", str(path), "--out", str(out), "--manifest", str(toy.manifest.path), "--workers", "2"]
    )
    assert code == 3
    table = pd.read_csv(out / "comparison.csv")
    assert table["run"].tolist() == ["image", "both"]
    for file in out.glob("trainings/*/*/predictions.parquet"):
        assert set(pd.read_parquet(file)["split"]) == {"validation"}
    page = (out / "report.html").read_text()
    assert "No test case was looked at." in page and "wild" in page and "<script" not in page
    record = json.loads(next(out.glob("trainings/both/*/run.json")).read_text())
    assert record["parameters"] > 0 and record["seconds"] >= 0


@pytest.mark.slow
def test_every_seed_answers_the_same_validation_cases(written: Path, toy: Any, tmp_path: Path) -> None:
    grid, configs = read_grid(write(written, reference="both", runs={"both": {}}, seeds=[0, 1, 2]))
    found = compare(grid, configs, out=tmp_path / "out", manifest=toy.manifest)
    kept = [kept_predictions(tmp_path / "out", "both", seed=seed) for seed in grid.seeds]
    cases = [set(table["case_id"]) for table in kept]
    assert cases[0] == cases[1] == cases[2]
    assert found.n == len(cases[0])
    assert not kept[0]["probability"].equals(kept[1]["probability"])


@pytest.mark.slow
def test_workers_of_a_scheduler_train_what_this_machine_would(written: Path, toy: Any, tmp_path: Path) -> None:
    grid, configs = read_grid(write(written, reference="both", runs=RUNS))
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        found = compare(grid, configs, out=tmp_path / "far", manifest=toy.manifest, scheduler=cluster.scheduler_address)
    here = compare(grid, configs, out=tmp_path / "here", manifest=toy.manifest)
    pd.testing.assert_frame_equal(found.table.drop(columns="seconds"), here.table.drop(columns="seconds"))


def test_a_scheduler_that_does_not_answer_is_named(
    written: Path, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, configs = read_grid(write(written, reference="both", runs=RUNS))
    with pytest.raises(TrainingError, match=r"scheduler tcp://127.0.0.1:9: does not answer"):
        compare(grid, configs, out=tmp_path / "out", manifest=toy.manifest, scheduler="tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_process_that_is_ended_from_outside_is_said_and_the_next_call_goes_on(
    written: Path, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, configs = read_grid(write(written, reference="both", runs=RUNS))
    monkeypatch.setattr("medfuse.training.comparison_trainings.run_job", end_this_process)
    with pytest.raises(TrainingError, match="was ended from outside"):
        compare(grid, configs, out=tmp_path / "out", manifest=toy.manifest)


def end_this_process(*_: object) -> float:
    os._exit(9)
