"""Temperatures, biases and thresholds found on validation data, applied here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from medfuse.errors import BundleError
from medfuse.models.answers import class_logits
from medfuse.types import Target

__all__ = ["Calibration", "conditions_of"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the logits of one target and one condition become an answer.

    Parameters
    ----------
    temperature : float
        Logits are divided by it. Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 9.
    threshold : float
        Probability of the positive class from which on it is called, in [0, 1].
    biases : tuple of float
        Added after that: one for a binary target, else one a class; none by default. Source: Alexandari et al. 2020,
        Maximum Likelihood with Bias-Corrected Calibration, section 3.2.

    Raises
    ------
    BundleError
        If a value is out of range.
    """

    temperature: float = 1.0
    threshold: float = 0.5
    biases: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        in_range = 0 < self.temperature < math.inf and 0 <= self.threshold <= 1
        if not (in_range and all(map(math.isfinite, self.biases))):
            raise BundleError("calibration", "found a value out of range", expected="temperature > 0, threshold 0-1")

    def probabilities(self, logits: Tensor, target: Target) -> Tensor:
        """Turn logits into probabilities, one a class.

        Parameters
        ----------
        logits : Tensor, shape (B, N)
        target : Target

        Returns
        -------
        Tensor, shape (B, classes), float64
            Each row sums to 1.

        Examples
        --------
        >>> target = Target("malignancy", "binary", ("negative", "positive"))
        >>> Calibration(temperature=2.0).probabilities(torch.tensor([[0.0]]), target)
        tensor([[0.5000, 0.5000]], dtype=torch.float64)
        """
        scaled = class_logits(logits.double(), target) / self.temperature
        if self.biases:
            scaled = scaled + scaled.new_tensor(self.biases)
        if target.kind == "binary":
            positive = torch.sigmoid(scaled[:, 0])
            return torch.stack([1 - positive, positive], dim=1)
        return torch.softmax(scaled, dim=1)

    def to_dict(self) -> dict[str, float | list[float]]:
        """Return the values as plain JSON."""
        return {"temperature": self.temperature, "threshold": self.threshold, "biases": list(self.biases)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Calibration:
        """Rebuild what `to_dict` gave."""
        try:
            biases = tuple(map(float, content["biases"]))
            return cls(float(content["temperature"]), float(content["threshold"]), biases)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError("model.json calibration", "found a missing or wrong value") from error


def conditions_of(modalities: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return what a model can be asked: all it reads together, each modality alone, and what lies between.

    Parameters
    ----------
    modalities : tuple of str
        Of the model.

    Returns
    -------
    dict of str to tuple of str
        Condition to the modalities it leaves present.

    Examples
    --------
    >>> conditions_of(("image", "text"))
    {'fused': ('image', 'text'), 'image': ('image',), 'text': ('text',)}
    >>> conditions_of(("image",))
    {'image': ('image',)}
    >>> list(conditions_of(("image", "text", "table")))
    ['fused', 'image', 'text', 'table', 'image+text', 'image+table', 'text+table']
    """
    subsets = (subset for size in range(1, len(modalities)) for subset in combinations(modalities, size))
    parts: dict[str, tuple[str, ...]] = {"+".join(subset): subset for subset in subsets}
    return {modalities[0]: modalities} if len(modalities) == 1 else {"fused": modalities, **parts}
