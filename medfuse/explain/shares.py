"""How much of an answer each modality gives, and what two of them tell together: exact Shapley values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial, log

import torch

from medfuse.explain.case_logit import CaseLogit
from medfuse.explanation_parts import Counterfactual
from medfuse.inference import Predictor
from medfuse.inference.calibration import conditions_of
from medfuse.models.answers import last_class_logit
from medfuse.tensors import Sample
from medfuse.types import Prediction

__all__ = ["interaction_index", "modality_shares", "shapley_values", "without_modalities", "worth_of_modalities"]

Worth = dict[frozenset[str], float]


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
    case = CaseLogit(predictor, sample, target)
    return shapley_values(case.modalities, worth_of_modalities(case))


def worth_of_modalities(case: CaseLogit) -> Worth:
    """Return the log-odds by every subset of a case's modalities; by none, those of the training prevalence."""
    share = case.bundle.prevalence[case.target.name]
    worth = {frozenset[str](): log(share / (1 - share))}
    with torch.inference_mode():
        for size in range(1, len(case.modalities) + 1):
            for subset in combinations(case.modalities, size):
                output = case.model(case.batch.only(*subset))
                worth[frozenset(subset)] = float(last_class_logit(output.logits[case.target.name], case.target)[0])
    return worth


def shapley_values(players: tuple[str, ...], worth: Mapping[frozenset[str], float]) -> dict[str, float]:
    """Return the Shapley value of each player.

    Parameters
    ----------
    players : tuple of str
    worth : mapping of frozenset of str to float
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


def interaction_index(
    players: tuple[str, ...], worth: Mapping[frozenset[str], float], *, pair: tuple[str, str]
) -> float:
    """Return what two players are worth together beyond what each is worth alone.

    Parameters
    ----------
    players : tuple of str
    worth : mapping of frozenset of str to float
        Of every subset, the empty one included.
    pair : tuple of str
        Two of the players.

    Returns
    -------
    float
        0 if their worths simply add; below 0 if both say the same.

    Notes
    -----
    Source: Grabisch & Roubens 1999, An axiomatic approach to the concept of interaction among players in cooperative
    games, definition 3.

    Examples
    --------
    >>> none, a, b, both = frozenset(), frozenset("a"), frozenset("b"), frozenset("ab")
    >>> interaction_index(("a", "b"), {none: 0.0, a: 1.0, b: 0.0, both: 3.0}, pair=("a", "b"))
    2.0
    """
    n, joined = len(players), frozenset(pair)
    others = [player for player in players if player not in joined]
    total = 0.0
    for size in range(len(others) + 1):
        weight = factorial(size) * factorial(n - size - 2) / factorial(n - 1)
        for subset in map(frozenset, combinations(others, size)):
            alone = sum(worth[subset | {player}] for player in pair)
            total += weight * (worth[subset | joined] - alone + worth[subset])
    return total


def without_modalities(prediction: Prediction, modalities: tuple[str, ...]) -> list[Counterfactual]:
    """Return the answer without each modality of a case, as far as another is left.

    Parameters
    ----------
    prediction : Prediction
    modalities : tuple of str
        Of the model.

    Returns
    -------
    list of Counterfactual
    """
    full = prediction.probabilities[prediction.condition][-1]
    by_parts = {frozenset(parts): name for name, parts in conditions_of(modalities).items()}
    found = []
    for gone in prediction.modalities_used:
        condition = by_parts.get(frozenset(prediction.modalities_used) - {gone}, "")
        if condition in prediction.probabilities:
            p = prediction.probabilities[condition][-1]
            found.append(Counterfactual("modality", gone, (), p, p - full))
    return found
