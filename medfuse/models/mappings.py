"""Aligners that map one modality's embedding onto the other's, without looking at other cases.

None of them contrasts: nothing in the loss keeps all cases from one and the same embedding. The classification loss
beside it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, permutations
from typing import cast

import torch
from torch import Tensor, nn

from medfuse.errors import ConfigError
from medfuse.models.aligner import NO_CONTEXT, Aligner, AlignmentContext, PairAligner

__all__ = ["CrossModalMapping", "Euclidean", "TransferMatrix"]


class Euclidean(Aligner):
    """The squared Euclidean distance between the embeddings of one case, averaged over the cases with both.

    The loss is the mean over all pairs of modalities.

    Parameters
    ----------
    modalities : tuple of str
    unit_length : bool
        Measure between embeddings of unit length, where the squared distance is 2 - 2 cos. Else between the embeddings
        as the fusion reads them, divided by their size E: the mean squared error.

    Notes
    -----
    Source: Feng et al. 2014, Cross-modal Retrieval with Correspondence Autoencoder, section 3 (the correlation loss
    between the two hidden representations); of unit length as in Grill et al. 2020, Bootstrap Your Own Latent,
    equation 2.

    Examples
    --------
    >>> one, present = torch.eye(2), torch.ones(2, 2, dtype=torch.bool)
    >>> Euclidean(("image", "text"))({"image": one, "text": one.flip(0)}, present)
    tensor(2.)
    """

    def __init__(self, modalities: tuple[str, ...], *, unit_length: bool = True) -> None:
        super().__init__(modalities)
        self.unit_length = unit_length

    def forward(
        self, embeddings: Mapping[str, Tensor], present: Tensor, context: AlignmentContext = NO_CONTEXT
    ) -> Tensor:
        """Return the mean squared distance."""
        read = embeddings if self.unit_length else context.unscaled
        size = 1 if self.unit_length else next(iter(embeddings.values())).shape[1]
        losses = [_squared_distance(a, b) / size for _, a, b in self.pairs(read, present)]
        return self.mean_of(losses, embeddings)


class CrossModalMapping(PairAligner):
    """Predict each modality's embedding from the other's, by a small network a direction.

    The encoders before it and this decoder form a network from one modality to the other. The loss is the mean
    squared Euclidean distance over the directions and the cases with both modalities.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int
        E.
    hidden_size : int
        Of the one hidden layer, with ReLU.
    fixed_target : bool
        Let no gradient into the embedding that is predicted: it is not made easier to predict.

    Raises
    ------
    ConfigError
        If the hidden size is below 1.

    Notes
    -----
    Source: Ngiam et al. 2011, Multimodal Deep Learning (a decoder to the modality that was not given), and
    Feng et al. 2014, Cross-modal Retrieval with Correspondence Autoencoder, section 3 (Corr-Cross-AE), with the
    other's embedding in place of its raw input; the fixed target is that of Chen & He 2021, Exploring Simple Siamese
    Representation Learning, equation 3.

    Examples
    --------
    >>> aligner = CrossModalMapping(("image", "text"), 2, hidden_size=3)
    >>> sorted(aligner.decoders)
    ['image to text', 'text to image']
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        embedding_size: int,
        *,
        hidden_size: int = 128,
        fixed_target: bool = True,
    ) -> None:
        super().__init__(modalities)
        if hidden_size < 1:
            raise ConfigError("model.aligner.hidden_size", f"found {hidden_size}", expected="1 or more")
        self.fixed_target = fixed_target
        self.decoders = nn.ModuleDict(
            {
                f"{source} to {target}": nn.Sequential(
                    nn.Linear(embedding_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, embedding_size)
                )
                for source, target in permutations(modalities, 2)
            }
        )

    def pair_loss(self, names: tuple[str, str], first: Tensor, second: Tensor) -> Tensor:
        """Return the mean over both directions."""
        there = self._one_way(f"{names[0]} to {names[1]}", first, second)
        back = self._one_way(f"{names[1]} to {names[0]}", second, first)
        return (there + back) / 2

    def _one_way(self, name: str, source: Tensor, target: Tensor) -> Tensor:
        return _squared_distance(self.decoders[name](source), target.detach() if self.fixed_target else target)


class TransferMatrix(PairAligner):
    """A learned matrix M that carries the second modality's embedding (the report's) to the first's (the image's).

    The loss is the mean over the cases of ``|M t - v|^2``, plus the squared Frobenius norm of ``M' M - 1``, which
    keeps M near a rotation, so that distances survive the transfer. Closed forms of the same M, for embeddings that
    no longer change, are in `medfuse.evaluation.linear_maps`.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int
        E.
    orthogonality : float
        Weight of the second term, 0 or more.

    Raises
    ------
    ConfigError
        If the weight is negative.

    Notes
    -----
    Source: Mikolov et al. 2013, Exploiting Similarities among Languages for Machine Translation, section 4 (the
    matrix); Xing et al. 2015, Normalized Word Embedding and Orthogonal Transform (unit length, orthogonality); Bansal
    et al. 2018, Can We Gain More from Orthogonality Regularizations in Training Deep CNNs?, section 3.1 (the penalty).

    Examples
    --------
    >>> one, present = torch.eye(2), torch.ones(2, 2, dtype=torch.bool)
    >>> aligner = TransferMatrix(("image", "text"), 2)  # M starts as the identity
    >>> float(aligner({"image": one, "text": one}, present).detach())
    0.0
    """

    def __init__(self, modalities: tuple[str, ...], embedding_size: int, *, orthogonality: float = 0.01) -> None:
        super().__init__(modalities)
        if not orthogonality >= 0:
            raise ConfigError("model.aligner.orthogonality", f"found {orthogonality}", expected="0 or more")
        self.orthogonality = orthogonality
        self.matrices = nn.ParameterDict(
            {f"{source} to {target}": torch.eye(embedding_size) for target, source in combinations(modalities, 2)}
        )

    def pair_loss(self, names: tuple[str, str], first: Tensor, second: Tensor) -> Tensor:
        """Return the mean squared distance after the transfer, and the penalty."""
        matrix = cast(Tensor, self.matrices[f"{names[1]} to {names[0]}"])
        identity = torch.eye(len(matrix), device=matrix.device, dtype=matrix.dtype)
        penalty = (matrix.T @ matrix - identity).square().sum()
        return _squared_distance(second @ matrix.T, first) + self.orthogonality * penalty


def _squared_distance(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().sum(dim=1).mean()
