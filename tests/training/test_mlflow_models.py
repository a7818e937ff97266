"""Models in MLflow: logged once, registered, served, and found again by their URI."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from medfuse.errors import UsageError
from medfuse.inference import Predictor
from medfuse.io import find_studies, load_pseudonymizer, read_study
from medfuse.training.journal import Journal, Mark
from medfuse.training.mlflow_models import _save, local_bundle
from medfuse.training.store import import_mlflow
from medfuse.training.tracking import sync

import_mlflow()
COLUMNS = ["row", "status", "reason", "case_id", "target", "condition", "class", "probability"]


@pytest.fixture(scope="module")
def uri(toy_run: Any) -> str:
    """Of the toy run's store."""
    return f"sqlite:///{toy_run.folder.parent / 'mlflow.db'}"


@pytest.fixture(scope="module")
def client(uri: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def store(uri: str) -> Iterator[str]:
    """The process's own store, for MLflow's own loading."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(before)


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


def run_id(toy_run: Any, uri: str) -> str:
    return Journal(toy_run.folder).read_mark(uri).run_id


def test_a_finished_run_s_model_is_the_candidate_of_its_name(
    toy_run: Any, client: mlflow.MlflowClient, uri: str
) -> None:
    version = client.get_model_version_by_alias("toy", "candidate")
    assert version.run_id == run_id(toy_run, uri)
    [logged] = client.search_logged_models([client.get_run(version.run_id).info.experiment_id])
    assert version.source == logged.artifact_location and str(logged.status) == "READY"
    assert logged.tags["medfuse.model_id"] == toy_run.run.model_id
    assert [output.model_id for output in client.get_run(version.run_id).outputs.model_outputs] == [logged.model_id]


@pytest.mark.parametrize(
    "name", ["models:/toy@candidate", "models:/toy/1", "models:/{model_id}", "runs:/{run_id}/model"]
)
def test_a_model_s_uri_gives_the_very_bundle(
    toy_run: Any, client: mlflow.MlflowClient, uri: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = client.get_run(run_id(toy_run, uri))
    named = name.format(run_id=run.info.run_id, model_id=run.outputs.model_outputs[0].model_id)
    with local_bundle(named) as folder:
        assert Predictor.load(folder).bundle.model_id == toy_run.run.model_id
    assert not folder.exists()


def test_a_folder_is_itself(tmp_path: Path) -> None:
    with local_bundle(str(tmp_path)) as folder:
        assert folder == tmp_path
    assert folder.exists()


def test_a_store_in_the_working_folder_needs_no_name(toy_run: Any, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(toy_run.folder.parent)
    with local_bundle("models:/toy@candidate") as folder:
        assert (folder / "weights.safetensors").exists()


@pytest.mark.parametrize(
    "name", ["models:/toi@candidate", "models:/toy@best", "models:/toy/99", "models:/m-1", "runs:/0123/model"]
)
def test_a_model_that_is_not_there_is_refused_by_name(uri: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UsageError, match=f"model {name}: found no such model"), local_bundle(name):
        pass


def test_without_a_store_a_uri_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    expected = "found no MLflow store; expected MLFLOW_TRACKING_URI"
    with pytest.raises(UsageError, match=expected), local_bundle("models:/toy@candidate"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_sent_but_not_marked_is_not_logged_twice(
    toy_run: Any, client: mlflow.MlflowClient, uri: str
) -> None:
    journal = Journal(toy_run.folder)
    [entry] = [entry for entry in journal.read() if entry.kind == "model"]
    before = journal.read_mark(uri)
    journal.mark(uri, Mark(entry.line, before.run_id))
    assert sync(toy_run.folder) == 0
    assert len(client.search_logged_models([client.get_run(before.run_id).info.experiment_id])) == 1
    assert len(client.search_model_versions("name = 'toy'")) == 1


def test_the_logged_model_scores_a_study_folder_as_the_predictor_does(
    toy_run: Any, store: str, study_folder: Path
) -> None:
    table = mlflow.pyfunc.load_model("models:/toy@candidate").predict(pd.DataFrame({"study": [str(study_folder)]}))
    predictor = Predictor.load(toy_run.folder / "model")
    [entry], _ = find_studies(study_folder, unit="HU")
    [expected] = predictor.predict(read_study(entry, pseudonymizer=load_pseudonymizer()))
    assert list(table.columns) == COLUMNS
    assert set(table["status"]) == {"scored"} and set(table["row"]) == {0}
    found = {(row.condition, row[7]): row.probability for row in table.itertuples()}  # "class" is a keyword
    assert set(table["case_id"]) == {str(expected.case)}
    for condition, values in expected.probabilities.items():
        for name, value in zip(expected.classes, values, strict=True):
            assert found[condition, name] == pytest.approx(value, abs=1e-6)
    assert len(found) == 6


def test_a_bad_study_is_a_refused_row_and_the_others_go_on(
    toy: Any, store: str, study_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    without_position = shutil.copytree(study_folder, tmp_path / "SMITH-0001")
    (without_position / "mask.nii.gz").unlink()
    torn = shutil.copytree(study_folder, tmp_path / "torn")
    (torn / "image.nii.gz").write_bytes(b"no image")
    paths = [tmp_path / "empty", without_position, torn, tmp_path / "absent", study_folder]
    model = mlflow.pyfunc.load_model("models:/toy@candidate")
    table = model.predict(pd.DataFrame({"study": [str(path) for path in paths]}))
    status = table.groupby("row")["status"].agg(set).to_dict()
    assert status == {0: {"refused"}, 1: {"refused"}, 2: {"refused"}, 3: {"refused"}, 4: {"scored"}}
    refused = table[table["status"] == "refused"]
    assert refused["probability"].isna().all() and (refused["reason"] != "").all()
    assert "position" in refused.loc[refused["row"] == 1, "reason"].item()
    assert not refused["reason"].str.contains("SMITH").any()


@pytest.mark.parametrize(("name", "asked"), [("gru", "medfuse=="), ("huggingface", "medfuse[hf]==")])
def test_a_logged_model_asks_for_what_its_text_encoder_needs(
    toy_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, asked: str
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(mlflow.pyfunc, "save_model", lambda **options: given.update(options))
    folder = shutil.copytree(toy_bundle, tmp_path / "model")
    text = (folder / "model.json").read_text().replace('"name": "gru"', f'"name": "{name}"')
    (folder / "model.json").write_text(text)
    _save(tmp_path, folder, SimpleNamespace())
    assert given["pip_requirements"][0].startswith(asked)
