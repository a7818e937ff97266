"""Hold methods against each other over many cases: figures of one case, and their means with intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from medfuse.evaluation.bootstrap import bootstrap_interval
from medfuse.explain.case_logit import CaseLogit, members_of
from medfuse.explain.checks import completeness_check
from medfuse.explain.faithfulness import Curves, deletion_and_insertion, random_maps, smoothed
from medfuse.explain.localisation import localisation_checks
from medfuse.explain.method import Method
from medfuse.explain.randomisation import (
    PARTS,
    forgetful_models,
    randomisation_checks,
    randomised,
    rank_correlation,
    repeatability_checks,
)
from medfuse.types import Estimate

__all__ = ["Chance", "audit", "bypass_share", "cascade", "chance_of", "mean_estimate", "ratio_estimate"]

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Chance:
    """What random maps reach on a case.

    Parameters
    ----------
    deletion, insertion : float
        Means over the random maps; see `medfuse.explain.faithfulness.Curves`.
    best : float
        The largest insertion minus deletion among them.
    """

    deletion: float
    insertion: float
    best: float


def chance_of(case: CaseLogit, *, n_random: int, seed: int = 0) -> Chance:
    """Delete and insert by random maps; once a case, for all methods.

    Parameters
    ----------
    case : CaseLogit
        Of which one input moves.
    n_random : int
    seed : int
    """
    [given] = case.inputs()
    shape = given.shape[2:] if given.ndim == 5 else given.shape[1:2]
    found = [deletion_and_insertion(case, one) for one in random_maps(shape, n_random, seed=seed)]
    return Chance(
        float(np.mean([one.deletion for one in found])),
        float(np.mean([one.insertion for one in found])),
        max(one.insertion - one.deletion for one in found),
    )


def audit(case: CaseLogit, method: Method, chance: Chance, *, mask: NDArray[np.bool_] | None, n_models: int) -> Figures:
    """Measure a method on one case.

    Parameters
    ----------
    case : CaseLogit
        Of which one input moves.
    method : Method
    chance : Chance
        What random maps reach on the same case.
    mask : ndarray of bool, shape (I, J, K), optional
        The lesion's.
    n_models : int
        Models that forget what they learnt; 0 leaves that test out.

    Returns
    -------
    dict of str to float
        ``seconds``, ``deletion``, ``insertion``, ``gain`` (insertion minus deletion) and these by chance,
        ``beats_best`` (1 if the gain is above that of every random map), ``repeatability``, ``randomisation``, its
        ``signed`` and ``unsigned`` correlation, ``completeness`` where the method has it, ``mass_inside``,
        ``volume_share`` and ``pointing`` where there is a mask with a voxel.
    """
    [name] = case.names
    started = time.perf_counter()
    scores = method(case)
    figures: Figures = {"seconds": time.perf_counter() - started}
    found: Curves = deletion_and_insertion(case, smoothed(scores[name]))
    gain = found.insertion - found.deletion
    figures |= {"deletion": found.deletion, "insertion": found.insertion, "gain": gain}
    figures |= {"deletion_by_chance": chance.deletion, "insertion_by_chance": chance.insertion}
    figures |= {"gain_by_chance": chance.insertion - chance.deletion, "beats_best": float(gain > chance.best)}
    [repeat] = repeatability_checks(case, method, scores)
    figures["repeatability"] = repeat.value
    if n_models:
        [forgot] = randomisation_checks(case, method, scores, forgetful_models(case.model, n=n_models))
        figures |= {"randomisation": forgot.value, **{key: forgot.details[key] for key in ("signed", "unsigned")}}
    if method.is_complete:
        figures["completeness"] = completeness_check(case, scores).value
    if mask is not None and name == "image" and mask.any():
        hit, mass = localisation_checks(scores[name], torch.from_numpy(mask))
        figures |= {"pointing": hit.value, "mass_inside": mass.value, "volume_share": mass.details["volume_share"]}
    return figures


def cascade(case: CaseLogit, method: Method, *, seed: int = 0) -> Figures:
    """Let one part of the model after the other forget, from the answer to the input.

    Returns
    -------
    dict of str to float
        By the part that forgot last: size of the rank correlation with the trained model's scores.

    Notes
    -----
    Source: Adebayo et al. 2018, Sanity Checks for Saliency Maps, section 3.1 (cascading randomisation).
    """
    [name] = case.names
    own = smoothed(method(case)[name])
    found = {}
    for n, part in enumerate(PARTS, start=1):
        other = method(case.by(randomised(case.model, parts=PARTS[:n], seed=seed)))[name]
        found[part] = abs(rank_correlation(own, smoothed(other)))
    return found


def bypass_share(case: CaseLogit) -> float:
    """Return how much of an image's part in the answer does not pass through the last feature map.

    Parameters
    ----------
    case : CaseLogit
        Of which the image alone moves.

    Returns
    -------
    float
        What is left of the difference from the even image when the feature map is that of the even image, as a share of
        the whole difference: 0 if all passes through the feature map, and an activation map can see all of it.
    """
    full, none = case.ends()
    [empty] = case.baselines()
    encoders = [member.encoders["image"] for member in members_of(case.model)]
    try:
        for encoder in encoders:
            with torch.inference_mode():
                known = encoder.feature_map(empty)  # type: ignore[operator]
            encoder.__dict__["feature_map"] = lambda image, known=known: known.expand(len(image), *known.shape[1:])
        left = float(case.at(*case.inputs())[0])
    finally:
        for encoder in encoders:
            encoder.__dict__.pop("feature_map", None)
    return abs(left - none) / max(abs(full - none), 1e-9)


def mean_estimate(name: str, values: Sequence[float], patients: Sequence[str]) -> Estimate:
    """Return a mean with its interval by patient.

    Parameters
    ----------
    name : str
    values : sequence of float
        At least one.
    patients : sequence of str
        Of each value; whole patients are drawn.

    Examples
    --------
    >>> found = mean_estimate("gain", [0.1, 0.2, 0.3, 0.4], ["a", "a", "b", "c"])
    >>> round(found.value, 2), found.low < found.value < found.high
    (0.25, True)
    """
    array = np.asarray(values, dtype=np.float64)
    low, high = bootstrap_interval(lambda w: w @ array / w.sum(axis=1), _codes(patients))
    return Estimate(name, float(array.mean()), low, high, len(array), 0, "mean, bootstrap by patient 95%")


def ratio_estimate(name: str, above: Sequence[float], below: Sequence[float], patients: Sequence[str]) -> Estimate:
    """Return the ratio of two means with its interval by patient.

    Examples
    --------
    >>> round(ratio_estimate("times", [0.2, 0.4], [0.1, 0.1], ["a", "b"]).value, 2)
    3.0
    """
    one, other = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    low, high = bootstrap_interval(lambda w: (w @ one) / (w @ other), _codes(patients))
    return Estimate(name, float(one.mean() / other.mean()), low, high, len(one), 0, "ratio of means, by patient 95%")


def _codes(patients: Sequence[str]) -> NDArray[np.intp]:
    return np.unique(np.asarray(patients), return_inverse=True)[1].astype(np.intp)
