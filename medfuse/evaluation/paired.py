"""Two models on the same cases, by every test that a reader may ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm

from medfuse.evaluation.delong import clustered_areas, delong_test
from medfuse.evaluation.influence import clustered_error, compare
from medfuse.evaluation.inputs import binary_labels, check_level, cluster_codes, finite_scores
from medfuse.evaluation.metrics import auprc_influence, loss_influence
from medfuse.evaluation.plan import EvaluationPlan
from medfuse.evaluation.resampling import bootstrap_auroc_test, permutation_test
from medfuse.types import Array, Comparison

__all__ = ["PairedCases", "detectable_difference", "mcnemar_test", "paired_tests"]

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PairedCases:
    """What the tests of two models need: the same cases, both answers, both calls.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    first, second : ndarray, shape (n,)
        Probabilities in [0, 1].
    first_calls, second_calls : ndarray of bool, shape (n,)
    codes : ndarray of int, shape (n,), optional
        The patient of each case, 0, 1, ..., where patients repeat.
    """

    positive: Flags
    first: Array
    second: Array
    first_calls: Flags
    second_calls: Flags
    codes: NDArray[np.intp] | None = None


def paired_tests(cases: PairedCases, plan: EvaluationPlan) -> dict[str, Comparison]:
    """Return the paired differences of two models, first minus second.

    Parameters
    ----------
    cases : PairedCases
    plan : EvaluationPlan
        Its level, and the number of cases above which nothing is resampled.

    Returns
    -------
    dict of str to Comparison
        ``auroc_delong``, ``auroc_bootstrap``, ``auroc_permutation``, ``auprc``, ``brier``, ``log_loss``, and
        ``accuracy``, by McNemar's test.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> positive = rng.random(60) < 0.5
    >>> good, poor = np.clip(0.5 * positive + rng.random((2, 60)) * [[0.5], [0.9]], 0, 1)
    >>> found = paired_tests(PairedCases(positive, good, poor, good > 0.5, poor > 0.5), EvaluationPlan())
    >>> sorted(found)
    ['accuracy', 'auprc', 'auroc_bootstrap', 'auroc_delong', 'auroc_permutation', 'brier', 'log_loss']
    """
    labels, a, b, level = cases.positive, cases.first, cases.second, plan.level
    codes = cluster_codes(None, labels.size) if cases.codes is None else cases.codes
    found = {"auroc_delong": delong_test(labels, a, b, level=level, clusters=cases.codes)}
    if labels.size <= plan.largest_resampled:
        found["auroc_bootstrap"] = bootstrap_auroc_test(labels, a, b, level=level, clusters=cases.codes)
        found["auroc_permutation"] = permutation_test(labels, a, b, clusters=cases.codes)
    found["auprc"] = compare(auprc_influence(labels, a), auprc_influence(labels, b), codes, level=level)
    for name in ("brier", "log_loss"):
        found[name] = compare(loss_influence(name, labels, a), loss_influence(name, labels, b), codes, level=level)
    found["accuracy"] = mcnemar_test(labels, cases.first_calls, cases.second_calls, level=level, clusters=cases.codes)
    return found


def mcnemar_test(
    labels: ArrayLike,
    calls_a: ArrayLike,
    calls_b: ArrayLike,
    *,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Comparison:
    """Compare how often two models call the same cases right.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    calls_a, calls_b : array_like, shape (n,)
        1 where the case is called positive.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    Comparison
        Accuracy of a minus accuracy of b. The p value is exact, or, where patients repeat, of the difference summed by
        patient.

    Raises
    ------
    DataError
        If a call is neither 0 nor 1.

    Notes
    -----
    Source: McNemar 1947, exact by the binomial of the discordant cases; interval of Bonett and Price 2012, eq. 4 (one
    case added to either discordant cell); patients as in Durkalski et al. 2003, section 2.

    Examples
    --------
    >>> labels, a = [1] * 10, [1] * 9 + [0]
    >>> found = mcnemar_test(labels, a, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    >>> round(found.difference, 2), round(found.p_value, 4)
    (0.6, 0.0312)
    """
    positive = binary_labels(labels)
    n, z = positive.size, float(norm.ppf((1 + check_level(level)) / 2))
    first, second = (
        (finite_scores(calls, n, where=where, unit_interval=True) >= 0.5) == positive
        for where, calls in (("calls_a", calls_a), ("calls_b", calls_b))
    )
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    difference = (gained - lost) / n
    if clusters is None:
        p_value = min(1.0, 2 * float(binom.cdf(min(gained, lost), gained + lost, 0.5))) if gained + lost else 1.0
        up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
        middle, half = up - down, z * float(np.sqrt((up + down - (up - down) ** 2) / (n + 2)))
        low, high = max(min(middle - half, difference), -1.0), min(max(middle + half, difference), 1.0)
        return Comparison(
            "accuracy", difference, low, high, p_value, n, f"exact McNemar, Bonett-Price {100 * level:g}%"
        )
    codes = cluster_codes(clusters, n)
    moved = first.astype(np.float64) - second
    sums = np.bincount(codes, weights=moved)
    spread = float(np.sqrt(sums @ sums))
    p_value = 2 * float(norm.sf(abs(float(sums.sum())) / spread)) if spread else 1.0
    half = z * clustered_error((moved - difference) / n, codes)
    low, high = max(difference - half, -1.0), min(difference + half, 1.0)
    method = f"McNemar {100 * level:g}%, clustered by patient"
    return Comparison("accuracy", difference, low, high, p_value, n, method)


def detectable_difference(
    labels: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    level: float = 0.95,
    power: float = 0.8,
    clusters: ArrayLike | None = None,
) -> float:
    """Return the smallest true difference of two areas that these cases would have shown with a power.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    scores_a, scores_b : array_like, shape (n,)
        Two scores of the same cases.
    level : float
        Confidence level in (0, 1); the two-sided test rejects at 1 less it.
    power : float
        Share of such test sets that would show it, in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    float
        NaN where DeLong's variance is zero or undefined.

    Raises
    ------
    DataError
        If a score is not finite.

    Notes
    -----
    Source: Obuchowski and McClish 1997, sample size of paired areas, solved for the difference, with the variance that
    was seen. It depends on the design and not on the difference found, unlike a power computed from the latter.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(200) % 2
    >>> scores = rng.normal(size=(2, 200)) + labels
    >>> round(detectable_difference(labels, *scores), 2)
    0.13
    """
    positive = binary_labels(labels)
    n = positive.size
    rows = np.stack([finite_scores(s, n, where=w) for w, s in (("scores_a", scores_a), ("scores_b", scores_b))])
    _, covariance = clustered_areas(positive, rows, None if clusters is None else cluster_codes(clusters, n))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if not variance > 1e-15:
        return float("nan")
    return float(norm.ppf((1 + check_level(level)) / 2) + norm.ppf(check_level(power))) * float(np.sqrt(variance))
