"""Integrated gradients over voxels and words at once, by Captum, and the checks that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from medfuse.data import collate
from medfuse.errors import UsageError, nearest_name
from medfuse.explain.checks import deletion_check
from medfuse.explain.shares import modality_shares
from medfuse.inference import Predictor
from medfuse.models.answers import last_class_logit
from medfuse.tensors import Batch, Sample
from medfuse.text import FindingFlags, overlaps
from medfuse.text.tokens import UNKNOWN_ID
from medfuse.types import Array, Explanation, ReportText

__all__ = ["explain"]

N_STEPS = 32
"""Gauss-Legendre points between the baseline and the case."""

FLAGS = "flags"

INTERNAL_BATCH = 8
"""Points computed at once: memory stays that of one small batch."""


def explain(
    predictor: Predictor,
    sample: Sample,
    *,
    text: ReportText | None = None,
    affine: Array | None = None,
    target: str | None = None,
) -> Explanation:
    """Explain one case.

    Each voxel and each token gets its signed part of the difference, in logits of the positive class, between
    the case and a case without content: an even image at this image's median, and unknown words.

    Parameters
    ----------
    predictor : Predictor
    sample : Sample
        Prepared by the predictor's preprocessing.
    text : ReportText, optional
        What the sample's tokens come from; without it no token score is given.
    affine : ndarray, shape (4, 4), optional
        Index in the sample's image to RAS+ mm.
    target : str, optional
        By default the model's first.

    Returns
    -------
    Explanation
        Its ``checks``: ``completeness_delta``, the part of the difference in logits that the scores miss
        (0 is perfect); ``deletion_image`` and ``deletion_text``, how much more the answer moves when the
        highest-scored tenth is deleted than when a random tenth is (1 means no better than chance).

    Raises
    ------
    UsageError
        If the model has no such target, or the sample's tokens do not come from ``text``.

    Notes
    -----
    Source: Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks, eq. 1 (integrated gradients)
    and proposition 1 (completeness).
    """
    from captum.attr import IntegratedGradients

    bundle = predictor.bundle
    names = [t.name for t in bundle.targets]
    target = target or names[0]
    if target not in names:
        raise UsageError("target", f"the model has no {target!r}", expected=nearest_name(target, names))
    prediction = next(p for p in predictor.predict_samples([sample]) if p.target == target)
    logit = CaseLogit(predictor, sample, target)
    attributions, delta = IntegratedGradients(logit).attribute(
        logit.inputs(),
        baselines=logit.baselines(),
        n_steps=N_STEPS,
        method="gausslegendre",
        internal_batch_size=INTERNAL_BATCH,
        return_convergence_delta=True,
    )
    by_name = dict(zip(logit.names, attributions, strict=True))
    checks = {"completeness_delta": _relative(delta, logit)}
    image_map = by_name["image"][0].sum(dim=0).numpy() if "image" in by_name else None
    scores: tuple[tuple[int, int, float], ...] = ()
    if "text" in by_name:
        values = by_name["text"][0].sum(dim=-1)
        checks["deletion_text"] = deletion_check(logit, "text", values)
        if text is not None:
            offsets = _offsets(predictor, sample, text)
            if FLAGS in by_name:
                values = values + _on_tokens(by_name[FLAGS][0], predictor.preprocessing.flag(text), offsets)
            scores = tuple((a, b, float(v)) for (a, b), v in zip(offsets, values, strict=True))
    if image_map is not None:
        checks["deletion_image"] = deletion_check(logit, "image", by_name["image"][0].sum(dim=0))
    return Explanation(
        prediction,
        image=predictor.preprocessing.undo_window(sample.image) if sample.image is not None else None,
        image_map=image_map,
        affine=affine,
        text=text.text if text and "text" in prediction.modalities_used else "",
        token_scores=scores,
        modality_shares=modality_shares(predictor, sample, target=target),
        method=f"integrated gradients ({N_STEPS} Gauss-Legendre steps)",
        checks=checks,
        fusion_weights=logit.fusion_weights(),
    )


class CaseLogit:
    """The model as a function of one case's image and embedded tokens, as Captum wants it.

    Parameters
    ----------
    predictor : Predictor
    sample : Sample
    target : str
    """

    def __init__(self, predictor: Predictor, sample: Sample, target: str) -> None:
        bundle = predictor.bundle
        self.model = bundle.model
        self.target = target
        self._asked = next(one for one in bundle.targets if one.name == target)
        self.batch: Batch = collate(
            [sample], modalities=bundle.preprocessing.modalities, image_shape=bundle.preprocessing.image_shape
        )
        present = self.batch.present[0].tolist()
        here = tuple(m for m, is_here in zip(self.batch.modalities, present, strict=True) if is_here)
        here = tuple(name for name in here if name != "table")  # it stays as it is: a category has no baseline
        if not here:
            raise UsageError("case", "found neither image nor report to explain", expected="at least one of them")
        self.names = (*here, FLAGS) if "text" in here and self.batch.flags.shape[1] else here

    def inputs(self) -> tuple[Tensor, ...]:
        """Return image (1, C, I, J, K), embedded tokens (1, L, D) and flags (1, F), as far as the case has them."""
        given = {
            "image": lambda: self.batch.image,
            "text": lambda: self._embed(self.batch.token_ids),
            FLAGS: lambda: self.batch.flags,
        }
        return tuple(given[name]() for name in self.names)

    def baselines(self) -> tuple[Tensor, ...]:
        """Return the same of a case without content."""
        image, unknown = self.batch.image, torch.full_like(self.batch.token_ids, UNKNOWN_ID)
        given = {
            "image": lambda: torch.full_like(image, float(image.median())),
            "text": lambda: self._embed(unknown),
            FLAGS: lambda: torch.zeros_like(self.batch.flags),
        }
        return tuple(given[name]() for name in self.names)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the last class's log-odds, shape (B,), for B versions of the case."""
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
        logits: Tensor = self.model.forward_embedded(batch, given.get("text")).logits[self.target]
        return last_class_logit(logits, self._asked)

    def fusion_weights(self) -> dict[str, float]:
        """Return how far the fusion hears each modality of the case; empty if it does not say."""
        with torch.inference_mode():
            weights = self.model(self.batch).fusion_weights
        return {} if weights is None else dict(zip(self.batch.modalities, weights[0].tolist(), strict=True))

    def _embed(self, token_ids: Tensor) -> Tensor:
        with torch.no_grad():
            embedded: Tensor = self.model.embed(token_ids)
        return embedded


def _offsets(predictor: Predictor, sample: Sample, text: ReportText) -> tuple[tuple[int, int], ...]:
    """Return where each of the sample's tokens stands in the text."""
    encoding = predictor.preprocessing.encode(text)
    if encoding is None or sample.token_ids is None or list(encoding.ids) != sample.token_ids.tolist():
        raise UsageError("text", "found another text than the sample's", expected="the one that it was prepared from")
    return encoding.offsets


def _on_tokens(values: Tensor, flags: FindingFlags | None, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Give each flag's score, in equal parts, to the tokens of the mentions that it comes from."""
    scores = values.new_zeros(len(offsets))
    for value, spans in zip(values, flags.spans if flags else (), strict=False):
        tokens = [row for row, offset in enumerate(offsets) if overlaps(offset, spans)]
        scores[tokens] += value / max(len(tokens), 1)
    return scores


def _relative(delta: Tensor, logit: CaseLogit) -> float:
    with torch.inference_mode():
        difference = float((logit(*logit.inputs()) - logit(*logit.baselines())).abs())
    return float(delta.abs().sum()) / max(difference, float(np.finfo(np.float32).eps))
