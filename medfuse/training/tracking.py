"""MLflow: what went in, how it went, what came out. No patient value is ever sent, and no training waits for it."""

from __future__ import annotations

import getpass
import hashlib
import logging
import math
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import lightning

from medfuse.config import RunConfig, flatten
from medfuse.errors import UsageError
from medfuse.training.journal import Journal
from medfuse.training.mlflow_models import registry_name
from medfuse.training.provenance import git_commit
from medfuse.training.sender import Sender
from medfuse.training.store import MlflowStore, import_mlflow
from medfuse.training.system_metrics import sampled

if TYPE_CHECKING:
    from medfuse.data import Case
    from medfuse.training.parts import Parts

__all__ = ["LogEpochs", "Recorder", "Tracked", "sync", "tracked_run"]

log = logging.getLogger("medfuse")
# What MLflow takes in the name of a metric.
_NOT_IN_NAMES = re.compile(r"[^/\w.\- :]")


class Recorder:
    """Writes what happens in a run into its journal; nothing here waits for a store or fails with one.

    Parameters
    ----------
    journal : Journal
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        # A resumed training repeats the epoch in which it was killed: its figures are there already.
        self._logged = {
            (name, entry.content["step"])
            for entry in journal.read()
            if entry.kind == "metrics"
            for name in entry.content["values"]
        }

    def log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Log figures of a step; a figure that this step has already is left as it is."""
        new = {_NOT_IN_NAMES.sub("_", name): float(value) for name, value in values.items()}
        new = {name: value for name, value in new.items() if (name, step) not in self._logged}
        if new:
            self._logged |= {(name, step) for name in new}
            self.journal.add("metrics", {"values": new, "step": step, "time": _now()})

    def next_step(self, name: str) -> int:
        """Return the step after the last one that a figure was logged for."""
        return 1 + max((step for known, step in self._logged if known == name), default=-1)

    def log_values(self, *, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None) -> None:
        """Log parameters and tags."""
        self.journal.add("values", {"params": dict(params or {}), "tags": dict(tags or {})})

    def log_artifact(self, path: str, *, to: str = "") -> None:
        """Log a file or folder, named from the run's folder."""
        self.journal.add("artifact", {"path": path, "to": to})


class Tracked(Recorder):
    """An open run.

    Parameters
    ----------
    config : RunConfig
    journal : Journal
    sender : Sender
        Sends the journal.
    store : Path
        Folder of the default store.
    """

    def __init__(self, config: RunConfig, journal: Journal, *, sender: Sender, store: Path) -> None:
        super().__init__(journal)
        self.config = config
        self.sender = sender
        self.store = store
        start = next(entry.content for entry in journal.read() if entry.kind == "start")
        self.key: str = start["key"]
        self.is_child = bool(start["parent"])

    def __getstate__(self) -> dict[str, object]:
        """Leave the sender's thread behind: another process writes into the journal, and this one's thread sends."""
        return {name: value for name, value in self.__dict__.items() if name != "sender"}

    @property
    def uri(self) -> str:
        """Of the store."""
        return self.sender.uri

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; empty if the store is away."""
        return self.sender.run_id_of(self.journal)

    def log_parts(self, parts: Parts) -> None:
        """Log which cases a run used, by digest and number, never their rows."""
        for name, context in (("train", "training"), ("validation", "validation"), ("test", "testing")):
            self.log_cases(getattr(parts, name), name=f"{name} part", context=context)

    def log_cases(self, cases: Sequence[Case], *, name: str, context: str) -> None:
        """Log one part of the data: the digest of its cases and labels, and how many there are."""
        lines = sorted(f"{case.id} {sorted(case.targets.items())}" for case in cases)
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        profile = {"num_rows": len(cases), "num_patients": len({case.patient_id for case in cases})}
        for target in self.config.targets:
            labels = [case.targets[target.name] for case in cases if target.name in case.targets]
            for index, label in enumerate(target.classes):
                profile[f"{target.name} {label}"] = labels.count(index)
        content = {"name": name, "context": context, "digest": digest, "profile": profile}
        self.journal.add("dataset", content)

    def log_model(self, path: str, *, model_id: str) -> None:
        """Log a bundle, named from the run's folder, and register it where the configuration asks for it.

        The model of a fold is no candidate of anything: it is not registered.
        """
        name = registry_name(self.config.tracking.registered_model or self.config.name)
        register_as = name if self.config.tracking.register_model and not self.is_child else ""
        self.journal.add("model", {"path": path, "model_id": model_id, "register_as": register_as})


_open_run: ContextVar[Tracked | None] = ContextVar("open run", default=None)


@contextmanager
def tracked_run(
    config: RunConfig,
    folder: Path,
    *,
    digests: Mapping[str, str],
    name: str = "",
    resume: bool = False,
) -> Iterator[Tracked]:
    """Open a run in MLflow, or go on with one, and log what went in.

    Whatever is logged goes to ``tracking.jsonl`` in the folder first and is sent by a thread. If the store is slow or
    away the training goes on, and `sync` sends the rest later. A run that is opened while another is open is its child,
    as the folds of a training and the trials of a search are; it is kept in its parent's store.

    Parameters
    ----------
    config : RunConfig
    folder : Path
        The run's folder, which exists; an empty ``tracking.uri`` means a sqlite store beside it.
    digests : mapping of str to str
        Tags, for example of the data and the config.
    name : str
        Shown name; by default the config's.
    resume : bool
        Go on with the run whose journal the folder holds, if there is one.

    Yields
    ------
    Tracked
    """
    parent = _open_run.get()
    journal = Journal(folder)
    if not resume:
        journal.path.unlink(missing_ok=True)
    store = parent.store if parent else folder.resolve().parent
    uri = config.tracking.uri or f"sqlite:///{store / 'mlflow.db'}"
    sender = parent.sender if parent else _start_sender(uri, patience_s=config.tracking.patience_s)
    if not any(entry.kind == "start" for entry in journal.read()):
        start = {
            "key": uuid.uuid4().hex,
            "parent": parent.key if parent else "",
            "uri": config.tracking.uri,
            "store": os.path.relpath(store, folder.resolve()),
            "experiment": config.tracking.experiment,
            "name": name or config.name,
            "tags": {**_origin(), **_contents(config), **digests},
            "time": _now(),
        }
        journal.add("start", start)
        journal.add("values", {"params": flatten(config.model_dump(mode="json")), "tags": {}})
    else:
        journal.add("status", {"status": "RUNNING", "time": _now()})
    tracked = Tracked(config, journal, sender=sender, store=store)
    sender.add(journal)
    status = "FAILED"
    token = _open_run.set(tracked)
    try:
        with sampled(tracked, every_s=config.tracking.system_metrics_s if parent is None else 0):
            yield tracked
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        _open_run.reset(token)
        journal.add("status", {"status": status, "time": _now()})
        if parent is None and (left := sender.close()):
            log.warning("tracking: %d entries were not sent; medfuse sync %s sends them", left, folder)


def _start_sender(uri: str, *, patience_s: float) -> Sender:
    import_mlflow()
    sender = Sender(uri, lambda: MlflowStore(uri), patience_s=patience_s)
    sender.start()
    return sender


def sync(folder: Path, *, uri: str = "", patience_s: float = 60.0) -> int:
    """Send what a run, its folds and its trials logged while the store was away.

    Parameters
    ----------
    folder : Path
        Of the run.
    uri : str
        Another store, which then gets all of it; by default that of the run.
    patience_s : float
        Seconds without progress after which the rest is left for later.

    Returns
    -------
    int
        Entries that could not be sent.

    Raises
    ------
    UsageError
        If the folder is none of a tracked run.
    """
    # A parent before its children, which ask for it.
    journals = [Journal(path.parent) for path in sorted(folder.rglob("tracking.jsonl"), key=lambda p: len(p.parts))]
    starts = [entry.content for journal in journals[:1] for entry in journal.read() if entry.kind == "start"]
    if not starts or journals[0].folder != folder:
        raise UsageError(folder.name, "found no tracking.jsonl", expected="the folder of a run")
    own = starts[0]["uri"] or f"sqlite:///{(folder.resolve() / starts[0]['store']).resolve() / 'mlflow.db'}"
    sender = _start_sender(uri or own, patience_s=patience_s)
    for journal in journals:
        sender.add(journal)
    return sender.close()


class LogEpochs(lightning.Callback):
    """Log each epoch's figures.

    Parameters
    ----------
    tracked : Recorder
    """

    def __init__(self, tracked: Recorder) -> None:
        self.tracked = tracked

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log every figure as ``epoch/<figure>``, with the epoch as its step."""
        if trainer.is_global_zero:
            figures = {f"epoch/{name}": float(value) for name, value in trainer.callback_metrics.items()}
            self.tracked.log_metrics(figures, step=trainer.current_epoch)


def _contents(config: RunConfig) -> dict[str, str]:
    """Return tags by which runs are found."""
    targets = ", ".join(target.name for target in config.targets)
    return {"inputs": ", ".join(config.model.modalities), "targets": targets, "seed": str(config.seed)}


def _origin() -> dict[str, str]:
    """Return MLflow's own tags on where a run comes from."""
    tags = {"mlflow.source.name": "medfuse", "mlflow.source.type": "LOCAL"}
    if commit := git_commit():
        tags["mlflow.source.git.commit"] = commit
    with suppress(OSError, KeyError):  # a user id without a name, as in containers
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return math.floor(time.time() * 1000)
