"""Many models on the same cases: areas with intervals, and differences from one of them, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from medfuse.errors import DataError, nearest_name
from medfuse.evaluation.delong import clustered_areas, newcombe_interval, square_and_add
from medfuse.evaluation.influence import interval
from medfuse.evaluation.inputs import check_level, cluster_codes, finite_scores, two_class_labels
from medfuse.types import Comparison, Estimate

__all__ = ["ComparedModel", "compare_areas", "holm"]


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """One model among others.

    Parameters
    ----------
    name : str
    area : Estimate
        Mean AUROC over its trainings.
    against : Comparison or None
        Its area minus the reference's; None for the reference itself.
    p_holm : float
        Of that difference, corrected for the number of models; NaN for the reference.
    """

    name: str
    area: Estimate
    against: Comparison | None
    p_holm: float


def compare_areas(
    labels: ArrayLike,
    scores: Mapping[str, Sequence[ArrayLike]],
    *,
    reference: str,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> list[ComparedModel]:
    """Compare models, each trained once or several times, by their mean area under the ROC curve.

    The mean area of several trainings is a sum of areas on the same cases, so that its variance, and that of a
    difference, follows from the covariance of all areas. It is the variance over patients; that over seeds is not in
    it.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    scores : mapping of str to sequence of array_like of shape (n,)
        By model, one array a training.
    reference : str
        Model that the others are compared with.
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    list of ComparedModel
        In the order given.

    Raises
    ------
    DataError
        If a score is not finite, or the reference is none of the models.
    LabelError
        If labels are not 0 and 1 with at least one of each.

    Notes
    -----
    Source: DeLong, DeLong and Clarke-Pearson 1988, equations 4 and 5 (any contrast of areas); Obuchowski 1997
    (clusters); Holm 1979.

    Examples
    --------
    >>> found = compare_areas([0, 0, 1, 1, 0, 1], {"a": [[1, 2, 3, 4, 2, 2]], "b": [[1, 3, 2, 4, 4, 2]]}, reference="b")
    >>> round(found[0].against.difference, 3)
    0.389
    """
    check_level(level)
    if reference not in scores:
        raise DataError(
            "comparison", f"found no model {reference!r} to compare with", expected=nearest_name(reference, scores)
        )
    positive = two_class_labels(labels)
    n, n_positive = positive.size, int(positive.sum())
    rows = np.stack([finite_scores(row, n, where=f"scores of {name!r}") for name in scores for row in scores[name]])
    areas, covariance = clustered_areas(positive, rows, None if clusters is None else cluster_codes(clusters, n))
    owners = np.array([name for name in scores for _ in scores[name]])
    means = np.stack([(owners == name) / max((owners == name).sum(), 1) for name in scores])
    places = {name: place for place, name in enumerate(scores)}
    values, variances = means @ areas, np.einsum("ij,jk,ik->i", means, covariance, means)
    z = float(norm.ppf((1 + level) / 2))
    how = f"{100 * level:g}%" + ("" if clusters is None else ", clustered by patient")
    estimates = [
        _estimate(float(value), float(variance), level, n=n, n_positive=n_positive, how=how)
        for value, variance in zip(values, variances, strict=True)
    ]
    against: dict[str, Comparison] = {}
    for name in scores:
        contrast = means[places[name]] - means[places[reference]]
        difference, variance = float(contrast @ areas), float(contrast @ covariance @ contrast)
        error = float(np.sqrt(max(variance, 0.0)))
        if not error > 1e-9:  # none, or undefined
            pair = values[[places[name], places[reference]]]
            against[name] = (
                square_and_add(pair, n_positive=n_positive, n=n, level=level)
                if abs(difference) > 1e-12
                else Comparison("auroc", 0.0, 0.0, 0.0, 1.0, n, f"paired DeLong {how}")
            )
            continue
        p_value = float(2 * norm.sf(abs(difference) / error))
        low, high = max(difference - z * error, -1.0), min(difference + z * error, 1.0)
        against[name] = Comparison("auroc", difference, low, high, p_value, n, f"paired DeLong {how}")
    others = [name for name in scores if name != reference]
    corrected = dict(zip(others, holm([against[name].p_value for name in others]), strict=True))
    return [
        ComparedModel(name, estimate, against[name] if name != reference else None, corrected.get(name, float("nan")))
        for name, estimate in zip(scores, estimates, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number, so that the chance of any false finding stays below the level.

    Parameters
    ----------
    p_values : sequence of float

    Returns
    -------
    list of float
        In the order given, at most 1.

    Notes
    -----
    Source: Holm 1979, A simple sequentially rejective multiple test procedure.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, k in enumerate(order):
        largest = max(largest, min((len(p_values) - place) * p_values[k], 1.0))
        corrected[k] = largest
    return corrected


def _estimate(value: float, variance: float, level: float, *, n: int, n_positive: int, how: str) -> Estimate:
    if not variance > 0 or value in (0.0, 1.0):
        low, high = newcombe_interval(value, n_positive=n_positive, n_negative=n - n_positive, level=level)
        return Estimate("auroc", value, low, high, n, n_positive, f"Newcombe score {how}")
    low, high = interval(value, float(np.sqrt(variance)), scale="logit", level=level)
    return Estimate("auroc", value, low, high, n, n_positive, f"logit-DeLong {how}")
