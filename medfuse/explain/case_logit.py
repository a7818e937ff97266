"""One case's answer as a function of what can be moved: its voxels, its embedded words, its flags, its table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from medfuse.data import collate
from medfuse.errors import UsageError, nearest_name
from medfuse.explain.held_inputs import encoded_once
from medfuse.inference import Bundle, Predictor
from medfuse.inference.calibration import conditions_of
from medfuse.models import Ensemble, StudyClassifier
from medfuse.models.answers import last_class_logit
from medfuse.models.precision import Conv3d
from medfuse.tensors import Batch, Sample
from medfuse.text.tokens import UNKNOWN_ID

__all__ = ["FLAGS", "CaseLogit", "Classifier", "members_of"]

Classifier = StudyClassifier | Ensemble

FLAGS = "flags"
"""What a text says of each label, beside its words; see `medfuse.text.finding_flags`."""


class CaseLogit:
    """The model as a function of one case's image, embedded tokens and flags, as Captum wants it.

    Parameters
    ----------
    predictor : Predictor
    sample : Sample
        Prepared by the predictor's preprocessing.
    target : str

    Attributes
    ----------
    names : tuple of str
        What ``inputs`` gives, in this order; everything else of the case stays as it is.

    Raises
    ------
    UsageError
        If the model has no such target, or the case has neither image nor text.
    """

    _ends: tuple[float, float] | None = None

    def __init__(self, predictor: Predictor, sample: Sample, target: str) -> None:
        bundle = predictor.bundle
        targets = {one.name: one for one in bundle.targets}
        if target not in targets:
            raise UsageError("target", f"the model has no {target!r}", expected=nearest_name(target, targets))
        self.bundle: Bundle = bundle
        self.model: Classifier = bundle.model
        self.target = targets[target]
        preprocessing = bundle.preprocessing
        self.batch: Batch = collate(
            [replace(sample, image_features=None)],
            modalities=preprocessing.modalities,
            image_shape=preprocessing.image_shape,
        )
        present = self.batch.present[0].tolist()
        self.modalities = tuple(m for m, here in zip(self.batch.modalities, present, strict=True) if here)
        # A table stays as it is: between two categories lies nothing.
        self.names = tuple(name for name in self.modalities if name != "table")
        if not self.names:
            raise UsageError("case", "found neither image nor report to explain", expected="at least one of them")
        if "text" in self.names and self.batch.flags.shape[1]:
            self.names = (*self.names, FLAGS)
        self._known: dict[tuple[int, str], Tensor] = {}

    def moving(self, names: Sequence[str]) -> CaseLogit:
        """Return the same function of fewer inputs; the others stay as the case has them."""
        other = self._changed("names", tuple(name for name in self.names if name in names))
        other._known = self._known
        return other

    def by(self, model: Classifier) -> CaseLogit:
        """Return the same case asked of another model of the same kind."""
        return self._changed("model", model)

    def _changed(self, field: str, value: object) -> CaseLogit:
        other = object.__new__(CaseLogit)
        other.__dict__.update(self.__dict__ | {"_known": {}, "_ends": None, field: value})
        return other

    def with_image(self, image: Tensor) -> CaseLogit:
        """Return the same case with another image, shape (1, C, I, J, K)."""
        return self._changed("batch", replace(self.batch, image=image))

    def with_table(self, table: Tensor) -> CaseLogit:
        """Return the same case with another table, shape (1, T)."""
        return self._changed("batch", replace(self.batch, table=table))

    def inputs(self) -> tuple[Tensor, ...]:
        """Return image (1, C, I, J, K), embedded tokens (1, L, D) and flags (1, F), as far as they move."""
        given = {
            "image": lambda: self.batch.image,
            "text": lambda: self._embed(self.batch.token_ids),
            FLAGS: lambda: self.batch.flags,
        }
        return tuple(given[name]() for name in self.names)

    def baselines(self) -> tuple[Tensor, ...]:
        """Return the same of a case without content: an even image at this one's median, and unknown words."""
        image, unknown = self.batch.image, torch.full_like(self.batch.token_ids, UNKNOWN_ID)
        given = {
            "image": lambda: image.flatten(2).median(dim=2).values[..., None, None, None].expand_as(image),
            "text": lambda: self._embed(unknown),
            FLAGS: lambda: torch.zeros_like(self.batch.flags),
        }
        return tuple(given[name]() for name in self.names)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the last class's log-odds, shape (B,), for B versions of the case."""
        return last_class_logit(self.logits(*inputs), self.target)

    def logits(self, *inputs: Tensor) -> Tensor:
        """Return the logits, shape (B, N), for B versions of the case."""
        n = len(inputs[0])
        given = dict(zip(self.names, inputs, strict=True))
        batch = replace(
            self.batch,
            cases=self.batch.cases * n,
            image=given.get("image", self.batch.image.expand(n, -1, -1, -1, -1)),
            token_ids=self.batch.token_ids.expand(n, -1),
            token_mask=self.batch.token_mask.expand(n, -1),
            flags=given.get(FLAGS, self.batch.flags.expand(n, -1)),
            present=self.batch.present.expand(n, -1),
            table=self.batch.table.expand(n, -1),
        )
        embedded = given.get("text")
        if embedded is None and "text" in self.modalities:
            embedded = self._embed(self.batch.token_ids).expand(n, -1, -1)
        moving = {"text"} if self.names == (FLAGS,) else set(self.names)
        with encoded_once(members_of(self.model), moving=moving, known=self._known):
            output = self.model.forward_embedded(batch, embedded)
        logits: Tensor = output.logits[self.target.name]
        return logits

    @torch.inference_mode()
    def at(self, *inputs: Tensor, batch_size: int = 8) -> Tensor:
        """Return what calling does, without gradients and a few versions at a time."""
        return torch.cat([self(*piece) for piece in _pieces(inputs, batch_size)])

    def probabilities(self, *inputs: Tensor, batch_size: int = 8) -> Tensor:
        """Return the calibrated probability of the last class, shape (B,), for B versions of the case."""
        by_condition = self.bundle.calibration[self.target.name]
        conditions = conditions_of(self.bundle.preprocessing.modalities)
        condition = next(name for name, parts in conditions.items() if parts == self.modalities)
        with torch.inference_mode():
            logits = torch.cat([self.logits(*piece) for piece in _pieces(inputs, batch_size)])
        return by_condition[condition].probabilities(logits, self.target)[:, -1]

    def ends(self) -> tuple[float, float]:
        """Return the log-odds of the case and of the one without content."""
        if self._ends is None:
            both = (torch.cat(pair) for pair in zip(self.inputs(), self.baselines(), strict=True))
            full, none = self.at(*both).tolist()
            self._ends = full, none
        return self._ends

    def fusion_weights(self) -> dict[str, float]:
        """Return how far the fusion hears each modality of the case; empty if it does not say."""
        with torch.inference_mode():
            weights = self.model(self.batch).fusion_weights
        return {} if weights is None else dict(zip(self.batch.modalities, weights[0].tolist(), strict=True))

    def _embed(self, token_ids: Tensor) -> Tensor:
        with torch.no_grad():
            embedded: Tensor = self.model.embed(token_ids)
        return embedded

    @contextmanager
    def frozen(self, *, bfloat16: bool = False) -> Iterator[None]:
        """Keep no gradient of weights meanwhile; convolutions in bfloat16 if asked for, where that is right."""
        needed = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        convolutions = [part for part in self.model.modules() if bfloat16 and isinstance(part, Conv3d)]
        before = [part.train_dtype for part in convolutions]
        try:
            for parameter in needed:
                parameter.requires_grad_(False)
            for part in convolutions:  # `training` says nothing else of a convolution
                part.training, part.train_dtype = True, torch.bfloat16
            yield
        finally:
            for parameter in needed:
                parameter.requires_grad_(True)
            for part, dtype in zip(convolutions, before, strict=True):
                part.training, part.train_dtype = False, dtype


def _pieces(inputs: tuple[Tensor, ...], size: int) -> Iterator[tuple[Tensor, ...]]:
    for start in range(0, len(inputs[0]), size):
        yield tuple(tensor[start : start + size] for tensor in inputs)


def members_of(model: Classifier) -> list[StudyClassifier]:
    """Return the classifiers that a model is made of: itself, or an ensemble's members."""
    return [part for part in model.modules() if isinstance(part, StudyClassifier)]
