"""One training run from manifest to folder: everything another person needs to repeat or use it."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import yaml

from medfuse.config import RunConfig
from medfuse.data import Case, CaseSet, load_cases
from medfuse.evaluation import auroc
from medfuse.inference import save_bundle
from medfuse.io import Manifest, load_pseudonymizer, read_manifest
from medfuse.progress import Progress
from medfuse.training.fitting import Fit, check_classes, fit, make_preprocessing
from medfuse.training.parts import Parts, split_cases
from medfuse.training.predictions import baseline_tables, prediction_table

__all__ = ["Run", "config_digest", "find_run", "read_cases", "run_versions", "train"]

PACKAGES = ("medfuse", "torch", "monai", "lightning", "scikit-learn", "spacy", "pydicom", "nibabel", "numpy")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run's folder and its test figures."""

    folder: Path
    model_id: str
    best_epoch: int
    n_epochs: int
    auroc: dict[str, float]


def read_cases(
    config: RunConfig,
    *,
    manifest: Path | None = None,
    progress: Progress = iter,
) -> tuple[Manifest, CaseSet]:
    """Read the manifest and prepare its cases for a config.

    Parameters
    ----------
    config : RunConfig
    manifest : Path, optional
        Instead of the config's.
    progress : callable
        Wraps the studies.

    Returns
    -------
    manifest : Manifest
    cases : CaseSet
    """
    table = read_manifest(manifest or Path(config.data.manifest))
    cases = load_cases(
        table,
        preprocessing=make_preprocessing(config),
        targets=[target.build() for target in config.targets],
        pseudonymizer=load_pseudonymizer(),
        keep_unlabelled=bool(config.attributes),
        progress=progress,
    )
    return table, cases


def train(
    config: RunConfig,
    *,
    out: Path,
    manifest: Manifest,
    cases: Sequence[Case],
    callbacks: Sequence[lightning.Callback] = (),
) -> Run:
    """Train, track, calibrate, predict the test part, and save it all.

    Parameters
    ----------
    config : RunConfig
    out : Path
        The run's folder; files of an earlier run in it are replaced.
    manifest : Manifest
        What the cases came from; its digest is recorded.
    cases : sequence of Case
    callbacks : sequence of lightning.Callback
        For progress.

    Returns
    -------
    Run

    Raises
    ------
    DataError
        If a part is empty, lacks a class, or shares a patient with another.
    TrainingError
        If the loss is not finite.
    """
    from medfuse.training import tracking

    parts = split_cases(cases, config.data, seed=config.seed)
    check_classes("test", [case.targets for case in parts.test], [target.build() for target in config.targets])
    out.mkdir(parents=True, exist_ok=True)
    # It says that a run is finished: that of an earlier one must not stand beside new files.
    (out / "run.json").unlink(missing_ok=True)
    resolved = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (out / "config.resolved.yaml").write_text(resolved, encoding="utf-8")
    digests = {"data_digest": manifest.digest, "config_digest": config_digest(config)}
    with tracking.tracked_run(config, out, digests=digests) as tracked:
        tracking.log_data(_sizes(parts), digest=manifest.digest, name=config.name)
        done = fit(
            config,
            train=parts.train,
            validation=parts.validation,
            checkpoints=out / "checkpoints",
            callbacks=[*callbacks, tracking.LogEpochs()],
        )
        bundle = replace(done.bundle, provenance={**digests, **run_versions(), "run": config.name})
        model_id = save_bundle(bundle, out / "model")
        done = replace(done, bundle=replace(bundle, model_id=model_id))
        tables = _tables(config, parts, done)
        pd.concat(tables, ignore_index=True).to_parquet(out / "predictions.parquet", index=False)
        pd.DataFrame(done.history).to_csv(out / "history.csv", index=False)
        figures = _test_figures(tables)
        record: dict[str, Any] = {
            "name": config.name,
            "model_id": model_id,
            "seed": config.seed,
            **digests,
            "versions": run_versions(),
            "python": platform.python_version(),
            "machine": {"system": platform.system(), "processor": platform.machine()},
            "command": " ".join(Path(arg).name if i == 0 else arg for i, arg in enumerate(sys.argv)),
            "git_commit": _git_commit(),
            "cases": {name: len(getattr(parts, name)) for name in ("train", "validation", "test")},
            "best_epoch": done.best_epoch,
            "epochs": len(done.history),
            "test_auroc": figures,
            "mlflow_run_id": tracked.run_id,
        }
        (out / "run.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        tracking.log_outcome(out, figures)
        tracking.log_model(out / "model", bundle)
    return Run(out, model_id, done.best_epoch, len(done.history), figures)


def find_run(config: RunConfig, *, out: Path, manifest: Manifest) -> Run | None:
    """Return the finished run in a folder, if it is of this config, these data and this version of medfuse.

    Parameters
    ----------
    config : RunConfig
    out : Path
    manifest : Manifest

    Returns
    -------
    Run or None
    """
    try:
        record = json.loads((out / "run.json").read_text(encoding="utf-8"))
        same = (
            record["config_digest"] == config_digest(config)
            and record["data_digest"] == manifest.digest
            and record["versions"] == run_versions()
            and (out / "predictions.parquet").exists()
        )
        return (
            Run(out, record["model_id"], record["best_epoch"], record["epochs"], record["test_auroc"]) if same else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def config_digest(config: RunConfig) -> str:
    """Return the SHA-256 of a resolved configuration."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def _tables(config: RunConfig, parts: Parts, done: Fit) -> list[pd.DataFrame]:
    return [
        prediction_table(done.bundle, parts.validation, split="validation"),
        prediction_table(done.bundle, parts.test, split="test"),
        *baseline_tables(config, parts),
    ]


def _test_figures(tables: Sequence[pd.DataFrame]) -> dict[str, float]:
    frame = pd.concat(tables, ignore_index=True)
    figures = {}
    positive = frame["class"] == frame.groupby("target")["class"].transform("last")
    for (target, condition), rows in frame[(frame["split"] == "test") & positive].groupby(["target", "condition"]):
        if rows["label"].nunique() < 2:  # the few cases that have this condition's modalities are all of one class
            continue
        figures[f"{target}/{condition}"] = auroc(rows["label"].to_numpy(), rows["probability"].to_numpy()).value
    return figures


def _sizes(parts: Parts) -> pd.DataFrame:
    names = ("train", "validation", "test")
    return pd.DataFrame({"part": names, "cases": [len(getattr(parts, name)) for name in names]})


def run_versions() -> dict[str, str]:
    """Return the versions of the packages that figures depend on."""
    return {package: version(package) for package in PACKAGES}


def _git_commit() -> str:
    """Return the commit of the working folder, read from .git itself; empty outside a checkout."""
    head = Path(".git/HEAD")
    try:
        text = head.read_text(encoding="ascii").strip()
        return (Path(".git") / text[5:]).read_text(encoding="ascii").strip() if text.startswith("ref: ") else text
    except (OSError, ValueError):
        return ""
