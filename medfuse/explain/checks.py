"""Tests that an attribution must pass before anyone believes it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["DELETED_SHARE", "deletion_check"]

DELETED_SHARE = 0.1
N_RANDOM = 16


class _CaseFunction(Protocol):
    names: tuple[str, ...]

    def inputs(self) -> tuple[Tensor, ...]: ...
    def baselines(self) -> tuple[Tensor, ...]: ...
    def __call__(self, *inputs: Tensor) -> Tensor: ...


def deletion_check(logit: _CaseFunction, name: str, scores: Tensor) -> float:
    """Compare deleting the highest-scored tenth with deleting random tenths.

    Parameters
    ----------
    logit : callable
        The case's logit, with its ``names``, ``inputs()`` and ``baselines()``.
    name : str
        The input to delete from: ``"image"`` or ``"text"``.
    scores : Tensor, shape (I, J, K) or (L,)
        Signed attribution.

    Returns
    -------
    float
        |change of the logit| after replacing the tenth with the largest |score| by the baseline, divided by
        the mean |change| over 16 random tenths. 1 is chance; below 1 the map points away from what matters.

    Notes
    -----
    Source: Samek et al. 2017, Evaluating the Visualization of What a Deep Neural Network Has Learned.
    """
    at = logit.names.index(name)
    inputs, baselines = list(logit.inputs()), logit.baselines()
    original, empty = inputs[at], baselines[at]
    flat = scores.abs().flatten()
    n = max(1, round(DELETED_SHARE * len(flat)))
    generator = torch.Generator().manual_seed(0)
    chosen = [flat.topk(n).indices] + [torch.randperm(len(flat), generator=generator)[:n] for _ in range(N_RANDOM)]
    changes = []
    with torch.inference_mode():
        answer = logit(*inputs)
        for indices in chosen:
            deleted = torch.zeros(len(flat), dtype=torch.bool).index_fill(0, indices, value=True).view(scores.shape)
            # An image (1, C, I, J, K) takes the mask for every channel, tokens (1, L, D) for every feature.
            mask = deleted[None, None] if name == "image" else deleted[None, :, None]
            inputs[at] = torch.where(mask, empty, original)
            changes.append(float((logit(*inputs) - answer).abs()))
    random_mean = sum(changes[1:]) / N_RANDOM
    return changes[0] / max(random_mean, 1e-9)
