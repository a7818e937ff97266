"""Cases + config -> a trained, calibrated bundle: the core that runs and folds share."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor

from medfuse.config import LossConfig, RunConfig
from medfuse.data import Case, Preprocessing
from medfuse.data.table import fit_table
from medfuse.errors import DataError, TrainingError
from medfuse.inference import Bundle, build_for, build_member_for
from medfuse.models import TargetLoss, pretrained_tokenizer
from medfuse.models.precision import train_in
from medfuse.text import PretrainedTokenizer, ReportTokenizer, TextTokenizer
from medfuse.training.calibrating import with_evidence
from medfuse.training.callbacks import KeepBest, StopInTime
from medfuse.training.case_data import CaseData
from medfuse.training.distilling import ask_teacher
from medfuse.training.epochs import run_epochs
from medfuse.training.module import Carried, ClassifierModule
from medfuse.training.pretraining import pretrain
from medfuse.training.transfer import FreezeEncoders, carry_over, layer_rates
from medfuse.types import Target

__all__ = ["Fit", "check_classes", "fit", "make_preprocessing"]

log = logging.getLogger("medfuse")


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A finished training.

    Parameters
    ----------
    bundle : Bundle
        The weights of the best epoch, calibrated on the validation cases.
    history : tuple of dict
        Figures of each epoch.
    best_epoch : int
        Counted from 0; of an ensemble, its first member's.
    is_complete : bool
        False if the time was up before the last epoch.
    reconstruction : mapping of str to float
        Errors of pretraining as an autoencoder, if there was any; of an ensemble, its first member's. See
        `medfuse.training.pretraining.reconstruction_errors`.
    weights : mapping of str to (mapping of str to object)
        What was loaded into each encoder that started from another training; see `medfuse.models.transfer.KeyReport`.
    """

    bundle: Bundle
    history: tuple[dict[str, float], ...]
    best_epoch: int
    is_complete: bool = True
    reconstruction: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class _Member(NamedTuple):
    """One trained model, and what came before its training; see `Fit`."""

    keep: KeepBest
    reconstruction: Mapping[str, float]
    weights: Mapping[str, Mapping[str, Any]]


def make_preprocessing(
    config: RunConfig, texts: Sequence[str] = (), rows: Sequence[Mapping[str, str]] = ()
) -> Preprocessing:
    """Return the preparation of a run.

    Parameters
    ----------
    config : RunConfig
    texts : sequence of str
        Training texts that the tokenizer is trained on, unless the text encoder brings its own; without them there
        is no tokenizer.
    rows : sequence of mapping of str to str
        Free columns of the training cases, by which the clinical table is standardised; without them there is none.

    Raises
    ------
    UsageError
        If there is no tokenizer to be had: no word to learn, or none beside the pretrained encoder.
    """
    return Preprocessing(
        config.data.image,
        config.data.text,
        config.data.unit,
        config.model.modalities,
        _make_tokenizer(config, texts) if texts else None,
        fit_table(config.data.table, rows) if rows and "table" in config.model.modalities else None,
    )


def _make_tokenizer(config: RunConfig, texts: Sequence[str]) -> TextTokenizer:
    pretrained = pretrained_tokenizer(config.model)
    if pretrained is not None:
        return PretrainedTokenizer.from_json(pretrained)
    return ReportTokenizer.train(texts, vocabulary_size=config.data.text.vocabulary_size)


def fit(
    config: RunConfig,
    *,
    train: Sequence[Case],
    validation: Sequence[Case],
    checkpoints: Path | None = None,
    callbacks: Sequence[lightning.Callback] = (),
    resume: bool = False,
) -> Fit:
    """Train, keep the best epochs, calibrate.

    Parameters
    ----------
    config : RunConfig
    train, validation : sequence of Case
        Of different patients. Every choice (epoch, temperature, threshold) is made on ``validation``.
    checkpoints : Path, optional
        Folder for the weights of the best epoch and, once an epoch, the whole state.
    callbacks : sequence of lightning.Callback
        For progress, tracking, and a limit of the time (`medfuse.training.callbacks.StopInTime`).
    resume : bool
        Go on from the state in ``checkpoints``, if there is one, to the very model that an unbroken training gives.

    Returns
    -------
    Fit

    Raises
    ------
    ConfigError
        If the options do not go together.
    DataError
        If a part has no case or lacks one of the classes.
    TrainingError
        If a loss or gradient is not finite, or no epoch was finished in time.
    """
    if config.compute.threads:
        torch.set_num_threads(config.compute.threads)
    texts = [c.text.text for c in train if c.text] if "text" in config.model.modalities else []
    preprocessing = make_preprocessing(config, texts, [case.row for case in train])
    targets = tuple(target.build() for target in config.targets)
    for name, cases in (("train", train), ("validation", validation)):
        check_classes(name, [case.targets for case in cases], targets)
    parts = {"train": train, "validation": validation}
    limits = [one for one in callbacks if isinstance(one, StopInTime)]
    trained: list[_Member] = []
    for number in range(config.model.members):
        seeded = config.model_copy(update={"seed": config.seed + number})
        folder = checkpoints / f"member-{number}" if checkpoints and config.model.members > 1 else checkpoints
        try:
            trained.append(
                _fit_member(seeded, preprocessing, parts, checkpoints=folder, callbacks=callbacks, resume=resume)
            )
        except TrainingError:
            if trained and any(limit.is_up for limit in limits):
                break  # there was no time for this one's first epoch; the others answer without it
            raise
    members = [one.keep for one in trained]
    model_config = config.model.model_copy(update={"members": len(members)})
    attributes = tuple(item.build() for item in config.attributes)
    model = build_for(preprocessing, model_config, [*targets, *attributes])
    model.load_state_dict(_joined_weights(members, list(model.state_dict())))
    prevalence = {target.name: _share_positive(train, target) for target in targets}
    bundle = Bundle(
        model.cpu().eval(),
        model_config,
        preprocessing,
        targets,
        {},
        prevalence,
        series=config.data.series,
        attributes=attributes,
    )
    calibrated = with_evidence(bundle, train, validation)
    history = tuple(
        row if config.model.members == 1 else {"member": float(number), **row}
        for number, keep in enumerate(members)
        for row in keep.history
    )
    is_complete = len(members) == config.model.members and not any(limit.is_up for limit in limits)
    return Fit(calibrated, history, members[0].best_epoch, is_complete, trained[0].reconstruction, trained[0].weights)


def _fit_member(
    config: RunConfig,
    preprocessing: Preprocessing,
    parts: Mapping[str, Sequence[Case]],
    *,
    checkpoints: Path | None,
    callbacks: Sequence[lightning.Callback],
    resume: bool,
) -> _Member:
    """Train one model from its seed."""
    lightning.seed_everything(config.seed, verbose=False)
    train = parts["train"]
    losses = {
        target.name: TargetLoss(target, config.optim.loss, counts=_class_counts(train, target))
        for target in (item.build() for item in config.targets)
    }
    attributes = {one.name: TargetLoss(one, LossConfig()) for one in (item.build() for item in config.attributes)}
    learnt = [loss.target for loss in (*losses.values(), *attributes.values())]
    model = build_member_for(preprocessing, config.model, learnt)
    train_in(model, getattr(torch, config.compute.precision))
    weights = carry_over(model, config.transfer)
    data = CaseData(config, preprocessing, model=model, parts=parts)
    errors = pretrain(model, data, config, preprocessing) if config.pretrain.epochs else {}
    module = ClassifierModule(
        model,
        losses=losses,
        attributes=attributes,
        optim=config.optim,
        steps=config.optim.epochs * math.ceil(data.n_batches / config.optim.accumulate),
        carried=Carried(
            layer_rates(model, config.transfer, config.optim.learning_rate), teacher=ask_teacher(config, train)
        ),
    )
    keep = KeepBest(patience=config.optim.patience, n_best=config.optim.average_best, folder=checkpoints)
    state = checkpoints / "last" / "state.safetensors" if checkpoints else None
    run_epochs(module, data, callbacks=[FreezeEncoders(config.transfer), keep, *callbacks], state=state, resume=resume)
    if not keep.best_weights:
        found = "no epoch had a finite validation loss"
        raise TrainingError("training", found, expected="a smaller optim.learning_rate")
    return _Member(keep, errors, weights)


def _joined_weights(members: Sequence[KeepBest], names: Sequence[str]) -> dict[str, Tensor]:
    """Return the weights that an ensemble, or the one model, is made of."""
    if len(members) == 1:
        weights = members[0].best_weights
        return {name: weights[name] for name in names}
    each = {f"members.{k}.{name}": t for k, keep in enumerate(members) for name, t in keep.best_weights.items()}
    return {name: each[name] for name in names}


def check_classes(part: str, labels: Sequence[Mapping[str, int]], targets: Sequence[Target]) -> None:
    """Refuse a part that lacks a class of a target.

    Parameters
    ----------
    part : str
        Its name.
    labels : sequence of mapping of str to int
        Class index by target, one mapping a case.
    targets : sequence of Target

    Raises
    ------
    DataError
        Naming the part and the target.
    """
    for target in targets:
        found = {known[target.name] for known in labels if target.name in known}
        if len(found) < len(target.classes):
            message = f"found {len(found)} classes of target {target.name!r} among {len(labels)} cases"
            raise DataError(f"{part} part", message, expected="cases of every class")


def _class_counts(cases: Sequence[Case], target: Target) -> list[int]:
    known = [case.targets[target.name] for case in cases if target.name in case.targets]
    return [known.count(index) for index in range(len(target.classes))]


def _share_positive(cases: Sequence[Case], target: Target) -> float:
    counts = _class_counts(cases, target)
    return counts[-1] / sum(counts)
