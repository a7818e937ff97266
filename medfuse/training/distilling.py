"""A trained model's answers, for another one to learn beside the labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medfuse.config import DistilConfig, RunConfig
from medfuse.data import Case, to_samples
from medfuse.errors import ConfigError
from medfuse.inference import load_bundle, predict_logits
from medfuse.inference.bundle import Bundle
from medfuse.inference.calibration import conditions_of
from medfuse.inference.predictor import modalities_of
from medfuse.models.distillation import distillation_loss
from medfuse.models.distributed import gather_rows
from medfuse.tensors import Batch, ModelOutput
from medfuse.types import CaseId, Target

__all__ = ["Teacher", "ask_teacher"]

log = logging.getLogger("medfuse")
WHERE = "distil.teacher"


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """What a trained model says of each case.

    Parameters
    ----------
    config : DistilConfig
    targets : tuple of Target
    answers : mapping of CaseId to (mapping of str to Tensor of shape (N,))
        Logits by target, of the cases that have everything that it reads.
    model_id : str
        Of the model.
    """

    config: DistilConfig
    targets: tuple[Target, ...]
    answers: Mapping[CaseId, Mapping[str, Tensor]]
    model_id: str = ""

    def loss(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the mean over the targets of how far the answers are from the teacher's.

        Parameters
        ----------
        output : ModelOutput
            Of all processes.
        batch : Batch
            Of this process.
        """
        mine = [case in self.answers for case in batch.cases]
        known = gather_rows(torch.tensor(mine, device=batch.present.device))
        total = next(iter(output.logits.values())).sum() * 0.0
        for target in self.targets:
            logits = output.logits[target.name]
            empty = torch.zeros(logits.shape[1])
            rows = [self.answers[c][target.name] if c in self.answers else empty for c in batch.cases]
            theirs = gather_rows(torch.stack(rows).to(logits))
            total = total + distillation_loss(logits, theirs, known, target=target, temperature=self.config.temperature)
        return total / len(self.targets)


def ask_teacher(config: RunConfig, cases: Sequence[Case]) -> Teacher | None:
    """Ask the teacher of a configuration for every case, unchanged; None if it has none.

    Parameters
    ----------
    config : RunConfig
    cases : sequence of Case
        Of the training part. A case that lacks what the teacher reads is learnt by its label alone.

    Returns
    -------
    Teacher or None

    Raises
    ------
    ConfigError
        If it prepares images otherwise, or does not answer the same targets.
    """
    if not config.distil.teacher:
        return None
    bundle = load_bundle(Path(config.distil.teacher).expanduser())
    targets = tuple(target.build() for target in config.targets)
    _check(bundle, config, targets)
    samples = to_samples(cases, bundle.preprocessing)
    needed = set(bundle.preprocessing.modalities)
    whole = [i for i in range(len(samples)) if set(modalities_of(samples[i], tuple(needed))) == needed]
    if not whole:
        found = f"found no case with all that it reads ({', '.join(sorted(needed))})"
        raise ConfigError(WHERE, found, expected="cases with image and report")
    condition = next(iter(conditions_of(bundle.preprocessing.modalities)))  # with all that it reads
    logits = predict_logits(bundle, [samples[i] for i in whole])[condition]
    answers = {
        cases[i].id: {target.name: logits[target.name][row].clone() for target in targets}
        for row, i in enumerate(whole)
    }
    log.info("asked the teacher for %d of %d training cases", len(answers), len(cases))
    return Teacher(config.distil, targets, answers, bundle.model_id)


def _check(bundle: Bundle, config: RunConfig, targets: Sequence[Target]) -> None:
    prepared = bundle.preprocessing
    if "image" in prepared.modalities and (prepared.image, prepared.unit) != (config.data.image, config.data.unit):
        raise ConfigError(WHERE, "found a model that prepares images otherwise", expected="the same data.image")
    known = {target.name: target for target in bundle.targets}
    for target in targets:
        if known.get(target.name) != target:
            found = f"found a model that does not answer target {target.name!r} of these classes"
            raise ConfigError(WHERE, found, expected="a teacher of the same targets")
