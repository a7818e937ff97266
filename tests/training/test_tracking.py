"""Tracking against real sqlite stores: present, locked, gone, and back again."""

import json
import logging
import pickle
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import ConfigError, TrainingError, UsageError
from medfuse.training import sender as sender_module
from medfuse.training.journal import Journal
from medfuse.training.store import RUN_KEY, import_mlflow
from medfuse.training.tracking import LogEpochs, Recorder, Tracked, sync, tracked_run

import_mlflow()


@pytest.fixture(scope="module")
def client(toy_run: Any) -> mlflow.MlflowClient:
    """Of the toy run's store."""
    uri = f"sqlite:///{toy_run.folder.parent / 'mlflow.db'}"
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture(scope="module")
def tracked(toy_run: Any, client: mlflow.MlflowClient) -> Any:
    record = json.loads((toy_run.folder / "run.json").read_text())
    return client.get_run(record["mlflow_run_id"])


def test_every_setting_is_a_parameter(tracked: Any) -> None:
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["optim.epochs"] == "3"
    assert tracked.data.params["optim.weight_decay"] == "0.01"
    assert tracked.data.params["model.image_encoder.name"] == "small_cnn"


def test_each_epoch_and_the_outcome_are_metrics(tracked: Any, toy_run: Any, client: mlflow.MlflowClient) -> None:
    history = client.get_metric_history(tracked.info.run_id, "epoch/validation_loss")
    expected = pd.read_csv(toy_run.folder / "history.csv")["validation_loss"]
    assert [metric.step for metric in history] == [0, 1, 2]
    assert [metric.value for metric in history] == pytest.approx(expected.tolist())
    for name, value in toy_run.run.auroc.items():
        assert tracked.data.metrics[f"test_auroc/{name}"] == pytest.approx(value)
    assert "system/process_memory_usage_megabytes" in tracked.data.metrics


def test_the_data_are_named_by_their_digests(tracked: Any, toy: Any) -> None:
    given = {one.tags[0].value: one.dataset for one in tracked.inputs.dataset_inputs}
    assert set(given) == {"training", "validation", "testing"}
    assert len({one.digest for one in given.values()}) == 3
    sizes = json.loads(given["testing"].profile)
    assert sizes["num_rows"] == sizes["malignancy negative"] + sizes["malignancy positive"]
    assert tracked.data.tags["data_digest"] == toy.manifest.digest
    assert len(tracked.data.tags["config_digest"]) == 64


def test_a_part_s_digest_follows_its_cases_and_labels_and_nothing_else(
    toy_config: RunConfig, toy_cases: Sequence[Case], tmp_path: Path
) -> None:
    from dataclasses import replace

    def digest(cases: Sequence[Case]) -> str:
        recorder = Tracked.__new__(Tracked)
        recorder.config, recorder.journal = toy_config, Journal(tmp_path)
        recorder.log_cases(cases, name="train", context="training")
        return str(recorder.journal.read()[-1].content["digest"])

    first = replace(toy_cases[0], targets={"malignancy": 1 - toy_cases[0].targets["malignancy"]})
    assert digest(toy_cases) == digest(toy_cases[::-1])
    assert digest(toy_cases) != digest(toy_cases[1:])
    assert digest(toy_cases) != digest([first, *toy_cases[1:]])


def test_the_files_that_a_reader_needs_are_artifacts(tracked: Any, client: mlflow.MlflowClient) -> None:
    found = {item.path for item in client.list_artifacts(tracked.info.run_id)}
    assert found == {"config.resolved.yaml", "evaluation", "history.csv", "run.json"}
    inner = {item.path for item in client.list_artifacts(tracked.info.run_id, "evaluation")}
    assert inner == {f"evaluation/{n}" for n in ("report.html", "metrics.json", "predictions.csv", "calibration.json")}


def test_the_description_says_what_on_how_many_with_which_result(tracked: Any, toy_run: Any) -> None:
    text = tracked.data.tags["mlflow.note.content"]
    metrics = json.loads((toy_run.folder / "evaluation" / "metrics.json").read_text())
    area = metrics["fused"]["auroc"]
    assert text.startswith("**toy** predicts malignancy from the image and the report.")
    assert f"fused {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f})" in text
    assert f"On {metrics['n']} test cases of {metrics['n_patients']} patients" in text
    assert "Research use only" in text


def test_no_real_id_no_report_text_and_no_pickle_is_in_the_store(toy_run: Any, toy: Any, tracked: Any) -> None:
    place = toy_run.folder.parent
    files = [place / "mlflow.db", *(path for path in (place / "mlartifacts").rglob("*") if path.is_file())]
    files.append(toy_run.folder / "tracking.jsonl")
    assert {"weights.safetensors", "pyfunc_model.py", "MLmodel", "report.html"} <= {path.name for path in files}
    assert not [path.name for path in files if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".ckpt")]
    for path in files:
        data = path.read_bytes()
        for secret in toy.secrets:
            assert secret.encode() not in data and secret not in path.name, path.name


# Stores that are slow, gone, and back.


@pytest.fixture
def template(toy_run: Any, tmp_path: Path) -> Path:
    """A store that is migrated already: making one takes seconds."""
    path = tmp_path / "store" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(toy_run.folder.parent / "mlflow.db", path)
    return path


@pytest.fixture
def make(toy_config: RunConfig, template: Path) -> Callable[..., RunConfig]:
    def make(**options: Any) -> RunConfig:
        given = {"uri": f"sqlite:///{template}", "experiment": "new", "patience_s": 5.0, "system_metrics_s": 0.0}
        tracking = toy_config.tracking.model_copy(update={**given, **options})
        return toy_config.model_copy(update={"tracking": tracking, "name": "small"})

    return make


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "POLL_S", 0.02)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def folder_of(tmp_path: Path, name: str = "run") -> Path:
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    return tmp_path / name


def runs_in(path: Path) -> tuple[mlflow.MlflowClient, list[Any]]:
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}")
    experiment = client.get_experiment_by_name("new")
    return client, [] if experiment is None else client.search_runs([experiment.experiment_id])


def train_a_little(config: RunConfig, folder: Path, *, steps: Sequence[int] = (0, 1, 2), resume: bool = False) -> None:
    with tracked_run(config, folder, digests={"data_digest": "d"}, resume=resume) as tracked:
        for step in steps:
            tracked.log_metrics({"loss": 1.0 / (step + 1), "other loss": 2.0}, step=step)
        (folder / "history.csv").write_text("epoch\n")
        tracked.log_artifact("history.csv")


def check_all_is_there_once(path: Path, steps: Sequence[int] = (0, 1, 2)) -> Any:
    client, [run] = runs_in(path)
    for name in ("loss", "other loss"):
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, name)] == list(steps)
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["history.csv"]
    assert run.data.params["optim.weight_decay"] == "0.01"
    assert run.info.status == "FINISHED"
    assert run.data.tags["data_digest"] == "d"
    return run


def wait_for_lock(folder: Path) -> None:
    """Wait until the call that was given up has come back."""
    deadline = time.monotonic() + 60
    while (held := Journal(folder).lock()) is None:
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    held.close()


def test_a_locked_store_does_not_hold_a_training_up(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(tmp_path)
    lock = sqlite3.connect(template)
    lock.execute("BEGIN EXCLUSIVE")
    with caplog.at_level(logging.WARNING, logger="medfuse"):
        train_a_little(make(patience_s=0.5), folder)
    lock.rollback()
    lock.close()
    messages = [record.getMessage() for record in caplog.records]
    assert "what it lacks is kept" in messages[0] and "medfuse sync" in messages[-1]
    assert len(messages) == 2, "said once"
    wait_for_lock(folder)
    assert sync(folder) == 0
    run = check_all_is_there_once(template)
    assert run.info.start_time == Journal(folder).read()[0].content["time"], "as it was, not as it was sent"


def test_a_store_that_is_gone_gets_everything_later_or_another_one_does(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(tmp_path)
    with caplog.at_level(logging.WARNING, logger="medfuse"):
        train_a_little(make(uri="http://127.0.0.1:9", patience_s=0.5), folder)
    assert sum("what it lacks is kept" in record.getMessage() for record in caplog.records) == 1
    wait_for_lock(folder)
    assert sync(folder, uri=f"sqlite:///{template}") == 0
    check_all_is_there_once(template)
    assert sync(folder, uri=f"sqlite:///{template}") == 0
    check_all_is_there_once(template)
    assert sync(folder, patience_s=0.5) > 0, "its own store is still away"


def test_what_was_sent_but_not_marked_is_not_logged_twice(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path)
    train_a_little(make(), folder)
    path = Journal(folder).path
    lines = path.read_text().splitlines(keepends=True)
    # As if it had been killed after each line: the marks from there on are missing.
    for number in range(len(lines)):
        kept = [line for i, line in enumerate(lines) if i < number or '"kind":"sent"' not in line]
        path.write_text("".join(kept))
        assert sync(folder) == 0
        check_all_is_there_once(template)


def test_a_run_that_goes_on_is_the_same_run_and_repeats_no_step(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path)
    with pytest.raises(KeyboardInterrupt), tracked_run(make(), folder, digests={"data_digest": "d"}) as tracked:
        tracked.log_metrics({"loss": 1.0, "other loss": 2.0}, step=0)
        raise KeyboardInterrupt
    _, [run] = runs_in(template)
    assert run.info.status == "KILLED"
    train_a_little(make(), folder, resume=True)
    check_all_is_there_once(template)


def test_a_run_that_starts_anew_is_another_run(make: Callable[..., RunConfig], template: Path, tmp_path: Path) -> None:
    for _ in range(2):
        train_a_little(make(), folder_of(tmp_path))
    _, runs = runs_in(template)
    assert len({run.data.tags[RUN_KEY] for run in runs}) == 2


def test_a_failed_training_is_a_failed_run(make: Callable[..., RunConfig], template: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError), tracked_run(make(), folder_of(tmp_path), digests={}):
        raise TrainingError("epoch 0", "the loss is not finite")
    _, [run] = runs_in(template)
    assert run.info.status == "FAILED"


def test_a_run_inside_another_is_its_child_and_shares_its_store(
    toy_config: RunConfig, template: Path, tmp_path: Path
) -> None:
    tracking = toy_config.tracking.model_copy(update={"experiment": "new", "system_metrics_s": 0.0})
    config = toy_config.model_copy(update={"tracking": tracking})
    whole = folder_of(template.parent, "whole")  # beside the template, which is the default store then
    with tracked_run(config, whole, digests={}) as parent:
        for fold in range(2):
            with tracked_run(config, folder_of(whole, f"fold-{fold}"), digests={}, name=f"fold {fold}") as child:
                child.log_metrics({"loss": float(fold)}, step=0)
                assert child.uri == parent.uri == f"sqlite:///{template}"
        assert parent.run_id
    _, runs = runs_in(template)
    by_name = {run.info.run_name: run for run in runs}
    assert set(by_name) == {"toy", "fold 0", "fold 1"}
    for fold in range(2):
        child_run = by_name[f"fold {fold}"]
        assert child_run.data.tags["mlflow.parentRunId"] == by_name["toy"].info.run_id
        assert child_run.data.metrics == {"loss": float(fold)}
    assert "mlflow.parentRunId" not in by_name["toy"].data.tags
    assert not list(whole.rglob("mlflow.db"))


def test_folds_of_a_lost_store_come_with_their_parent(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path
) -> None:
    config, whole = make(uri="http://127.0.0.1:9", patience_s=0.2), folder_of(tmp_path, "whole")
    with tracked_run(config, whole, digests={}), tracked_run(config, folder_of(whole, "a"), digests={}, name="a"):
        pass
    assert sync(whole, uri=f"sqlite:///{template}") == 0
    _, runs = runs_in(template)
    assert sorted(run.info.run_name for run in runs) == ["a", "small"]
    assert sum("mlflow.parentRunId" in run.data.tags for run in runs) == 1


def test_only_the_folder_of_a_run_can_be_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"found no tracking.jsonl"):
        sync(tmp_path)


def test_a_file_that_is_gone_holds_nothing_else_back(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, logger="medfuse"),
        tracked_run(make(), folder_of(tmp_path), digests={}) as tracked,
    ):
        tracked.log_artifact("absent.csv")
        tracked.log_metrics({"loss": 1.0}, step=0)
    assert ["is gone" in record.getMessage() for record in caplog.records] == [True]
    _, [run] = runs_in(template)
    assert run.data.metrics == {"loss": 1.0}


def test_values_that_are_too_long_are_cut_and_say_so(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path
) -> None:
    with tracked_run(make(), folder_of(tmp_path), digests={}) as tracked:
        tracked.log_values(params={f"long{i}": "x" * 7000 for i in range(130)}, tags={"whole": "y" * 6000})
    _, [run] = runs_in(template)
    assert len(run.data.params) > 130
    assert len(run.data.params["long0"]) == 6000
    assert run.data.params["long0"].endswith("xxx ... (cut; the whole is in config.resolved.yaml)")


def test_names_that_mlflow_does_not_take_are_changed_and_figures_kept(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path
) -> None:
    with tracked_run(make(), folder_of(tmp_path), digests={}) as tracked:
        tracked.log_metrics({"grade 3+ (late)": 1.0, "loss": float("nan"), "gap": float("inf")}, step=0)
    _, [run] = runs_in(template)
    assert run.data.metrics["grade 3_ _late_"] == 1.0
    assert {"loss", "gap"} <= set(run.data.metrics)


def test_another_process_writes_into_the_journal_that_this_one_sends(
    make: Callable[..., RunConfig], template: Path, tmp_path: Path
) -> None:
    with tracked_run(make(), folder_of(tmp_path), digests={}) as tracked:
        copy = pickle.loads(pickle.dumps(LogEpochs(tracked)))
        copy.tracked.log_metrics({"loss": 0.5}, step=0)
    _, [run] = runs_in(template)
    assert run.data.metrics == {"loss": 0.5}


def test_the_process_s_own_mlflow_settings_are_left_alone(make: Callable[..., RunConfig], tmp_path: Path) -> None:
    before = mlflow.get_tracking_uri()
    with tracked_run(make(), folder_of(tmp_path), digests={}):
        assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before


def test_a_step_is_recorded_once(tmp_path: Path) -> None:
    recorder = Recorder(Journal(tmp_path))
    recorder.log_metrics({"loss": 1.0}, step=0)
    recorder.log_metrics({"loss": 2.0, "other": 3.0}, step=0)
    again = Recorder(Journal(tmp_path))
    again.log_metrics({"loss": 4.0, "other": 5.0}, step=0)
    assert [entry.content["values"] for entry in Journal(tmp_path).read()] == [{"loss": 1.0}, {"other": 3.0}]
    assert again.next_step("loss") == 1 and again.next_step("new") == 0


@pytest.mark.parametrize("uri", ["https://me:secret@host/x", "postgresql://me@host/db"])
def test_a_password_in_the_uri_is_refused_and_not_repeated(toy_config: RunConfig, uri: str) -> None:
    from medfuse.config import load_config

    with pytest.raises(ConfigError, match=r"no user or password in tracking\.uri") as raised:
        load_config(toy_config.model_dump(mode="json"), overrides=[f"tracking.uri={uri}"])
    assert "me:secret" not in str(raised.value)
