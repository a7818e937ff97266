"""One training run from manifest to folder: everything another person needs to repeat or use it."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only

from medfuse.config import RunConfig, flatten
from medfuse.data import Case, CaseSet, Preparer, load_cases, open_store, write_cohort
from medfuse.errors import ConfigError
from medfuse.evaluation import auroc
from medfuse.inference import save_bundle
from medfuse.io import Manifest, load_pseudonymizer, read_manifest
from medfuse.models import check_components
from medfuse.progress import Progress
from medfuse.training.fitting import Fit, check_classes, fit, make_preprocessing
from medfuse.training.parts import Parts, split_cases
from medfuse.training.predictions import baseline_tables, prediction_table
from medfuse.training.provenance import git_commit
from medfuse.training.run_folder import held_folder
from medfuse.whole_files import write_whole

__all__ = ["Run", "config_digest", "find_run", "read_cases", "run_versions", "train"]

log = logging.getLogger("medfuse")

ORIGIN = "origin.json"
"""What a training began with, beside its state."""

PACKAGES = ("medfuse", "torch", "monai", "lightning", "scikit-learn", "spacy", "pydicom", "nibabel", "numpy")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run's folder and its test figures."""

    folder: Path
    model_id: str
    best_epoch: int
    n_epochs: int
    auroc: dict[str, float]
    is_complete: bool = True


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

    Raises
    ------
    ConfigError
        If there is no component of a name that the config gives.
    ManifestError
        See `medfuse.io.read_manifest`.
    """
    check_components(config.model)
    table = read_manifest(manifest or Path(config.data.manifest))
    with open_store(config.data.cache) or nullcontext() as store:
        cases = load_cases(
            table,
            preparer=Preparer(make_preprocessing(config), load_pseudonymizer(), store),
            targets=[target.build() for target in config.targets],
            keep_unlabelled=config.data.unlabelled == "train",
            progress=progress,
        )
    return table, cases


def train(
    config: RunConfig,
    *,
    out: Path,
    manifest: Manifest,
    cases: Sequence[Case] | CaseSet,
    callbacks: Sequence[lightning.Callback] = (),
    resume: bool = False,
) -> Run:
    """Train, track, calibrate, predict the test part, and save it all.

    Parameters
    ----------
    config : RunConfig
    out : Path
        The run's folder; files of an earlier run in it are replaced.
    manifest : Manifest
        What the cases came from; its digest is recorded.
    cases : sequence of Case, or CaseSet
        A CaseSet says what was refused too, which the run then records.
    callbacks : sequence of lightning.Callback
        For progress, and a limit of the time.
    resume : bool
        Go on from the last epoch that the folder holds; a finished run is left as it is.

    Returns
    -------
    Run

    Raises
    ------
    ConfigError
        If the folder holds a training of another config or other data that cannot be gone on with.
    DataError
        If a part is empty, lacks a class, or shares a patient with another.
    TrainingError
        If a loss or gradient is not finite, memory or disk do not suffice.
    UsageError
        If another training writes to the folder, or it cannot be written to.
    """
    loaded = cases if isinstance(cases, CaseSet) else None
    parts = split_cases(cases_of(cases), config.data, seed=config.seed)
    if parts.test:
        check_classes("test", [case.targets for case in parts.test], [target.build() for target in config.targets])
    else:
        log.warning("no case has the split test: nothing says how good the model is")
    if getattr(rank_zero_only, "rank", 0):  # the first process writes and tracks; the others only share the steps
        done = fit(
            config, train=parts.train, validation=parts.validation, callbacks=callbacks,
            checkpoints=out / "checkpoints", resume=resume,
        )  # fmt: skip
        return Run(out, "", done.best_epoch, len(done.history), {})
    with held_folder(out):
        if resume:
            finished = find_run(config, out=out, manifest=manifest)
            if finished is not None:
                log.info("%s is finished already", out.name)
                return finished
            check_origin(config, out, manifest)
        start_folder(config, out, manifest, keep=resume)
        targets = [target.build() for target in config.targets]
        write_cohort(out, manifest=manifest, parts=parts.by_name, targets=targets, loaded=loaded)
        digests = {"data_digest": manifest.digest, "config_digest": config_digest(config)}
        from medfuse.training import tracking
        from medfuse.training.outcome import log_outcome

        with tracking.tracked_run(config, out, digests=digests, resume=resume) as tracked:
            tracked.log_parts(parts)
            done = fit(
                config,
                train=parts.train,
                validation=parts.validation,
                checkpoints=out / "checkpoints",
                callbacks=[*callbacks, tracking.LogEpochs(tracked)],
                resume=resume,
            )
            bundle = replace(done.bundle, provenance={**digests, **run_versions(), "run": config.name})
            model_id = save_bundle(bundle, out / "model")
            done = replace(done, bundle=replace(bundle, model_id=model_id))
            tables = _tables(config, parts, done)
            pd.concat(tables, ignore_index=True).to_parquet(out / "predictions.parquet", index=False)
            pd.DataFrame(done.history).to_csv(out / "history.csv", index=False)
            figures = test_figures(pd.concat(tables, ignore_index=True))
            record: dict[str, Any] = {
                **run_record(config, manifest),
                "model_id": model_id,
                "cases": {name: len(members) for name, members in parts.by_name.items()},
                "best_epoch": done.best_epoch,
                "epochs": len(done.history),
                "is_complete": done.is_complete,
                **({"reconstruction": dict(done.reconstruction)} if done.reconstruction else {}),
                **({"weights": dict(done.weights)} if done.weights else {}),
                "test_auroc": figures,
                "mlflow_run_id": tracked.run_id,
            }
            write_record(out, record)
            log_outcome(tracked, step=len(done.history))
            tracked.log_model("model", model_id=model_id)
        return Run(out, model_id, done.best_epoch, len(done.history), figures, done.is_complete)


def cases_of(cases: Sequence[Case] | CaseSet) -> Sequence[Case]:
    """Return the cases of a CaseSet, or those given."""
    return cases.cases if isinstance(cases, CaseSet) else cases


def run_record(config: RunConfig, manifest: Manifest) -> dict[str, Any]:
    """Return what another person needs to repeat a run: its origin, versions and machine."""
    return {
        "name": config.name,
        "seed": config.seed,
        "data_digest": manifest.digest,
        "config_digest": config_digest(config),
        "versions": run_versions(),
        "python": platform.python_version(),
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "threads": config.compute.threads or torch.get_num_threads(),
            "devices": config.compute.devices,
        },
        "command": " ".join(Path(arg).name if i == 0 else arg for i, arg in enumerate(sys.argv)),
        "git_commit": git_commit(),
    }


def write_record(out: Path, record: Mapping[str, Any]) -> None:
    """Write run.json, which says that a run is whole; it comes last and takes its name at once."""
    write_whole(out / "run.json", (json.dumps(record, indent=1) + "\n").encode())


def write_config(config: RunConfig, out: Path) -> None:
    """Write config.resolved.yaml, every default written out."""
    resolved = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    (out / "config.resolved.yaml").write_text(resolved, encoding="utf-8")


def start_folder(config: RunConfig, out: Path, manifest: Manifest, *, keep: bool) -> None:
    """Prepare a run's folder: no file of an earlier run may stand beside new ones.

    Parameters
    ----------
    config : RunConfig
    out : Path
    manifest : Manifest
    keep : bool
        Keep the state of the training, to go on from it.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "run.json").unlink(missing_ok=True)
    if not keep:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    write_config(config, out)
    origin = {"data_digest": manifest.digest, "config": _exact(config)}
    (out / "checkpoints").mkdir(exist_ok=True)
    (out / "checkpoints" / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")


def check_origin(config: RunConfig, out: Path, manifest: Manifest) -> None:
    """Refuse to go on with a training of another config or other data.

    Raises
    ------
    ConfigError
        Naming the first key that differs.
    """
    try:
        origin = json.loads((out / "checkpoints" / ORIGIN).read_text(encoding="utf-8"))
        before, digest = flatten(origin["config"]), str(origin["data_digest"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # nothing to go on with: it starts from the first epoch
    now = flatten(_exact(config))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            found = f"found {key} = {now.get(key)!r}"
            raise ConfigError("--resume", found, expected=f"{before.get(key)!r}, as the training began; or train anew")
    if digest != manifest.digest:
        raise ConfigError("--resume", "found another manifest.csv", expected="the one that the training began with")


def _exact(config: RunConfig) -> dict[str, Any]:
    """Return what a result follows from, beside the data: not the machine, where things lie, nor who watches."""
    leave_out: dict[str, Any] = {"name": True, "compute": True, "tracking": True, "data": {"manifest", "cache"}}
    return config.model_dump(mode="json", exclude=leave_out)


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
            and record["is_complete"]
            and (out / "predictions.parquet").exists()
        )
        return (
            Run(out, record["model_id"], record["best_epoch"], record["epochs"], record["test_auroc"]) if same else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def config_digest(config: RunConfig) -> str:
    """Return the SHA-256 of what a result follows from in a resolved configuration; see `medfuse train --resume`."""
    return hashlib.sha256(json.dumps(_exact(config), sort_keys=True).encode()).hexdigest()


def _tables(config: RunConfig, parts: Parts, done: Fit) -> list[pd.DataFrame]:
    validation = prediction_table(done.bundle, parts.validation, split="validation")
    if not parts.test:
        return [validation]
    test = prediction_table(done.bundle, parts.test, split="test")
    return [validation, test, *baseline_tables(config, parts)]


def test_figures(frame: pd.DataFrame) -> dict[str, float]:
    """Return the AUROC of every binary target and condition on the test rows of a predictions table."""
    figures = {}
    frame = frame[frame.groupby("target")["class"].transform("nunique") == 2]
    positive = frame["class"] == frame.groupby("target")["class"].transform("last")
    for (target, condition), rows in frame[(frame["split"] == "test") & positive].groupby(["target", "condition"]):
        if rows["label"].nunique() < 2:  # the few cases that have this condition's modalities are all of one class
            continue
        figures[f"{target}/{condition}"] = auroc(rows["label"].to_numpy(), rows["probability"].to_numpy()).value
    return figures


def run_versions() -> dict[str, str]:
    """Return the versions of the packages that figures depend on."""
    return {package: version(package) for package in PACKAGES}
