"""A map that knows nothing of the model: what a test of methods must find out."""

from __future__ import annotations

from typing import ClassVar

import torch

from medfuse.explain.case_logit import CaseLogit
from medfuse.explain.method import Method, Scores

__all__ = ["EdgeDetector"]


class EdgeDetector(Method):
    """How steep the image is at each voxel, whatever the model learnt. No method for users: a planted control.

    Notes
    -----
    Source: Adebayo et al. 2018, Sanity Checks for Saliency Maps, section 4.
    """

    explains: ClassVar[tuple[str, ...]] = ("image",)

    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score how steep the image is."""
        slopes = torch.stack([*torch.gradient(case.batch.image[0, 0], dim=(0, 1, 2))])
        return {"image": slopes.square().sum(dim=0).sqrt()}
