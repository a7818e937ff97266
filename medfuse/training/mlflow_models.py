"""Model bundles in MLflow: logged as a pyfunc from code, registered, and found again by their URI."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medfuse.errors import UsageError

__all__ = ["ALIAS", "is_mlflow_uri", "local_bundle", "log_model", "registry_name"]

ALIAS = "candidate"
NAME = "model"
TAG = "medfuse.model_id"
TEXTS = ("status", "reason", "case_id", "target", "condition", "class")


def is_mlflow_uri(model: str) -> bool:
    """Return whether a model is named by an MLflow URI.

    Examples
    --------
    >>> is_mlflow_uri("models:/lidc@candidate"), is_mlflow_uri("runs/lidc/model")
    (True, False)
    """
    return model.startswith(("models:/", "runs:/"))


def registry_name(name: str) -> str:
    """Return a name that MLflow's registry takes: without slashes and colons.

    Examples
    --------
    >>> registry_name("lung/nodules: fused")
    'lung_nodules_ fused'
    """
    return re.sub(r"[/:]", "_", name) or "medfuse"


def log_model(client: Any, run_id: str, bundle: Path, *, model_id: str, register_as: str) -> None:
    """Log a bundle as a models-from-code pyfunc: safetensors and JSON, no pickle. A second time changes nothing.

    Parameters
    ----------
    client : MlflowClient
    run_id : str
    bundle : Path
        The bundle's folder.
    model_id : str
        That of the bundle.
    register_as : str
        Name in the registry, where the alias ``candidate`` then points to it; empty to leave it unregistered.
    """
    import mlflow
    from mlflow.entities import LoggedModelOutput

    experiment = client.get_run(run_id).info.experiment_id
    # What an earlier try left half done is not taken for a model.
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    ready = [model for model in found if model.tags.get(TAG) == model_id and str(model.status) == "READY"]
    logged = (
        ready[0]
        if ready
        else client.create_logged_model(experiment, name=NAME, source_run_id=run_id, tags={TAG: model_id})
    )
    if not ready:
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / NAME
            card = mlflow.models.Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            )
            _save(folder, bundle, card)
            client.log_model_artifacts(logged.model_id, str(folder))
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        client.finalize_logged_model(logged.model_id, "READY")
    if register_as:
        _register(client, register_as, run_id, logged)


def _save(folder: Path, bundle: Path, card: Any) -> None:
    """Write the folder that MLflow loads."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    content = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    extra = "[hf]" if content["model"]["text_encoder"].get("name") == "huggingface" else ""
    card.metadata = {
        "targets": [target["name"] for target in content["targets"]],
        "modalities": content["model"]["modalities"],
    }
    outputs = [ColSpec("long", "row"), *(ColSpec("string", name) for name in TEXTS), ColSpec("double", "probability")]
    mlflow.pyfunc.save_model(
        path=str(folder),
        mlflow_model=card,
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"bundle": str(bundle)},
        # Made up: a real one would name a patient's study.
        input_example={"study": "studies/one"},
        signature=ModelSignature(inputs=Schema([ColSpec("string", "study")]), outputs=Schema([*outputs])),
        pip_requirements=[f"medfuse{extra}=={_version()}", "torch>=2.10"],
    )
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


def _register(client: Any, name: str, run_id: str, logged: Any) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
    versions = [version for version in found if version.source == logged.artifact_location]
    # By its place and not by its URI, which MLflow would look up in whatever store is set for the whole process.
    version = (
        versions[0]
        if versions
        else client.create_model_version(name, source=logged.artifact_location, run_id=run_id, model_id=logged.model_id)
    )
    client.set_registered_model_alias(name, ALIAS, version.version)


def _version() -> str:
    from medfuse import __version__

    return __version__


@contextmanager
def local_bundle(model: str) -> Iterator[Path]:
    """Yield the folder of a bundle, fetched from MLflow where the model is named by its URI.

    Parameters
    ----------
    model : str
        A folder, or ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``models:/ID``, ``runs:/RUN_ID/model``. The
        store is the one that ``MLFLOW_TRACKING_URI`` names, else ``mlflow.db`` in the working folder.

    Yields
    ------
    Path
        Of a fetched model it is gone afterwards.

    Raises
    ------
    UsageError
        If there is no such store, no such model, or it is no bundle of medfuse.
    """
    if not is_mlflow_uri(model):
        yield Path(model)
        return
    from medfuse.training.store import import_mlflow

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    here = Path("mlflow.db").resolve()
    if not uri and not here.is_file():
        expected = "MLFLOW_TRACKING_URI, for example sqlite:///runs/mlflow.db"
        raise UsageError(f"model {model}", "found no MLflow store", expected=expected)
    store = uri or f"sqlite:///{here}"
    mlflow = import_mlflow()
    client = mlflow.MlflowClient(tracking_uri=store, registry_uri=store)
    with tempfile.TemporaryDirectory(prefix="medfuse-model-") as work:
        try:
            place = _place_of(client, model)
            fetched = Path(mlflow.artifacts.download_artifacts(place, dst_path=work, tracking_uri=store))
            card = mlflow.models.Model.load(str(fetched))
            bundle = fetched / card.flavors["python_function"]["artifacts"]["bundle"]["path"]
        except (mlflow.exceptions.MlflowException, OSError, LookupError) as error:
            found = f"found no such model of medfuse in the MLflow store ({type(error).__name__})"
            expected = "models:/NAME@candidate or runs:/RUN_ID/model"
            raise UsageError(f"model {model}", found, expected=expected) from error
        yield bundle


def _place_of(client: Any, model: str) -> str:
    """Return where a model's files lie: asked of this store, where MLflow's own look-up asks the process's."""
    kind, _, rest = model.partition(":/")
    if kind == "runs":
        run_id, _, name = rest.partition("/")
        experiment = client.get_run(run_id).info.experiment_id
        found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
        named = [one for one in found if one.name == name]
        if not named:
            raise LookupError(name)
        return str(max(named, key=lambda one: one.creation_timestamp).artifact_location)
    if "@" in rest:
        name, _, alias = rest.partition("@")
        return str(client.get_model_version_by_alias(name, alias).source)
    name, slash, version = rest.partition("/")
    if slash:
        return str(client.get_model_version(name, version).source)
    return str(client.get_logged_model(name).artifact_location)
