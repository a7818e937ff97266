"""Whether the answer hangs on what is marked: deletion and insertion, against random maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medfuse.explain.case_logit import CaseLogit
from medfuse.explanation_parts import TrustCheck

__all__ = ["Curves", "deletion_and_insertion", "faithfulness_checks", "random_maps", "smoothed"]

N_STEPS, N_RANDOM = 6, 8
SMOOTHING_VOXELS = 1.0
"""A map is judged as it is drawn: single voxels of a gradient mean nothing."""
RANDOM_SMOOTHING_VOXELS = 2.0
FEWEST_TOKENS = 4
"""A shorter text has too few orders to tell a good one from a random one."""


def smoothed(values: Tensor) -> Tensor:
    """Return an image's scores, shape (I, J, K), as they are drawn; those of anything else as they are.

    Examples
    --------
    >>> spike = torch.zeros(9, 9, 9); spike[4, 4, 4] = 1.0
    >>> round(float(smoothed(spike).sum()), 3), smoothed(torch.ones(3)).tolist()
    (1.0, [1.0, 1.0, 1.0])
    """
    if values.ndim != 3:
        return values
    return torch.from_numpy(ndimage.gaussian_filter(values.double().numpy(), SMOOTHING_VOXELS))


@dataclass(frozen=True, slots=True)
class Curves:
    """Areas under the probability of the class that an input speaks for.

    Parameters
    ----------
    full : float
        The probability with the whole input.
    deletion : float
        Mean probability while the highest-scored parts are taken away first; low is faithful.
    insertion : float
        Mean probability while they are put in first into a case without content; high is faithful.
    """

    full: float
    deletion: float
    insertion: float


def deletion_and_insertion(case: CaseLogit, scores: Tensor, *, n_steps: int = N_STEPS, batch_size: int = 8) -> Curves:
    """Take away, and put in, parts of a case in the order of their scores.

    Parameters
    ----------
    case : CaseLogit
        Of which one input moves.
    scores : Tensor, shape (I, J, K) or (L,)
        Above 0 where it speaks for the last class.
    n_steps : int
        Equal steps from the whole input to none.
    batch_size : int
        Versions of the case computed at once.

    Returns
    -------
    Curves
        Of the probability of that class that the input speaks for: the last one if the log-odds are higher with the
        input than without content.

    Notes
    -----
    Source: Petsiuk et al. 2018, RISE, section 4.2 (causal metrics).
    """
    [given], [empty] = case.inputs(), case.baselines()
    full, none = case.ends()
    sign = 1.0 if full >= none else -1.0
    order = (sign * scores.flatten()).argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    # An image (1, C, I, J, K) takes the order for every channel, tokens (1, L, D) for every number.
    shape = (1, 1, *scores.shape) if scores.ndim == 3 else (1, -1, *[1] * (given.ndim - 2))
    rank = rank.view(shape)
    reached = [round(step / n_steps * len(order)) for step in range(1, n_steps)]
    versions = [torch.where(rank < n, empty, given) for n in reached]
    versions += [torch.where(rank < n, given, empty) for n in reached]
    logits = torch.cat([case.at(*[torch.cat(part)]) for part in _pieces(versions, batch_size)])
    between = len(reached)
    deletion = torch.cat([logits.new_tensor([full]), logits[:between], logits.new_tensor([none])])
    insertion = torch.cat([logits.new_tensor([none]), logits[between:], logits.new_tensor([full])])
    areas = [float(torch.trapezoid(torch.sigmoid(sign * one), dx=1 / n_steps)) for one in (deletion, insertion)]
    return Curves(float(torch.sigmoid(logits.new_tensor(sign * full))), *areas)


def random_maps(shape: Sequence[int], n: int, *, seed: int = 0) -> list[Tensor]:
    """Return scores without meaning: smooth random fields in place of maps, random orders of words.

    Parameters
    ----------
    shape : sequence of int
        (I, J, K) or (L,).
    n : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    fields: list[NDArray[np.float64]] = [rng.standard_normal(tuple(shape)) for _ in range(n)]
    if len(shape) == 3:
        fields = [ndimage.gaussian_filter(field, RANDOM_SMOOTHING_VOXELS) for field in fields]
    return [torch.from_numpy(field) for field in fields]


def faithfulness_checks(
    case: CaseLogit, scores: Tensor, *, n_random: int = N_RANDOM, seed: int = 0
) -> list[TrustCheck]:
    """Hold deletion and insertion by scores against those by random maps.

    Parameters
    ----------
    case : CaseLogit
        Of which one input moves.
    scores : Tensor, shape (I, J, K) or (L,)
    n_random : int
        A map without meaning passes one of ``n_random + 1`` times.
    seed : int
        Of the random maps.

    Returns
    -------
    list of TrustCheck
        ``faithfulness_<input>``: insertion minus deletion, held against the best random map. ``deletion_<input>`` and
        ``insertion_<input>``: each against the mean of the random maps; details of ``deletion``: ``times_random``, how
        many times as far as with random maps the mean probability lies below that of the whole case. Texts of under 4
        tokens are not judged.
    """
    [name] = case.names
    own = deletion_and_insertion(case, smoothed(scores))
    chance = [deletion_and_insertion(case, one) for one in random_maps(scores.shape, n_random, seed=seed)]
    judged = scores.numel() >= FEWEST_TOKENS
    deletion, insertion = (float(np.mean([getattr(one, kind) for one in chance])) for kind in ("deletion", "insertion"))
    gain, best = own.insertion - own.deletion, max(one.insertion - one.deletion for one in chance)
    times = (own.full - own.deletion) / max(own.full - deletion, 1e-9)
    return [
        _check(f"faithfulness_{name}", gain, best, gain > best, judged, n_random=float(n_random)),
        _check(f"deletion_{name}", own.deletion, deletion, own.deletion < deletion, judged, times_random=times),
        _check(f"insertion_{name}", own.insertion, insertion, own.insertion > insertion, judged),
    ]


def _check(name: str, value: float, limit: float, passed: bool, judged: bool, **details: float) -> TrustCheck:
    return TrustCheck(name, value, passed if judged else None, limit if judged else None, details)


def _pieces(versions: list[Tensor], size: int) -> list[list[Tensor]]:
    return [versions[start : start + size] for start in range(0, len(versions), size)]
