"""Attribution by gradients between a case and one without content, by Captum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from medfuse.errors import ConfigError
from medfuse.explain.case_logit import CaseLogit
from medfuse.explain.method import Method, Scores, at_least, seeded

__all__ = ["GradientShap", "IntegratedGradients", "Precision", "agrees_in_bfloat16", "by_input", "check_precision"]

AGREEMENT = 0.02
"""Largest error of bfloat16 at either end of the path, as a part of the difference between the ends."""

ALLOWED = 0.05
"""Largest part of the difference that the scores may miss."""

A_PART = 8
"""Most points on one part of the way."""

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class IntegratedGradients(Method):
    """Mean gradient on the straight way from a case without content to the case, times the way.

    Of text the embedded words move: the same as Captum's layer integrated gradients at the embedding.

    Parameters
    ----------
    n_steps : int
        Gauss-Legendre points on the way, of which each part has up to eight.
    most_steps : int
        While the parts' scores miss more than 5 % of the difference, the part that misses most is halved, and each
        half takes as many points again, up to so many in all.
    internal_batch : int
        Points computed at once: memory stays that of so small a batch.
    precision : {"float32", "bfloat16"}
        Of the image encoder's convolutions. bfloat16 is used only where it agrees: where both ends of the way differ
        from float32 by at most 2 % of what lies between them.

    Raises
    ------
    ConfigError
        If an option is out of range.

    Notes
    -----
    Source: Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks, eq. 1 and proposition 1 (completeness),
    which holds of each part of the way too: what a part misses says where more points are needed, as in Bhat &
    Raychowdhury 2023, Non-Uniform Interpolation in Integrated Gradients.
    """

    n_steps: int = 32
    most_steps: int = 128
    internal_batch: int = 8
    precision: Precision = "float32"

    explains: ClassVar[tuple[str, ...]] = ("image", "text", "flags")
    is_complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least("n_steps", self.n_steps, 2)
        at_least("most_steps", self.most_steps, self.n_steps)
        at_least("internal_batch", self.internal_batch, 1)
        check_precision(self.precision)

    def unrefined(self) -> IntegratedGradients:
        """Return the method with the points of one part alone, whatever its scores miss."""
        n_steps = min(self.n_steps, A_PART)
        return replace(self, n_steps=n_steps, most_steps=n_steps)

    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score all that moves at once."""
        n_parts = -(-self.n_steps // A_PART)
        points = -(-self.n_steps // n_parts)
        with case.frozen(bfloat16=self.precision == "bfloat16" and agrees_in_bfloat16(case)):
            way = _Way(case, points=points, internal_batch=self.internal_batch)
            parts = way.parts([i / n_parts for i in range(n_parts + 1)])
            steps = n_parts * points
            allowed = ALLOWED * abs(sum(part.difference for part in parts))
            while sum(part.missed for part in parts) > allowed and steps + 2 * points <= self.most_steps:
                worst = parts.pop(int(np.argmax([part.missed for part in parts])))
                parts += way.parts([worst.start, (worst.start + worst.end) / 2, worst.end])
                steps += 2 * points
        return by_input(
            case, tuple(torch.stack(found).sum(dim=0) for found in zip(*(part.scores for part in parts), strict=True))
        )


@dataclass(frozen=True)
class _Part:
    """A part of the way, from ``start`` to ``end`` in 0..1: what the answer changes by on it, and its scores."""

    start: float
    end: float
    difference: float
    scores: tuple[Tensor, ...]

    @property
    def missed(self) -> float:
        """How far the scores are from what they divide."""
        return abs(sum(float(one.sum(dtype=torch.float64)) for one in self.scores) - self.difference)


class _Way:
    """The straight way from a case without content to the case."""

    def __init__(self, case: CaseLogit, *, points: int, internal_batch: int) -> None:
        from captum.attr import IntegratedGradients as Captum

        self.case, self.points, self.internal_batch = case, points, internal_batch
        self.explainer = Captum(case)
        self.inputs, self.baselines = case.inputs(), case.baselines()

    def at(self, place: float) -> tuple[Tensor, ...]:
        """Return the inputs at a place of the way."""
        return tuple(torch.lerp(none, full, place) for full, none in zip(self.inputs, self.baselines, strict=True))

    def parts(self, places: list[float]) -> list[_Part]:
        """Score each part between two places that follow each other."""
        ends = [self.at(place) for place in places]
        answers = self.case.at(*(torch.cat(each) for each in zip(*ends, strict=True))).tolist()
        found = []
        for i in range(len(places) - 1):
            scores = self.explainer.attribute(
                ends[i + 1],
                baselines=ends[i],
                n_steps=self.points,
                method="gausslegendre",
                internal_batch_size=self.internal_batch,
            )
            found.append(_Part(places[i], places[i + 1], answers[i + 1] - answers[i], scores))
        return found


@dataclass(frozen=True)
class GradientShap(Method):
    """Gradients at random points between the case and randomly chosen cases without content.

    The image without content is even at this image's median, at its darkest, or at its mean; a text without content
    holds unknown words.

    Parameters
    ----------
    n_samples : int
    noise : float
        Standard deviation of what is added to the case before, as a part of the spread of its values.
    internal_batch : int
        Points computed at once.

    Raises
    ------
    ConfigError
        If an option is out of range.

    Notes
    -----
    Source: Lundberg & Lee 2017, A Unified Approach to Interpreting Model Predictions, and its package ``shap``
    (GradientExplainer, expected gradients: Erion et al. 2021, eq. 1).
    """

    n_samples: int = 16
    noise: float = 0.0
    internal_batch: int = 8

    explains: ClassVar[tuple[str, ...]] = ("image", "text", "flags")
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("n_samples", "internal_batch"):
            at_least(name, getattr(self, name), 1)
        at_least("noise", self.noise, 0.0)

    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score all that moves at once."""
        from captum.attr import GradientShap as Captum

        inputs = case.inputs()
        spreads = tuple(self.noise * float(tensor.std()) if tensor.numel() > 1 else 0.0 for tensor in inputs)
        total = [torch.zeros_like(tensor) for tensor in inputs]
        with case.frozen(), seeded(seed):
            explainer, baselines = Captum(case), _some_without_content(case)
            for start in range(0, self.n_samples, self.internal_batch):
                n = min(self.internal_batch, self.n_samples - start)
                found = explainer.attribute(inputs, baselines=baselines, n_samples=n, stdevs=spreads)
                total = [have + n * more for have, more in zip(total, found, strict=True)]
        return by_input(case, tuple(tensor / self.n_samples for tensor in total))


def check_precision(precision: str) -> None:
    """Refuse a number format that is none of those to choose from.

    Raises
    ------
    ConfigError
    """
    if precision not in ("float32", "bfloat16"):
        raise ConfigError("explain.precision", f"found {precision!r}", expected="float32 or bfloat16")


def agrees_in_bfloat16(case: CaseLogit) -> bool:
    """Tell whether both ends of the way are, but for 2 % of it, the same in bfloat16."""
    ends = case.ends()
    both = [torch.cat(pair) for pair in zip(case.inputs(), case.baselines(), strict=True)]
    with case.frozen(bfloat16=True):
        rough = case.at(*both).tolist()
    error = max(abs(one - other) for one, other in zip(ends, rough, strict=True))
    return bool(error <= AGREEMENT * abs(ends[0] - ends[1]))


def by_input(case: CaseLogit, found: tuple[Tensor, ...]) -> Scores:
    """Name attributions of inputs, and sum those of a voxel's channels or of a word's numbers."""
    scores: Scores = {}
    for name, values in zip(case.names, found, strict=True):
        axis = {"image": 0, "text": -1}.get(name)
        one = values[0].detach().float()
        scores[name] = one if axis is None else one.sum(dim=axis)
    return scores


def _some_without_content(case: CaseLogit) -> tuple[Tensor, ...]:
    """Return three cases without content, whose images are even at the median, the lowest and the mean value."""
    drawn = []
    for name, given, empty in zip(case.names, case.inputs(), case.baselines(), strict=True):
        if name != "image":
            drawn.append(empty.expand(3, *empty.shape[1:]).clone())
            continue
        flat = given.flatten(2)
        levels = [empty, *(level[..., None, None, None].expand_as(given) for level in (flat.amin(2), flat.mean(2)))]
        drawn.append(torch.cat(levels))
    return tuple(drawn)
