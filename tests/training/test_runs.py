import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from medfuse.config import RunConfig, load_config
from medfuse.data import Case, to_samples
from medfuse.errors import ConfigError, DataError, TrainingError
from medfuse.evaluation import evaluate, read_predictions
from medfuse.inference import Predictor
from medfuse.io import load_pseudonymizer, read_study
from medfuse.training import find_run, fit, read_cases, runs, train

COLUMNS = ["case_id", "patient_key", "split", "fold", "condition", "target", "class", "probability", "label"]


@pytest.fixture(scope="module")
def record(toy_run: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((toy_run.folder / "run.json").read_text())
    return content


@pytest.fixture
def config(toy_config: RunConfig) -> RunConfig:
    """What `toy_run` was trained with."""
    return toy_config.model_copy(update={"optim": toy_config.optim.model_copy(update={"epochs": 3})})


def test_the_folder_holds_every_file_of_the_contract(toy_run: Any) -> None:
    found = {str(path.relative_to(toy_run.folder)) for path in toy_run.folder.rglob("*") if path.is_file()}
    assert found == {
        "config.resolved.yaml",
        "run.json",
        "cohort.json",
        "cohort.parquet",
        "history.csv",
        "predictions.parquet",
        "checkpoints/best/weights.safetensors",
        "checkpoints/last/state.safetensors",
        "checkpoints/origin.json",
        "model/weights.safetensors",
        "model/evidence.json",
        "model/evidence.safetensors",
        "model/model.json",
        "model/tokenizer.json",
        "model/sha256",
        "evaluation/report.html",
        "evaluation/metrics.json",
        "evaluation/predictions.csv",
        "evaluation/calibration.json",
        "test_looks.json",
        "tracking.jsonl",
    }


def test_the_resolved_config_is_complete_and_reads_back(toy_run: Any, config: RunConfig) -> None:
    content = yaml.safe_load((toy_run.folder / "config.resolved.yaml").read_text())
    assert load_config(content) == config
    assert content["optim"]["weight_decay"] == 0.01  # a default, written out


def test_run_json_says_what_another_person_needs(
    toy_run: Any, record: dict[str, Any], toy: Any, config: RunConfig, toy_cases: Sequence[Case]
) -> None:
    assert record["seed"] == config.seed
    assert record["data_digest"] == toy.manifest.digest
    assert record["config_digest"] == runs.config_digest(config)
    assert {"medfuse", "torch", "numpy"} <= set(record["versions"])
    assert {"command", "git_commit", "machine", "python", "mlflow_run_id"} <= set(record)
    assert sum(record["cases"].values()) == len(toy_cases)
    assert record["model_id"] == toy_run.run.model_id == Predictor.load(toy_run.folder / "model").bundle.model_id


def test_history_has_a_row_an_epoch(toy_run: Any, record: dict[str, Any]) -> None:
    history = pd.read_csv(toy_run.folder / "history.csv")
    assert history["epoch"].tolist() == [0, 1, 2]
    assert {"train_total", "validation_loss"} <= set(history.columns)
    assert history["validation_loss"].idxmin() == record["best_epoch"] == toy_run.run.best_epoch


def test_predictions_have_the_contract_s_columns_and_are_the_saved_model_s(
    toy_run: Any, toy: Any, toy_cases: Sequence[Case]
) -> None:
    table = pd.read_parquet(toy_run.folder / "predictions.parquet")
    assert list(table.columns) == COLUMNS
    assert set(table["condition"]) == {"image", "text", "fused", "baseline_diameter"}
    tested = {str(case.id) for case in toy_cases if case.row["fold"] == "0"}
    assert set(table.loc[table["split"] == "test", "case_id"]) == tested
    assert not set(table.loc[table["split"] == "validation", "case_id"]) & tested
    rows = table[table["condition"] == "fused"].set_index(["case_id", "class"])["probability"]
    predictor = Predictor.load(toy_run.folder / "model")
    by_key = {case.id.study_key: case for case in toy_cases}
    for prediction in predictor.predict_samples(to_samples(list(by_key.values()), predictor.preprocessing)):
        if str(prediction.case) in tested:
            assert rows[str(prediction.case), "positive"] == pytest.approx(
                prediction.probabilities["fused"][1], abs=1e-6
            )


def test_the_figures_are_those_of_the_evaluation(toy_run: Any, record: dict[str, Any]) -> None:
    result = evaluate(read_predictions(toy_run.folder / "predictions.parquet"))
    assert record["test_auroc"] == toy_run.run.auroc
    for condition in ("image", "text", "fused"):
        assert toy_run.run.auroc[f"malignancy/{condition}"] == pytest.approx(result.metrics[condition]["auroc"].value)
    assert "malignancy/baseline_diameter" in toy_run.run.auroc


def test_no_real_id_and_no_report_text_is_in_the_run(toy_run: Any, toy: Any) -> None:
    for path in toy_run.folder.rglob("*"):
        held = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else ""
        data = path.read_bytes() if path.is_file() else b""
        for secret in toy.secrets:
            assert secret.encode() not in data and secret not in held and secret not in path.name, path.name


def test_a_finished_run_is_found_again_and_no_other(toy_run: Any, toy: Any, config: RunConfig, tmp_path: Path) -> None:
    assert find_run(config, out=toy_run.folder, manifest=toy.manifest) == toy_run.run
    assert find_run(config.model_copy(update={"seed": 1}), out=toy_run.folder, manifest=toy.manifest) is None
    assert find_run(config, out=toy_run.folder, manifest=replace(toy.manifest, digest="0" * 64)) is None
    assert find_run(config, out=tmp_path, manifest=toy.manifest) is None


@pytest.mark.parametrize("content", ["[]", "{", "{}", "3"])
def test_a_torn_run_json_is_no_finished_run(toy: Any, config: RunConfig, tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert find_run(config, out=tmp_path, manifest=toy.manifest) is None


def test_a_failed_training_leaves_no_run_json_of_an_earlier_one(
    toy: Any,
    toy_run: Any,
    config: RunConfig,
    toy_cases: Sequence[Case],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    def fails(*args: Any, **options: Any) -> Any:
        raise TrainingError("epoch 0 batch 0", "the loss is not finite")

    out = tmp_path / "run"
    out.mkdir()
    (out / "run.json").write_text("{}")
    monkeypatch.setattr(runs, "fit", fails)
    # A store that is there already: making one takes seconds.
    uri = f"sqlite:///{toy_run.folder.parent / 'mlflow.db'}"
    tracking = config.tracking.model_copy(update={"uri": uri, "experiment": "failing"})
    with pytest.raises(TrainingError):
        train(config.model_copy(update={"tracking": tracking}), out=out, manifest=toy.manifest, cases=toy_cases)
    client = mlflow.MlflowClient(tracking_uri=uri)
    [failed] = client.search_runs([client.get_experiment_by_name("failing").experiment_id])
    assert failed.info.status == "FAILED"
    found = {path.name for path in out.iterdir()}
    assert found == {"checkpoints", "cohort.json", "cohort.parquet", "config.resolved.yaml", "tracking.jsonl"}


def test_a_test_part_that_lacks_a_class_is_refused_before_anything_is_written(
    toy: Any, config: RunConfig, toy_cases: Sequence[Case], tmp_path: Path
) -> None:
    cases = [c for c in toy_cases if c.row["fold"] != "0" or c.targets["malignancy"] == 1]
    with pytest.raises(DataError, match="test part: found 1 classes"):
        train(config, out=tmp_path / "run", manifest=toy.manifest, cases=cases)
    assert not (tmp_path / "run").exists()


def test_cases_are_read_with_the_user_s_key(toy: Any, config: RunConfig) -> None:
    manifest, loaded = read_cases(config)
    assert manifest.digest == toy.manifest.digest
    keys = {read_study(entry, pseudonymizer=load_pseudonymizer()).study_key for entry in toy.entries[:3]}
    assert keys <= {case.id.study_key for case in loaded.cases}


def test_the_split_does_not_depend_on_the_key(config: RunConfig, toy_cases: Sequence[Case]) -> None:
    from medfuse.training.parts import split_cases

    _, loaded = read_cases(config)
    other, own = (split_cases(cases, config.data, seed=0) for cases in (loaded.cases, toy_cases))
    assert [c.patient_id for c in other.validation] == [c.patient_id for c in own.validation]
    assert other.validation[0].id != own.validation[0].id


def test_a_run_is_the_fit_of_its_parts(toy_run: Any, config: RunConfig, toy_cases: Sequence[Case]) -> None:
    from safetensors.torch import load_file

    from medfuse.training.parts import split_cases

    parts = split_cases(toy_cases, config.data, seed=config.seed)
    again = fit(config, train=parts.train, validation=parts.validation).bundle.model.state_dict()
    saved = load_file(toy_run.folder / "model" / "weights.safetensors")
    assert all(tensor.equal(saved[name]) for name, tensor in again.items())


@pytest.mark.parametrize("name", ["smal_cnn", "os.system"])
def test_a_component_that_is_none_is_refused_before_the_manifest_is_read(toy_config: RunConfig, name: str) -> None:
    model = toy_config.model.model_copy(update={"image_encoder": {"name": name}})
    with pytest.raises(ConfigError, match=rf"model\.image_encoder\.name: found '{name}'"):
        read_cases(toy_config.model_copy(update={"model": model}), manifest=Path("absent.csv"))


def test_a_run_without_a_test_part_says_that_nothing_says_how_good_it_is(
    toy: Any, config: RunConfig, toy_cases: Sequence[Case], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = runs.split_cases(toy_cases, config.data, seed=config.seed)
    named = [("train", parts.train), ("validation", parts.validation)]
    cases = [replace(case, row={**case.row, "split": name}) for name, members in named for case in members]
    quick = config.model_copy(update={"optim": config.optim.model_copy(update={"epochs": 1})})
    out = tmp_path / "run"
    run = train(quick, out=out, manifest=toy.manifest, cases=cases)
    assert "no case has the split test" in caplog.text and "not evaluated" not in caplog.text
    assert run.auroc == {} and run.model_id
    assert set(read_predictions(out / "predictions.parquet")["split"]) == {"validation"}
    assert {path.name for path in (out / "evaluation").iterdir()} == {"predictions.csv", "calibration.json"}
    assert not (out / "test_looks.json").exists()
    assert "No case was held out" in (out / "tracking.jsonl").read_text()
