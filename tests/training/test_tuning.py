import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

from medfuse.config import RunConfig, load_config
from medfuse.data import Case
from medfuse.errors import ConfigError, TrainingError, UsageError
from medfuse.training import fit, tuning
from medfuse.training.parts import Parts, split_cases
from medfuse.training.search import Choice, Range, Space
from medfuse.training.tuning import Search, TuneOptions, tune

SPACE: Space = {
    "optim.learning_rate": Range(low=0.001, high=0.1, log=True),
    "model.head.name": Choice(choice=("linear", "mlp")),
}
KILLED_IN = 3


@pytest.fixture(scope="module")
def parts(toy_cases: Sequence[Case], toy_config: RunConfig) -> Parts:
    return split_cases(toy_cases, toy_config.data, seed=toy_config.seed)


@pytest.fixture(scope="module")
def config(toy_config: RunConfig, toy_run: Any) -> RunConfig:
    """Two epochs a trial; a store that is there already, since making one takes seconds."""
    tracking = toy_config.tracking.model_copy(
        update={"uri": f"sqlite:///{toy_run.folder.parent / 'mlflow.db'}", "experiment": "search", "patience_s": 30.0}
    )
    optim = toy_config.optim.model_copy(update={"epochs": 2})
    # The head's other options belong to one of its kinds alone.
    model = toy_config.model.model_copy(update={"head": {"name": "mlp"}})
    return toy_config.model_copy(update={"tracking": tracking, "optim": optim, "model": model})


@pytest.fixture(scope="module")
def search(config: RunConfig, parts: Parts) -> Callable[..., Search]:
    def search(out: Path, *, n_trials: int = 7, space: Space = SPACE, **options: Any) -> Search:
        given = TuneOptions(n_trials=n_trials, data_digest="d", **options)
        return tune(config, space, train=parts.train, validation=parts.validation, out=out, options=given)

    return search


@pytest.fixture(scope="module")
def done(search: Callable[..., Search], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Search]:
    """A whole search."""
    out = tmp_path_factory.mktemp("search") / "out"
    return out, search(out)


def table(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "trials.csv")


def test_the_best_config_is_the_trial_of_lowest_validation_loss(
    done: tuple[Path, Search], config: RunConfig, parts: Parts
) -> None:
    out, best = done
    trials = table(out)
    assert list(trials.columns) == ["trial", "state", "validation_loss", "epochs", *SPACE, "reason"]
    assert trials["trial"].tolist() == list(range(7))
    assert set(trials["state"]) <= {"complete", "pruned"}
    assert best.validation_loss == trials["validation_loss"].min()
    assert best.trial == trials["validation_loss"].idxmin()
    assert best.n_pruned == (trials["state"] == "pruned").sum()
    read = load_config(out / "best.yaml")
    assert read == best.config
    assert read.optim.learning_rate == pytest.approx(trials.loc[best.trial, "optim.learning_rate"])
    assert read.model_copy(update={"optim": config.optim, "model": config.model}) == config
    again = fit(read, train=parts.train, validation=parts.validation)
    assert min(row["validation_loss"] for row in again.history) == best.validation_loss


def test_the_config_is_written_whole(done: tuple[Path, Search]) -> None:
    out, best = done
    assert yaml.safe_load((out / "best.yaml").read_text()) == best.config.model_dump(mode="json")


def test_each_trial_is_a_child_run(done: tuple[Path, Search], config: RunConfig) -> None:
    out, best = done
    client = mlflow.MlflowClient(tracking_uri=config.tracking.uri)
    runs = client.search_runs([client.get_experiment_by_name("search").experiment_id])
    [parent] = [run for run in runs if run.info.run_name == "toy search"]
    children = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert set(children) == {f"trial {number}" for number in range(7)}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    trials = table(out)
    for row in trials.to_dict("records"):
        child = children[f"trial {row['trial']}"]
        assert child.data.tags["trial_state"] == row["state"]
        assert float(child.data.params["optim.learning_rate"]) == pytest.approx(row["optim.learning_rate"])
        losses = client.get_metric_history(child.info.run_id, "epoch/validation_loss")
        assert len(losses) == row["epochs"]
    assert parent.data.metrics["best_validation_loss"] == pytest.approx(best.validation_loss)
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} == {"best.yaml", "trials.csv"}
    contexts = {one.tags[0].value for one in parent.inputs.dataset_inputs}
    assert contexts == {"training", "validation"}
    assert "the test part was never looked at" in parent.data.tags["mlflow.note.content"]


def test_a_search_that_was_killed_goes_on_to_what_an_unbroken_one_finds(
    done: tuple[Path, Search], search: Callable[..., Search], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: Any, **options: Any) -> Any:
        calls.append(0)
        if len(calls) == KILLED_IN + 1:
            raise KeyboardInterrupt
        return fit(*args, **options)

    calls: list[int] = []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tuning, "fit", killed)
        search(tmp_path / "out")
    assert len(table(tmp_path / "out")) == KILLED_IN
    best = search(tmp_path / "out", resume=True)
    pd.testing.assert_frame_equal(table(tmp_path / "out"), table(done[0]))
    assert best == done[1]
    assert search(tmp_path / "out", resume=True) == best, "a finished search is left as it is"


def test_nothing_depends_on_the_test_part(
    done: tuple[Path, Search], config: RunConfig, toy_cases: Sequence[Case], parts: Parts, tmp_path: Path
) -> None:
    # Its labels turned round and its reports exchanged: not a digit of the search may change.
    tested = {case.id for case in parts.test}
    spoilt = [
        replace(c, targets={"malignancy": 1 - c.targets["malignancy"]}, text=None) if c.id in tested else c
        for c in toy_cases
    ]
    others = split_cases(spoilt, config.data, seed=config.seed)
    assert others.test != parts.test
    options = TuneOptions(n_trials=2, data_digest="d")
    tune(config, SPACE, train=others.train, validation=others.validation, out=tmp_path / "out", options=options)
    pd.testing.assert_frame_equal(table(tmp_path / "out"), table(done[0]).iloc[:2], check_dtype=False)
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not any(str(case.id).encode() in written for case in parts.test)


def test_a_trial_that_falls_behind_is_given_up(
    search: Callable[..., Search], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "STARTUP_TRIALS", 1)
    best = search(tmp_path / "out", n_trials=6, space={"optim.learning_rate": Range(low=1e-7, high=0.1, log=True)})
    trials = table(tmp_path / "out")
    pruned = trials[trials["state"] == "pruned"]
    assert best.n_pruned == len(pruned) >= 1
    assert pruned["validation_loss"].isna().all()


def test_a_trial_whose_loss_is_lost_does_not_end_the_search(
    search: Callable[..., Search], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges_once(*args: Any, **options: Any) -> Any:
        calls.append(0)
        if len(calls) == 1:
            raise TrainingError("epoch 0 batch 0", "the loss is not finite")
        return fit(*args, **options)

    calls: list[int] = []
    monkeypatch.setattr(tuning, "fit", diverges_once)
    best = search(tmp_path / "out", n_trials=2)
    assert table(tmp_path / "out")["state"].tolist() == ["failed", "complete"]
    assert "not finite" in table(tmp_path / "out").loc[0, "reason"]
    assert best.trial == 1


def test_when_the_time_is_up_no_trial_is_half_counted(search: Callable[..., Search], tmp_path: Path) -> None:
    best = search(tmp_path / "out", max_seconds=0.001)
    assert best.n_trials == 0 and best.trial == -1
    assert not (tmp_path / "out" / "best.yaml").exists()
    assert search(tmp_path / "out", n_trials=1, resume=True).n_trials == 1


def test_a_folder_with_a_search_is_not_searched_over(done: tuple[Path, Search], search: Callable[..., Search]) -> None:
    with pytest.raises(UsageError, match="found a search; expected --resume"):
        search(done[0])


def test_another_search_is_not_gone_on_with(
    done: tuple[Path, Search], search: Callable[..., Search], config: RunConfig, parts: Parts
) -> None:
    with pytest.raises(UsageError, match="found another config or search space"):
        search(done[0], resume=True, space={"optim.learning_rate": Range(low=0.01, high=0.1)})
    options = TuneOptions(resume=True, data_digest="other")
    with pytest.raises(UsageError, match="found other data"):
        tune(config, SPACE, train=parts.train, validation=parts.validation, out=done[0], options=options)


def test_a_mistyped_key_is_refused_before_anything_is_written(search: Callable[..., Search], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        search(tmp_path / "out", space={"optim.lerning_rate": Range(low=0.01, high=0.1)})
    assert not (tmp_path / "out").exists()


def test_no_real_id_and_no_report_text_is_in_a_search(done: tuple[Path, Search], toy: Any) -> None:
    for path in done[0].rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in toy.secrets if secret.encode() in data or secret in path.name], path.name
    assert json.loads((done[0] / "tracking.jsonl").read_text().splitlines()[0])["kind"] == "start"
