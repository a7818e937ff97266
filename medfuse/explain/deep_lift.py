"""DeepLIFT by Captum, for models all of whose layers have a rule."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from medfuse.errors import UsageError
from medfuse.explain.case_logit import FLAGS, CaseLogit, members_of
from medfuse.explain.gradients import by_input
from medfuse.explain.method import Method, Scores
from medfuse.models import StudyClassifier
from medfuse.models.dropout import Dropout
from medfuse.models.fusions import Concatenation
from medfuse.models.heads import LinearHead, MlpHead, OrdinalHead
from medfuse.models.norms import BatchNorm
from medfuse.models.precision import Conv3d
from medfuse.models.small_cnns import SmallCnn
from medfuse.models.word_encoders import BagEncoder

__all__ = ["DeepLift"]

_LINEAR = (nn.Linear, nn.Embedding, nn.Identity, Conv3d, BatchNorm, Dropout)
_RULED = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.LayerNorm)
_COMPOSED = (nn.Sequential, nn.ModuleDict, nn.ModuleList)
_PLAIN = (SmallCnn, BagEncoder, Concatenation, LinearHead, MlpHead, OrdinalHead)
"""Compositions that do nothing between their layers but add, pad, take means and, once, a maximum."""


@dataclass(frozen=True)
class DeepLift(Method):
    """Differences of activations from those of a case without content, passed back by the rescale rule.

    It takes one pass forth and back. It holds only where every layer has a rule: of the image encoders for
    ``small_cnn``, of the text encoders for ``bag``, with the fusion ``concatenation``.

    Notes
    -----
    Source: Shrikumar et al. 2017, Learning Important Features Through Propagating Activation Differences, section 3.5.2
    (rescale); a layer norm's products are shared equally between their factors, as Shapley values do: Lundberg & Lee
    2017, section 4.2 (Deep SHAP).
    """

    explains: ClassVar[tuple[str, ...]] = ("image", "text", "flags")
    is_complete: ClassVar[bool] = True

    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score all that moves at once.

        Raises
        ------
        UsageError
            Naming the first layer without a rule.
        """
        from captum.attr import DeepLift as Captum

        _check_layers(case)
        # Captum leaves its notes in the modules, and the maximum is made a layer: both in a copy.
        copied = case.by(copy.deepcopy(case.model))
        for member in members_of(copied.model):
            if "image" in copied.names:
                _give_maximum_a_layer(member.encoders["image"])
            _leave_alone(member, moving=_modalities(case))
        with copied.frozen(), _own_rules(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting forward, backward hooks", UserWarning)
            inputs = tuple(tensor.clone().requires_grad_() for tensor in copied.inputs())
            found = Captum(_AsModule(copied)).attribute(inputs, baselines=copied.baselines())
        return by_input(case, found)


class _AsModule(nn.Module):
    def __init__(self, case: CaseLogit) -> None:
        super().__init__()
        self.model, self.case = case.model, case

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.case(*inputs)


class _Maximum(nn.Module):
    """The maximum over the last axis, as a layer that a rule can be given to."""

    def forward(self, features: Tensor) -> Tensor:
        return features.amax(dim=2)


def _give_maximum_a_layer(encoder: nn.Module) -> None:
    highest = _Maximum()
    encoder.add_module("highest", highest)

    def pool(feature_map: Tensor) -> Tensor:
        flat = feature_map.flatten(start_dim=2)
        # A copy: Captum replaces all of the gradient that comes back to a layer's input, that of the mean too.
        normed: Tensor = encoder.pooled_norm(torch.cat([flat.mean(dim=2), highest(flat.clone())], dim=1))  # type: ignore[operator]
        return normed

    encoder.__dict__["pool"] = pool


def _leave_alone(member: StudyClassifier, *, moving: set[str]) -> None:
    """Hide the layers of what does not move from Captum, which looks for the very types that it has rules for."""
    held = [name for name in member.modalities if name not in moving]
    for part in [*(member.encoders[name] for name in held), *(member.projections[name] for name in held)]:
        for layer in part.modules():
            if type(layer) in _RULED:
                layer.__class__ = type(type(layer).__name__, (type(layer),), {})


def _modalities(case: CaseLogit) -> set[str]:
    return {"text" if name == FLAGS else name for name in case.names}


def _check_layers(case: CaseLogit) -> None:
    for member in members_of(case.model):
        parts: dict[str, nn.Module] = {f"{name}_encoder": member.encoders[name] for name in _modalities(case)}
        parts |= {"fusion": member.fusion, "head": member.heads["fused"]}
        for where, part in parts.items():
            for name, layer in part.named_modules():
                if type(layer) not in (*_LINEAR, *_RULED, *_COMPOSED, *_PLAIN):
                    found = f"found {type(layer).__name__} at {where}{'.' if name else ''}{name}, which has no rule"
                    raise UsageError("explain.method deep_lift", found, expected="another method for this model")


@contextmanager
def _own_rules() -> Iterator[None]:
    from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR as RULES

    own = {nn.LayerNorm: _through_layer_norm, _Maximum: _through_maximum}
    RULES.update(own)
    try:
        yield
    finally:
        for layer in own:
            RULES.pop(layer)


def _through_layer_norm(
    module: nn.LayerNorm,
    inputs: Tensor,
    outputs: Tensor,  # noqa: ARG001 - Captum says what a rule is given
    grad_input: Tensor,  # noqa: ARG001
    grad_output: Tensor,
    eps: float,  # noqa: ARG001
) -> Tensor:
    """Return the multipliers of the inputs: y - y0 is a sum of products of means and differences."""
    centred = inputs - inputs.mean(dim=-1, keepdim=True)
    deviation = (centred.square().mean(dim=-1, keepdim=True) + module.eps).sqrt()
    (one, other), (s, s0) = centred.chunk(2), deviation.chunk(2)
    mean = (one + other) / 2
    given = grad_output.chunk(2)[0] * module.weight
    of_spread = (given * mean).sum(dim=-1, keepdim=True) / (s * s0 * (s + s0))
    passed = given * (1 / s + 1 / s0) / 2 - 2 * mean * of_spread / inputs.shape[-1]
    passed = passed - passed.mean(dim=-1, keepdim=True)
    return torch.cat([passed, passed])


def _through_maximum(
    module: _Maximum,  # noqa: ARG001
    inputs: Tensor,
    outputs: Tensor,  # noqa: ARG001
    grad_input: Tensor,  # noqa: ARG001
    grad_output: Tensor,
    eps: float,
) -> Tensor:
    """Return the multipliers of the inputs: the place of the larger maximum makes all of the difference."""
    one, other = inputs.chunk(2)
    y, y0 = (half.amax(dim=2, keepdim=True) for half in (one, other))
    place = torch.where(y >= y0, one.argmax(dim=2, keepdim=True), other.argmax(dim=2, keepdim=True))
    step = (one - other).gather(2, place)
    ratio = torch.where(step.abs() < eps, torch.zeros_like(step), (y - y0) / step)
    passed = torch.zeros_like(one).scatter(2, place, ratio * grad_output.chunk(2)[0][..., None])
    return torch.cat([passed, passed])
