"""Class activation maps over the last feature map of an image encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medfuse.errors import UsageError
from medfuse.explain.case_logit import CaseLogit, members_of
from medfuse.explain.method import Method, Scores
from medfuse.models.image_encoders import ImageEncoder

__all__ = ["GradCam", "HiResCam", "LayerCam", "recorded_feature_maps"]


class _ActivationMap(Method):
    """A weighted sum of the last feature map's channels, brought to the image's grid."""

    explains: ClassVar[tuple[str, ...]] = ("image",)

    def weigh(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the map, shape (i, j, k), of features and their gradient, shape (D, i, j, k)."""
        raise UsageError("explain.method", "found a map without weights", expected="a subclass of it")

    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score the image by one forward pass and the gradient at the last feature map."""
        if "image" not in case.names:
            return {}
        alone = case.moving(("image",))
        [image] = alone.inputs()
        total = torch.zeros(image.shape[2:])
        with recorded_feature_maps(alone) as taps, alone.frozen():
            from captum._utils.gradient import compute_layer_gradients_and_eval

            # An ensemble's maps are summed: its answer is the mean of its members'.
            for tap in taps:
                gradients, features = compute_layer_gradients_and_eval(alone, tap, (image.clone().requires_grad_(),))
                small = self.weigh(features[0][0].detach(), gradients[0][0].detach())
                total += F.interpolate(small[None, None].float(), size=image.shape[2:], mode="trilinear")[0, 0]
        return {"image": total}


@dataclass(frozen=True)
class GradCam(_ActivationMap):
    """Channels weighed by the mean of their gradient; what speaks against the class is left out.

    Notes
    -----
    Source: Selvaraju et al. 2017, Grad-CAM, eq. 1 and 2.
    """

    def weigh(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the map."""
        return (gradient.mean(dim=(1, 2, 3), keepdim=True) * features).sum(dim=0).relu()


@dataclass(frozen=True)
class LayerCam(_ActivationMap):
    """Every voxel of a channel weighed by its own gradient where that is above 0.

    Notes
    -----
    Source: Jiang et al. 2021, LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, eq. 6 to 8.
    """

    def weigh(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the map."""
        return (gradient.relu() * features).sum(dim=0).relu()


@dataclass(frozen=True)
class HiResCam(_ActivationMap):
    """Every voxel of a channel weighed by its own gradient, signs kept.

    Notes
    -----
    Source: Draelos & Carin 2020, Use HiResCAM instead of Grad-CAM for faithful explanations, eq. 3, without the final
    ReLU: what speaks against the class keeps its sign.
    """

    def weigh(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the map."""
        return (gradient * features).sum(dim=0)


@contextmanager
def recorded_feature_maps(case: CaseLogit) -> Iterator[list[nn.Identity]]:
    """Let the last feature map of each image encoder pass through a module that hooks can be put on.

    Yields
    ------
    list of Identity
        One an encoder.
    """
    encoders = [cast(ImageEncoder, member.encoders["image"]) for member in members_of(case.model)]
    taps = [nn.Identity() for _ in encoders]
    try:
        for encoder, tap in zip(encoders, taps, strict=True):
            own = encoder.feature_map
            # An attribute of the instance hides the method of its class until it is taken away again.
            encoder.__dict__["feature_map"] = lambda image, own=own, tap=tap: tap(own(image))
        yield taps
    finally:
        for encoder in encoders:
            encoder.__dict__.pop("feature_map", None)
