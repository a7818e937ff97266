"""Whether scores change when the model forgets what it learnt, and stay when only chance changes."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from medfuse.explain.case_logit import CaseLogit, Classifier
from medfuse.explain.faithfulness import smoothed
from medfuse.explain.method import Method, Scores
from medfuse.explanation_parts import TrustCheck

__all__ = [
    "PARTS",
    "forgetful_models",
    "randomisation_checks",
    "randomised",
    "rank_correlation",
    "repeatability_checks",
]

PARTS = ("heads", "fusion", "projections", "encoders")
"""Of a classifier, from the answer to the input: the order of the cascade."""
N_RANDOM_MODELS = 2
RANDOMISATION_LIMIT = 0.5
N_REPEATS = 1
REPEATABILITY_LIMIT = 0.7
NOISE = 0.01
"""Standard deviation of what is added to an image for a repeat, as a part of its range of 0 to 1."""


def randomised(model: Classifier, *, parts: Sequence[str] = PARTS, seed: int = 0) -> Classifier:
    """Return a copy of a model that has forgotten what it learnt: each weight tensor's numbers in random order.

    So all keep their scale. Running statistics of norms stay.

    Parameters
    ----------
    model : StudyClassifier or Ensemble
    parts : sequence of str
        What forgets; by default everything.
    seed : int

    Notes
    -----
    Source: Adebayo et al. 2018, Sanity Checks for Saliency Maps, section 3 (model parameter randomisation); random
    order in place of a new draw, so that it fits every layer.
    """
    forgetful = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in forgetful.named_parameters():
            if _part_of(name) in parts:
                order = torch.randperm(parameter.numel(), generator=generator)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return forgetful


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Return Spearman's rank correlation; 0 if one of them is the same everywhere.

    Examples
    --------
    >>> rank_correlation(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([1.0, 4.0, 9.0]))
    1.0
    """
    ranks = [rankdata(values.flatten().numpy()) for values in (one, other)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.clip(np.corrcoef(ranks[0], ranks[1])[0, 1], -1.0, 1.0))


def forgetful_models(model: Classifier, *, n: int = N_RANDOM_MODELS, seed: int = 0) -> list[Classifier]:
    """Return some copies of a model that have forgotten all, each in its own way; see `randomised`."""
    return [randomised(model, seed=seed + k) for k in range(n)]


def randomisation_checks(
    case: CaseLogit, method: Method, scores: Scores, forgetful: Sequence[Classifier], *, seed: int = 0
) -> list[TrustCheck]:
    """Compare scores with those of models that have forgotten all.

    Parameters
    ----------
    case : CaseLogit
    method : Method
    scores : dict of str to Tensor
        Of the trained model.
    forgetful : sequence of StudyClassifier or Ensemble
        As `forgetful_models` returns them.
    seed : int

    Returns
    -------
    list of TrustCheck
        ``randomisation_<input>``: mean size of the rank correlation, 1 for a map that knows nothing of the model; it
        passes below 0.5. Size, since a map that only turns its sign marks the same places. Details: ``signed`` (mean
        with its sign), ``unsigned`` (of the scores without their signs).
    """
    others = [method.unrefined()(case.by(model), seed=seed) for model in forgetful]
    checks = []
    for name, own in scores.items():
        pairs = [(smoothed(own), smoothed(other[name])) for other in others]
        signed = [rank_correlation(one, other) for one, other in pairs]
        unsigned = [rank_correlation(one.abs(), other.abs()) for one, other in pairs]
        value = float(np.mean(np.abs(signed)))
        details = {
            "signed": float(np.mean(signed)),
            "unsigned": float(np.mean(unsigned)),
            "n_models": float(len(forgetful)),
        }
        judged = own.numel() > 3
        passed = value < RANDOMISATION_LIMIT if judged else None
        checks.append(
            TrustCheck(f"randomisation_{name}", value, passed, RANDOMISATION_LIMIT if judged else None, details)
        )
    return checks


def repeatability_checks(
    case: CaseLogit, method: Method, scores: Scores, *, n_repeats: int = N_REPEATS, seed: int = 0
) -> list[TrustCheck]:
    """Compare scores with those by other seeds, of the same image with a little noise.

    Parameters
    ----------
    case : CaseLogit
    method : Method
    scores : dict of str to Tensor
    n_repeats : int
    seed : int
        Of ``scores``; the repeats have those that follow.

    Returns
    -------
    list of TrustCheck
        ``repeatability_<input>``: mean rank correlation, 1 for equal maps; it passes from 0.7 on.
    """
    repeats = [method(_with_noise(case, seed + k), seed=seed + k) for k in range(1, n_repeats + 1)]
    checks = []
    for name, own in scores.items():
        found = [rank_correlation(smoothed(own), smoothed(other[name])) for other in repeats]
        value = float(np.mean(found))
        judged = own.numel() > 3
        limit = REPEATABILITY_LIMIT if judged else None
        passed = value >= REPEATABILITY_LIMIT if judged else None
        checks.append(TrustCheck(f"repeatability_{name}", value, passed, limit, {"n_repeats": float(n_repeats)}))
    return checks


def _with_noise(case: CaseLogit, seed: int) -> CaseLogit:
    if "image" not in case.modalities:
        return case
    image = case.batch.image
    noise = NOISE * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return case.with_image((image + noise).clamp(0.0, 1.0))


def _part_of(name: str) -> str:
    """Return the part of a classifier that a parameter belongs to.

    Examples
    --------
    >>> _part_of("heads.fused.malignancy.layer.weight"), _part_of("members.1.local_projections.image.0.bias")
    ('heads', 'projections')
    """
    pieces = name.split(".")
    return pieces[2 if pieces[0] == "members" else 0].removeprefix("local_")
