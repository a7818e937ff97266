"""A small search over a configuration's keys, by the validation part alone: the test part is never handed in."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import pandas as pd
import yaml

from medfuse.config import RunConfig, flatten
from medfuse.data import Case
from medfuse.errors import TrainingError, UsageError
from medfuse.training.callbacks import StopInTime
from medfuse.training.fitting import fit
from medfuse.training.search import Space, Value, apply, check_space, describe_space, suggest
from medfuse.training.tracking import LogEpochs, Tracked, tracked_run
from medfuse.whole_files import write_whole

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

__all__ = ["Search", "TuneOptions", "tune"]

log = logging.getLogger("medfuse")
STUDY, TRIALS, BEST = "study.log", "trials.csv", "best.yaml"
STARTUP_TRIALS = 5  # drawn at random, and never pruned against fewer


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How long a search goes on.

    Parameters
    ----------
    n_trials : int
        In all, those of an earlier part of the search among them.
    max_seconds : float
        After which no trial starts, and the running one is given up.
    resume : bool
        Go on with the search that the folder holds.
    data_digest : str
        Of the manifest; a search goes on only with the same data.
    """

    n_trials: int = 20
    max_seconds: float = math.inf
    resume: bool = False
    data_digest: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """A search that ended.

    Parameters
    ----------
    config : RunConfig
        The best trial's, as in ``best.yaml``.
    validation_loss : float
        Of its best epoch.
    trial : int
        Its number, from 0.
    n_trials, n_pruned : int
    """

    config: RunConfig
    validation_loss: float
    trial: int
    n_trials: int
    n_pruned: int


def tune(
    config: RunConfig,
    space: Space,
    *,
    train: Sequence[Case],
    validation: Sequence[Case],
    out: Path,
    options: TuneOptions,
) -> Search:
    """Search for the values of lowest validation loss.

    Parameters
    ----------
    config : RunConfig
        What every trial starts from.
    space : mapping of str to Dimension
        What varies; see `medfuse.training.search.read_space`.
    train, validation : sequence of Case
        Of different patients. There is no way to hand the test part in.
    out : Path
        Gets ``best.yaml``, ``trials.csv``, ``study.log`` and an MLflow run with one child a trial.
    options : TuneOptions

    Returns
    -------
    Search

    Raises
    ------
    ConfigError
        If the space names a key that does not exist.
    UsageError
        If the folder holds a search already, or another one than is to be gone on with.
    TrainingError
        If no trial came to an end.

    Notes
    -----
    Trials are drawn by the tree-structured Parzen estimator, and one that is worse than the median of the earlier ones
    at the same epoch is given up. Each draw is seeded by the number of trials before it, so that a search that was
    killed and goes on finds what an unbroken one would. Source: Bergstra et al. 2011, Algorithms for hyper-parameter
    optimization; Akiba et al. 2019, Optuna.
    """
    started = time.monotonic()
    check_space(config, space)
    study = _open_study(config, space, out, options)
    digests = {"data_digest": options.data_digest, "config_digest": _digest(config, space)}
    with tracked_run(config, out, digests=digests, name=f"{config.name} search", resume=options.resume) as tracked:
        tracked.log_cases(train, name="train part", context="training")
        tracked.log_cases(validation, name="validation part", context="validation")
        while (number := len(_finished(study))) < options.n_trials:
            left = options.max_seconds - (time.monotonic() - started)
            if left <= 0 or not _run_trial(study, config, space, out=out, parts=(train, validation), left=left):
                log.warning("the time was up after %d trials; --resume goes on", number)
                break
            _show(study, number, options.n_trials)
            _write(study, config, out)
            tracked.log_metrics({"best_validation_loss": _best_loss(study)}, step=number)
        best = _write(study, config, out)
        _log_search(tracked, best, space)
    return best


def _open_study(config: RunConfig, space: Space, out: Path, options: TuneOptions) -> Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    is_there = (out / STUDY).exists()
    if is_there and not options.resume:
        raise UsageError(f"--out {out.name}", "found a search", expected="--resume to go on with it, or a new folder")
    out.mkdir(parents=True, exist_ok=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=config.optim.epochs // 4)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(out / STUDY))),
        study_name="medfuse",
        pruner=pruner,
        load_if_exists=True,
    )
    origin = {"digest": _digest(config, space), "data_digest": options.data_digest}
    before = study.user_attrs.get("origin")
    if before not in (None, origin):
        found = "found other data" if before["digest"] == origin["digest"] else "found another config or search space"
        raise UsageError("--resume", found, expected="those that the search began with")
    study.set_user_attr("origin", origin)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,), deepcopy=False):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # its process was killed; it is drawn again
    return study


def _run_trial(
    study: Study,
    config: RunConfig,
    space: Space,
    *,
    out: Path,
    parts: tuple[Sequence[Case], Sequence[Case]],
    left: float,
) -> bool:
    """Run one trial; return whether it came to an end before the time was up."""
    import optuna
    from optuna.trial import TrialState

    number = len(_finished(study))
    seed = int(np.random.SeedSequence((config.seed, number)).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
    trial = study.ask()
    values = suggest(trial, space)
    chosen = apply(config, values)
    folder = out / "trials" / f"{number:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    stop = StopInTime(left)
    shown = {key: str(value) for key, value in values.items()}
    with tracked_run(chosen, folder, digests=shown, name=f"trial {number}", resume=True) as tracked:
        try:
            done = fit(chosen, train=parts[0], validation=parts[1], callbacks=[LogEpochs(tracked), _Prune(trial), stop])
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            tracked.log_values(tags={"trial_state": "pruned"})
            return True
        except TrainingError as error:
            if stop.is_up:
                study.tell(trial, state=TrialState.FAIL)
                return False
            trial.set_user_attr("reason", str(error))
            study.tell(trial, state=TrialState.PRUNED)
            tracked.log_values(tags={"trial_state": "failed"})
            return True
        if not done.is_complete:
            study.tell(trial, state=TrialState.FAIL)
            tracked.log_values(tags={"trial_state": "out of time"})
            return False
        trial.set_user_attr("best_epoch", done.best_epoch)
        study.tell(trial, done.history[done.best_epoch]["validation_loss"])
        tracked.log_values(tags={"trial_state": "complete"})
    return True


class _Prune(lightning.Callback):
    """Report each epoch's validation loss to a trial, and end it when it has fallen behind."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report; it runs after the epoch's validation."""
        import optuna

        loss = float(trainer.callback_metrics["validation_loss"])
        if math.isfinite(loss):
            self.trial.report(loss, step=trainer.current_epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned


def _finished(study: Study) -> list[FrozenTrial]:
    """Return the trials that count, in order; one that was killed or ran out of time is drawn again."""
    from optuna.trial import TrialState

    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED), deepcopy=False)


def _best_loss(study: Study) -> float:
    return min((float(trial.value) for trial in _finished(study) if trial.value is not None), default=math.nan)


def _rows(study: Study) -> list[dict[str, Any]]:
    rows = []
    for number, trial in enumerate(_finished(study)):
        is_complete = trial.state.name == "COMPLETE"
        reason = trial.user_attrs.get("reason", "")
        rows.append(
            {
                "trial": number,
                "state": "complete" if is_complete else "failed" if reason else "pruned",
                "validation_loss": trial.value if is_complete else math.nan,
                "epochs": len(trial.intermediate_values),
                **trial.params,
                "reason": reason,
            }
        )
    return rows


def _write(study: Study, config: RunConfig, out: Path) -> Search:
    """Write trials.csv and, once a trial is complete, best.yaml."""
    rows = _rows(study)
    pd.DataFrame(rows).to_csv(out / TRIALS, index=False)
    complete = [row for row in rows if row["state"] == "complete"]
    if not complete:
        if len(rows) < STARTUP_TRIALS:
            return Search(config, math.nan, -1, len(rows), 0)
        raise TrainingError("tune", f"none of {len(rows)} trials came to an end", expected="a narrower search space")
    first = min(complete, key=lambda row: row["validation_loss"])
    params: Mapping[str, Value] = _finished(study)[first["trial"]].params
    best = apply(config, params)
    write_whole(out / BEST, yaml.safe_dump(best.model_dump(mode="json"), sort_keys=False).encode())
    return Search(best, first["validation_loss"], first["trial"], len(rows), len(rows) - len(complete))


def _show(study: Study, number: int, n_trials: int) -> None:
    row = _rows(study)[number]
    figure = f"validation loss {row['validation_loss']:.4f}" if row["state"] == "complete" else row["state"]
    log.info("trial %d of %d: %s, best %.4f", number + 1, n_trials, figure, _best_loss(study))


def _log_search(tracked: Tracked, best: Search, space: Space) -> None:
    text = (
        f"Search over {', '.join(space)}: {best.n_trials} trials, {best.n_pruned} of them given up early. The lowest "
        f"validation loss is {best.validation_loss:.4f}, of trial {best.trial}. As the best of many on "
        "the same validation cases it promises too much; the test part was never looked at."
    )
    tracked.log_values(tags={"mlflow.note.content": text})
    for name in (BEST, TRIALS):
        if (tracked.journal.folder / name).exists():
            tracked.log_artifact(name)


def _digest(config: RunConfig, space: Space) -> str:
    """Tell searches apart by what their trials depend on."""
    exact = flatten(config.model_dump(mode="json", exclude={"name", "compute", "tracking"}))
    content = json.dumps({"config": exact, "space": describe_space(space)}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
