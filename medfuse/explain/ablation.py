"""Attribution by taking parts away: supervoxels, blocks, words, sentences, columns; by Captum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from medfuse.explain.case_logit import CaseLogit
from medfuse.explain.gradients import Precision, agrees_in_bfloat16, by_input, check_precision
from medfuse.explain.method import Method, Scores, at_least
from medfuse.explain.supervoxels import supervoxels

__all__ = ["FeatureAblation", "Occlusion"]


class _Ablation(Method):
    """How far the answer falls when one part after the other is replaced by what stands in a case without content."""

    def parts(self, name: str, case: CaseLogit, given: Tensor, *, seed: int) -> Tensor:
        """Return the number of each element's part, shape (1, ...), as Captum wants it."""
        n = given.shape[1]
        if name == "text":
            return torch.arange(n)[None, :, None].expand_as(given)
        return torch.arange(n)[None]

    def ablate(self, case: CaseLogit, *, batch: int, precision: Precision, seed: int) -> Scores:
        """Score each input on its own, the others as they are."""
        from captum.attr import FeatureAblation as Captum

        scores: Scores = {}
        for name in case.names:
            if name not in self.explains:
                continue
            alone = case.moving((name,))
            [given] = alone.inputs()
            parts = self.parts(name, alone, given, seed=seed)
            rough = precision == "bfloat16" and agrees_in_bfloat16(alone)
            with alone.frozen(bfloat16=rough), torch.inference_mode():
                found = Captum(alone).attribute(
                    (given,), baselines=alone.baselines(), feature_mask=(parts,), perturbations_per_eval=batch
                )
            # Captum gives every element its part's score: a part's elements share it, so that a map sums to the whole.
            sizes = torch.bincount(parts.flatten())[parts]
            scores |= by_input(alone, (found[0] / sizes,))
        return scores


@dataclass(frozen=True)
class Occlusion(_Ablation):
    """Supervoxels of the image, each replaced by this image's median.

    Parameters
    ----------
    edge : float
        Mean edge of a supervoxel, in voxels.
    compactness : float
        See `medfuse.explain.supervoxels.supervoxels`.
    batch : int
        Versions of the case computed at once.
    precision : {"float32", "bfloat16"}
        See `medfuse.explain.gradients.IntegratedGradients`.

    Raises
    ------
    ConfigError
        If an option is out of range.

    Notes
    -----
    Source: Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, section 4.2, with supervoxels in
    place of squares.
    """

    edge: float = 4.0
    compactness: float = 0.1
    batch: int = 16
    precision: Precision = "float32"

    explains: ClassVar[tuple[str, ...]] = ("image",)
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least("edge", self.edge, 1.0)
        at_least("compactness", self.compactness, 1e-6)
        at_least("batch", self.batch, 1)
        check_precision(self.precision)

    def parts(self, name: str, case: CaseLogit, given: Tensor, *, seed: int) -> Tensor:
        """Return the number of each voxel's supervoxel."""
        cut = supervoxels(given[0], edge=self.edge, compactness=self.compactness, seed=seed)
        return cut.expand(given.shape)

    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score the image."""
        return self.ablate(case, batch=self.batch, precision=self.precision, seed=seed)


@dataclass(frozen=True)
class FeatureAblation(_Ablation):
    """Blocks of the image, words and flags, each replaced by what stands in a case without content.

    Parameters
    ----------
    edge : int
        Of a block, in voxels.
    batch : int
        Versions of the case computed at once.
    precision : {"float32", "bfloat16"}
        See `medfuse.explain.gradients.IntegratedGradients`.

    Raises
    ------
    ConfigError
        If an option is out of range.

    Notes
    -----
    Source: Captum's ``FeatureAblation``; of words Li et al. 2016, Understanding Neural Networks through Representation
    Erasure, eq. 1.
    """

    edge: int = 4
    batch: int = 16
    precision: Precision = "float32"

    explains: ClassVar[tuple[str, ...]] = ("image", "text", "flags")

    def __post_init__(self) -> None:
        at_least("edge", self.edge, 1)
        at_least("batch", self.batch, 1)
        check_precision(self.precision)

    def parts(self, name: str, case: CaseLogit, given: Tensor, *, seed: int) -> Tensor:
        """Return the number of each voxel's block, or of each word or flag."""
        if name != "image":
            return super().parts(name, case, given, seed=seed)
        lines = [torch.arange(n) // self.edge for n in given.shape[2:]]
        sizes = [int(line[-1]) + 1 for line in lines]
        i, j, k = torch.meshgrid(*lines, indexing="ij")
        return ((i * sizes[1] + j) * sizes[2] + k).expand(given.shape)

    def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
        """Score each input on its own, the others as they are."""
        return self.ablate(case, batch=self.batch, precision=self.precision, seed=seed)
