"""Journal entries -> MLflow: the one file that logs to a tracking store, by run id and never by global state."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medfuse.errors import DataError, TrainingError
from medfuse.training.journal import Entry, Journal
from medfuse.training.mlflow_models import log_model

__all__ = ["RUN_KEY", "MlflowStore", "import_mlflow"]

RUN_KEY = "medfuse.run_key"
MAX_BATCH = 100  # parameters or tags a call
MAX_PARAM, MAX_TAG = 6000, 5000  # characters that MLflow takes


def import_mlflow() -> Any:
    """Return mlflow: quiet, without telemetry, and giving up on a server that does not answer.

    Imported in the main thread, before others import: Python's imports are not made for two at once.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    }.items():
        os.environ.setdefault(name, value)
    import mlflow

    with warnings.catch_warnings():
        # What mlflow.pyfunc says of its own types as it is imported.
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType", category=UserWarning)
        import mlflow.pyfunc

    # What fails is said once by the sender, and kept; a traceback for each try would bury the run's own lines.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return mlflow


class MlflowStore:
    """An MLflow tracking store and registry.

    Parameters
    ----------
    uri : str
    """

    def __init__(self, uri: str) -> None:
        mlflow = import_mlflow()
        self.uri = uri
        self._client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    def send(self, journal: Journal, entry: Entry, *, run_id: str, is_doubtful: bool) -> str:
        """Send one entry; see `medfuse.training.sender.Store`."""
        from mlflow.exceptions import MlflowException

        content = entry.content
        try:
            if entry.kind == "start":
                return self._start(content)
            if entry.kind == "values":
                self._log_values(run_id, content)
            elif entry.kind == "metrics":
                self._log_metrics(run_id, content, is_doubtful=is_doubtful)
            elif entry.kind == "dataset":
                self._log_dataset(run_id, content)
            elif entry.kind == "artifact":
                self._log_artifact(run_id, _existing(journal, entry), content["to"])
            elif entry.kind == "model":
                bundle, named = _existing(journal, entry), content["register_as"]
                log_model(self._client, run_id, bundle, model_id=content["model_id"], register_as=named)
            elif entry.kind == "status":
                self._set_status(run_id, content)
        except MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE":
                where = f"tracking: {entry.kind} of line {entry.line + 1}"
                raise DataError(where, "the MLflow store does not take it") from error
            raise
        return run_id

    def _start(self, content: Mapping[str, Any]) -> str:
        experiment = self._experiment(content["experiment"])
        found = self._find(experiment, content["key"])
        if found:
            return found
        tags = {**content["tags"], RUN_KEY: content["key"]}
        if content["parent"]:
            parent = self._find(experiment, content["parent"])
            if not parent:
                raise TrainingError("tracking", "the run that this one belongs to is not in the store yet")
            tags["mlflow.parentRunId"] = parent
        run = self._client.create_run(experiment, start_time=content["time"], tags=tags, run_name=content["name"])
        return str(run.info.run_id)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                place, tags = _artifacts_beside(self.uri), {"mlflow.experimentKind": "custom_model_development"}
                return str(self._client.create_experiment(name, artifact_location=place, tags=tags))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id)

    def _find(self, experiment: str, key: str) -> str:
        runs = self._client.search_runs([experiment], filter_string=f"tags.`{RUN_KEY}` = '{key}'", max_results=1)
        return runs[0].info.run_id if runs else ""

    def _log_values(self, run_id: str, content: Mapping[str, Any]) -> None:
        from mlflow.entities import Param, RunTag

        params = [Param(key, _shorten(value, MAX_PARAM)) for key, value in content["params"].items()]
        tags = [RunTag(key, _shorten(value, MAX_TAG)) for key, value in content["tags"].items()]
        for start in range(0, max(len(params), len(tags)), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            self._client.log_batch(run_id, params=params[part], tags=tags[part])

    def _log_metrics(self, run_id: str, content: Mapping[str, Any], *, is_doubtful: bool) -> None:
        from mlflow.entities import Metric

        step = content["step"]
        known = {
            name
            for name in (content["values"] if is_doubtful else ())
            if any(metric.step == step for metric in self._client.get_metric_history(run_id, name))
        }
        metrics = [Metric(k, v, content["time"], step) for k, v in content["values"].items() if k not in known]
        if metrics:
            self._client.log_batch(run_id, metrics=metrics)

    def _log_dataset(self, run_id: str, content: Mapping[str, Any]) -> None:
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        source = CodeDatasetSource(tags={"mlflow.source.name": "medfuse"}).to_json()
        profile = json.dumps(content["profile"])
        dataset = Dataset(content["name"], content["digest"], "code", source, profile=profile)
        given = DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, content["context"])])
        self._client.log_inputs(run_id, datasets=[given])

    def _log_artifact(self, run_id: str, path: Path, to: str) -> None:
        if path.is_dir():
            self._client.log_artifacts(run_id, str(path), to or path.name)
        else:
            self._client.log_artifact(run_id, str(path), to or None)

    def _set_status(self, run_id: str, content: Mapping[str, Any]) -> None:
        if content["status"] == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, status=content["status"], end_time=content["time"])


def _artifacts_beside(uri: str) -> str | None:
    """Return where the artifacts of a local store lie: beside its file. A server knows its own place."""
    path = uri.removeprefix("sqlite:///")
    return (Path(path).resolve().parent / "mlartifacts").as_uri() if path != uri else None


def _existing(journal: Journal, entry: Entry) -> Path:
    path: Path = journal.folder / entry.content["path"]
    if not path.exists():
        raise DataError(f"tracking: {entry.kind} of line {entry.line + 1}", "the file that it names is gone")
    return path


def _shorten(value: str, limit: int) -> str:
    """Cut what MLflow would not take, and say where the whole is."""
    note = " ... (cut; the whole is in config.resolved.yaml)"
    return value if len(value) <= limit else value[: limit - len(note)] + note
