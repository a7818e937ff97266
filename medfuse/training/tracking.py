"""MLflow: what went in, how it went, what came out. No patient value is ever sent."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pandas as pd

from medfuse.config import ModelConfig, RunConfig
from medfuse.inference import Bundle

__all__ = ["LogEpochs", "Tracked", "flatten", "tracked_run"]


@dataclass(frozen=True, slots=True)
class Tracked:
    """Where a run is kept."""

    uri: str
    run_id: str


@contextmanager
def tracked_run(config: RunConfig, folder: Path, *, digests: Mapping[str, str]) -> Iterator[Tracked]:
    """Open an MLflow run and log what went in.

    Parameters
    ----------
    config : RunConfig
    folder : Path
        The run's folder; an empty ``tracking.uri`` means a sqlite store beside it.
    digests : mapping of str to str
        Tags, for example of the data and the config.

    Yields
    ------
    Tracked
    """
    # Its own bars and notes on the database would stand between the lines of the run.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    store = folder.resolve().parent
    uri = config.tracking.uri or f"sqlite:///{store / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    if client.get_experiment_by_name(config.tracking.experiment) is None:
        location = None if config.tracking.uri else (store / "mlartifacts").as_uri()
        client.create_experiment(config.tracking.experiment, artifact_location=location)
    mlflow.set_experiment(config.tracking.experiment)
    with mlflow.start_run(run_name=config.name, tags=dict(digests)) as run:
        mlflow.log_params(flatten(config.model_dump(mode="json")))
        yield Tracked(uri, run.info.run_id)


def flatten(content: Mapping[str, Any], *, prefix: str = "") -> dict[str, str]:
    """Write nested keys as dotted ones.

    Parameters
    ----------
    content : mapping
    prefix : str
        Put before each key.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> flatten({"optim": {"epochs": 3}, "seed": 0})
    {'optim.epochs': '3', 'seed': '0'}
    """
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, prefix=f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat


class LogEpochs(lightning.Callback):
    """Send each epoch's figures to the open MLflow run."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log every figure with the epoch as its step."""
        import mlflow

        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        mlflow.log_metrics(figures, step=trainer.current_epoch)


def log_data(frame: pd.DataFrame, *, digest: str, name: str) -> None:
    """Log which data a run used: their digest and the size of each part, never their rows.

    Parameters
    ----------
    frame : DataFrame
        Columns ``part`` and ``cases``.
    digest : str
        Of the manifest.
    name : str
    """
    import mlflow
    from mlflow.data import pandas_dataset

    dataset = pandas_dataset.from_pandas(frame.astype({"cases": float}), name=name, digest=digest[:16])
    mlflow.log_input(dataset, context="training")


def log_outcome(folder: Path, figures: Mapping[str, float]) -> None:
    """Log the test figures and the files of a run that hold no text: config, history, run.json.

    Parameters
    ----------
    folder : Path
    figures : mapping of str to float
        By ``target/condition``.
    """
    import mlflow

    mlflow.log_metrics({f"test_auroc/{name}": value for name, value in figures.items()})
    for name in ("config.resolved.yaml", "history.csv", "run.json"):
        mlflow.log_artifact(str(folder / name))


def log_model(folder: Path, bundle: Bundle) -> None:
    """Log a bundle as a models-from-code pyfunc: safetensors and JSON, no pickle.

    Parameters
    ----------
    folder : Path
        The bundle's folder.
    bundle : Bundle
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    extra = "[hf]" if _needs_transformers(bundle.config) else ""
    texts = ("case_id", "target", "condition", "class")
    inputs = Schema([ColSpec("string", "study")])
    outputs = Schema([*(ColSpec("string", name) for name in texts), ColSpec("double", "probability")])
    with warnings.catch_warnings():
        # An example would be a patient's study; the signature is written out instead.
        warnings.filterwarnings("ignore", message=".*input example was not provided.*")
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"bundle": str(folder)},
            signature=ModelSignature(inputs=inputs, outputs=outputs),
            pip_requirements=[f"medfuse{extra}=={_version()}", "torch>=2.10"],
            metadata={
                "targets": [t.name for t in bundle.targets],
                "modalities": list(bundle.preprocessing.modalities),
            },
        )


def _needs_transformers(config: ModelConfig) -> bool:
    return "text" in config.modalities and config.text_encoder.get("name") == "huggingface"


def _version() -> str:
    from medfuse import __version__

    return __version__
