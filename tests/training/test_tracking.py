import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from medfuse.inference import Predictor
from medfuse.io import find_studies, load_pseudonymizer, read_study
from medfuse.training import Fit, tracking


@pytest.fixture(scope="module")
def store(toy_run: Any) -> Iterator[str]:
    """Tracking store of the toy run."""
    before = mlflow.get_tracking_uri()
    uri = f"sqlite:///{toy_run.folder.parent / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def tracked(toy_run: Any, store: str) -> Any:
    record = json.loads((toy_run.folder / "run.json").read_text())
    return mlflow.get_run(record["mlflow_run_id"])


def test_every_setting_is_a_parameter(tracked: Any) -> None:
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["optim.epochs"] == "3"
    assert tracked.data.params["optim.weight_decay"] == "0.01"
    assert tracked.data.params["model.image_encoder.name"] == "small_cnn"


def test_each_epoch_and_the_outcome_are_metrics(tracked: Any, toy_run: Any, store: str) -> None:
    history = mlflow.MlflowClient().get_metric_history(tracked.info.run_id, "validation_loss")
    expected = pd.read_csv(toy_run.folder / "history.csv")["validation_loss"]
    assert [metric.step for metric in history] == [0, 1, 2]
    assert [metric.value for metric in history] == pytest.approx(expected.tolist())
    for name, value in toy_run.run.auroc.items():
        assert tracked.data.metrics[f"test_auroc/{name}"] == pytest.approx(value)


def test_the_data_are_named_by_their_digest(tracked: Any, toy: Any) -> None:
    [given] = tracked.inputs.dataset_inputs
    assert given.dataset.digest == toy.manifest.digest[:16]
    assert tracked.data.tags["data_digest"] == toy.manifest.digest
    assert len(tracked.data.tags["config_digest"]) == 64


def test_config_history_and_record_are_artifacts(tracked: Any, store: str) -> None:
    found = {item.path for item in mlflow.MlflowClient().list_artifacts(tracked.info.run_id)}
    assert found == {"config.resolved.yaml", "history.csv", "run.json"}


def test_no_real_id_no_report_text_and_no_pickle_is_in_the_store(toy_run: Any, toy: Any, tracked: Any) -> None:
    place = toy_run.folder.parent
    files = [place / "mlflow.db", *(path for path in (place / "mlartifacts").rglob("*") if path.is_file())]
    assert {"weights.safetensors", "pyfunc_model.py", "MLmodel"} <= {path.name for path in files}
    assert not [path.name for path in files if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".ckpt")]
    for path in files:
        data = path.read_bytes()
        for secret in toy.secrets:
            assert secret.encode() not in data and secret not in path.name, path.name


@pytest.fixture
def study_folder(toy: Any, tmp_path: Path) -> Path:
    """One study as a user would keep it: image, mask, report."""
    from medfuse.io import read_volume, write_nifti
    from medfuse.types import Volume

    entry = toy.entries[0]
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copy(entry.images["image"], folder / "image.nii.gz")
    image = read_volume(folder / "image.nii.gz")
    mask = np.zeros(image.voxels.shape, dtype=np.uint8)
    mask[6:10, 6:10, 6:10] = 1
    write_nifti(Volume(mask, image.affine), folder / "mask.nii.gz")
    (folder / "report.txt").write_text(entry.lesions[0].report.text)
    return folder


def test_the_logged_model_scores_a_study_folder_as_the_predictor_does(
    toy_run: Any, tracked: Any, store: str, study_folder: Path
) -> None:
    [logged] = mlflow.search_logged_models(experiment_ids=[tracked.info.experiment_id], output_format="list")
    model = mlflow.pyfunc.load_model(logged.model_uri)
    table = model.predict(pd.DataFrame({"study": [str(study_folder)]}))
    predictor = Predictor.load(toy_run.folder / "model")
    [entry], _ = find_studies(study_folder, unit="HU")
    [expected] = predictor.predict(read_study(entry, pseudonymizer=load_pseudonymizer()))
    assert list(table.columns) == ["case_id", "target", "condition", "class", "probability"]
    found = {(row.condition, row[4]): row.probability for row in table.itertuples()}  # "class" is a keyword
    assert set(table["case_id"]) == {str(expected.case)}
    for condition, values in expected.probabilities.items():
        for name, value in zip(expected.classes, values, strict=True):
            assert found[condition, name] == pytest.approx(value, abs=1e-6)
    assert len(found) == 6


@pytest.mark.parametrize(("name", "asked"), [("gru", "medfuse=="), ("huggingface", "medfuse[hf]==")])
def test_a_logged_model_asks_for_what_its_text_encoder_needs(
    toy_fit: Fit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, asked: str
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(mlflow.pyfunc, "log_model", lambda **options: given.update(options))
    config = toy_fit.bundle.config.model_copy(update={"text_encoder": {"name": name}})
    tracking.log_model(tmp_path, replace(toy_fit.bundle, config=config))
    assert given["pip_requirements"][0].startswith(asked)
