"""How much of an answer each modality gives: exact Shapley values over the modalities."""

from __future__ import annotations

from itertools import combinations
from math import factorial, log

import torch

from medfuse.data import collate
from medfuse.inference import Predictor
from medfuse.models.answers import last_class_logit
from medfuse.tensors import Sample

__all__ = ["modality_shares", "shapley_values"]


def modality_shares(predictor: Predictor, sample: Sample, *, target: str) -> dict[str, float]:
    """Divide an answer among the modalities of a case.

    Parameters
    ----------
    predictor : Predictor
    sample : Sample
    target : str

    Returns
    -------
    dict of str to float
        Signed share of each modality, in log-odds. They sum to the model's logit (before calibration) minus
        the log-odds of the training prevalence, which is the answer before anything is seen.
    """
    bundle = predictor.bundle
    modalities, shape = bundle.preprocessing.modalities, bundle.preprocessing.image_shape
    batch = collate([sample], modalities=modalities, image_shape=shape)
    players = tuple(m for m, here in zip(modalities, batch.present[0].tolist(), strict=True) if here)
    share = bundle.prevalence[target]
    asked = next(one for one in bundle.targets if one.name == target)
    worth = {frozenset[str](): log(share / (1 - share))}
    with torch.inference_mode():
        for size in range(1, len(players) + 1):
            for subset in combinations(players, size):
                output = bundle.model(batch.only(*subset))
                worth[frozenset(subset)] = float(last_class_logit(output.logits[target], asked)[0])
    return shapley_values(players, worth)


def shapley_values(players: tuple[str, ...], worth: dict[frozenset[str], float]) -> dict[str, float]:
    """Return the Shapley value of each player.

    Parameters
    ----------
    players : tuple of str
    worth : dict of frozenset of str to float
        Of every subset, the empty one included.

    Returns
    -------
    dict of str to float
        They sum to the worth of all minus the worth of none.

    Notes
    -----
    Source: Shapley 1953, A Value for n-Person Games, eq. 13.

    Examples
    --------
    >>> none, a, b, both = frozenset(), frozenset("a"), frozenset("b"), frozenset("ab")
    >>> shapley_values(("a", "b"), {none: 0.0, a: 1.0, b: 0.0, both: 3.0})
    {'a': 2.0, 'b': 1.0}
    """
    n = len(players)
    values = {}
    for player in players:
        others = [p for p in players if p != player]
        values[player] = sum(
            factorial(size) * factorial(n - size - 1) / factorial(n) * (worth[with_player] - worth[without])
            for size in range(n)
            for without in map(frozenset, combinations(others, size))
            for with_player in [without | {player}]
        )
    return values
