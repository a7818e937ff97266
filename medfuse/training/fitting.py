"""Cases + config -> a trained, calibrated bundle: the core that runs and folds share."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader

from medfuse.config import RunConfig
from medfuse.data import Augmentation, Case, CaseDataset, Preprocessing, collate, to_samples
from medfuse.errors import DataError, TrainingError
from medfuse.evaluation import choose_threshold, fit_calibration
from medfuse.inference import Bundle, Calibration, build_for, predict_logits
from medfuse.inference.calibration import conditions_of
from medfuse.inference.predictor import modalities_of
from medfuse.models import pretrained_tokenizer
from medfuse.tensors import Sample
from medfuse.text import PretrainedTokenizer, ReportTokenizer, TextTokenizer
from medfuse.training.callbacks import KeepBest, StartEpoch
from medfuse.training.module import ClassifierModule
from medfuse.types import Target

__all__ = ["Fit", "calibrate", "check_classes", "fit", "make_preprocessing"]

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
        Counted from 0.
    """

    bundle: Bundle
    history: tuple[dict[str, float], ...]
    best_epoch: int


def make_preprocessing(config: RunConfig, texts: Sequence[str] = ()) -> Preprocessing:
    """Return the preparation of a run.

    Parameters
    ----------
    config : RunConfig
    texts : sequence of str
        Training texts that the tokenizer is trained on, unless the text encoder brings its own; without them there
        is no tokenizer.

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
) -> Fit:
    """Train, keep the best epoch, calibrate.

    Parameters
    ----------
    config : RunConfig
    train, validation : sequence of Case
        Of different patients. Every choice (epoch, temperature, threshold) is made on ``validation``.
    checkpoints : Path, optional
        Folder for the weights of the best and the last epoch.
    callbacks : sequence of lightning.Callback
        For progress and tracking.

    Returns
    -------
    Fit

    Raises
    ------
    DataError
        If a part has no case or lacks one of the classes.
    TrainingError
        If the loss is not finite.
    """
    lightning.seed_everything(config.seed, verbose=False)
    texts = [c.text.text for c in train if c.text] if "text" in config.model.modalities else []
    preprocessing = make_preprocessing(config, texts)
    targets = tuple(target.build() for target in config.targets)
    attributes = {attribute.column: attribute.build() for attribute in config.attributes}
    learnt = (*targets, *attributes.values())
    model = build_for(preprocessing, config.model, learnt)
    parts = {
        name: to_samples(cases, preprocessing, attributes=attributes)
        for name, cases in (("train", train), ("validation", validation))
    }
    for name, samples in parts.items():
        check_classes(name, [sample.targets for sample in samples], targets)

    optim = config.optim
    augmentation = Augmentation(token_dropout=optim.token_dropout) if optim.augment else None
    stack = partial(
        collate,
        modalities=preprocessing.modalities,
        image_shape=preprocessing.image_shape,
        targets=[t.name for t in learnt],
    )
    dataset = CaseDataset(parts["train"], augmentation=augmentation, seed=config.seed)
    loader: DataLoader[Sample] = DataLoader(
        dataset,
        batch_size=min(optim.batch_size, len(dataset)),
        shuffle=True,
        drop_last=True,  # a last batch of one case has no other to contrast or normalise with
        collate_fn=stack,
        generator=torch.Generator().manual_seed(config.seed),
    )
    held_out: DataLoader[Sample] = DataLoader(CaseDataset(parts["validation"]), batch_size=128, collate_fn=stack)
    keep = KeepBest(patience=optim.patience, folder=checkpoints)
    module = ClassifierModule(
        model,
        targets=targets,
        attributes=tuple(attributes.values()),
        optim=optim,
        steps=optim.epochs * len(loader),
    )
    _run(module, loader, held_out, [StartEpoch(dataset), keep, *callbacks], epochs=optim.epochs)
    if not keep.best_weights:
        raise TrainingError(
            "training", "no epoch had a finite validation loss", expected="a smaller optim.learning_rate"
        )
    # Without the attributes' heads, which have done their work.
    model = build_for(preprocessing, config.model, targets)
    model.load_state_dict({name: keep.best_weights[name] for name in model.state_dict()})
    prevalence = {t.name: _share_positive(parts["train"], t.name) for t in targets}
    bundle = Bundle(model.cpu().eval(), config.model, preprocessing, targets, {}, prevalence, series=config.data.series)
    calibrated = replace(bundle, calibration=calibrate(bundle, parts["validation"]))
    return Fit(calibrated, tuple(keep.history), keep.best_epoch)


def _run(
    module: ClassifierModule,
    loader: DataLoader[Sample],
    held_out: DataLoader[Sample],
    callbacks: Sequence[lightning.Callback],
    *,
    epochs: int,
) -> None:
    # Lightning reports the machine at every start and advises on workers; samples are in memory here.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*number of training batches.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        # A frozen encoder stays in eval mode on purpose.
        warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode at the start of training.*")
        # Lightning 2.6 asks torch 2.13 for a leaf in a way that torch is about to retire.
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="auto",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=1.0,
            callbacks=list(callbacks),
        )
        trainer.fit(module, loader, held_out)


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


def _share_positive(samples: Sequence[Sample], target: str) -> float:
    known = [sample.targets[target] for sample in samples if target in sample.targets]
    return sum(known) / len(known)


def calibrate(bundle: Bundle, samples: Sequence[Sample]) -> dict[str, dict[str, Calibration]]:
    """Fit calibration and threshold of every target and condition.

    Parameters
    ----------
    bundle : Bundle
        Its own calibration is not read.
    samples : sequence of Sample
        Of validation cases; each counts only under conditions whose modalities it has.

    Returns
    -------
    dict of str to dict of str to Calibration
        By target, then by condition; the neutral one where the cases lack a class, which is logged.
    """
    logits = predict_logits(bundle, samples)
    modalities = bundle.preprocessing.modalities
    present = [set(modalities_of(sample, modalities)) for sample in samples]
    calibration: dict[str, dict[str, Calibration]] = {}
    for target in bundle.targets:
        calibration[target.name] = {}
        for condition, needed in conditions_of(modalities).items():
            # A case that lacks a modality is never answered under this condition: it must not shape the answer.
            known = [i for i, s in enumerate(samples) if target.name in s.targets and set(needed) <= present[i]]
            labels = [samples[i].targets[target.name] for i in known]
            if len(set(labels)) < 2:
                log.warning("%s, %s: not calibrated, since its validation cases lack a class", target.name, condition)
                calibration[target.name][condition] = Calibration()
                continue
            values = logits[condition][target.name][known].double()
            temperature, biases = fit_calibration(labels, values[:, 0].numpy())
            fitted = Calibration(temperature, biases=biases)
            positive = fitted.probabilities(values, target)[:, 1].numpy()
            calibration[target.name][condition] = replace(fitted, threshold=choose_threshold(labels, positive))
    return calibration
