"""What a model would gain by leaving the cases it is least sure of to a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medfuse.errors import UsageError
from medfuse.evaluation.inputs import binary_labels, check_level, cluster_codes, finite_scores
from medfuse.evaluation.proportions import share
from medfuse.types import Array

__all__ = ["AbstentionCurve", "abstention_curve"]

SHARES = tuple(round(1 - 0.05 * step, 2) for step in range(19))


@dataclass(frozen=True, slots=True, eq=False)
class AbstentionCurve:
    """Share of wrong calls among the cases answered, as the least sure ones are left out.

    Parameters
    ----------
    answered : ndarray, shape (points,)
        Share of the cases that are answered, falling from 1.
    error, low, high : ndarray, shape (points,)
        Share of those that are called wrong, with the interval.
    """

    answered: Array
    error: Array
    low: Array
    high: Array


def abstention_curve(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    threshold: ArrayLike = 0.5,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> AbstentionCurve:
    """Return the share of wrong calls against the share of cases answered.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1.
    probabilities : array_like, shape (n,)
        In [0, 1].
    threshold : float or array_like, shape (n,)
        At or above it a case is called positive. The nearer a probability is to it, as a share of the way to 0 or 1,
        the less sure the call.
    level : float
        Confidence level in (0, 1).
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.

    Returns
    -------
    AbstentionCurve

    Raises
    ------
    DataError
        If a probability lies outside [0, 1].
    UsageError
        If a threshold does.

    Notes
    -----
    Source: Geifman and El-Yaniv 2017, Selective Classification for Deep Neural Networks, section 2 (risk and coverage).

    Examples
    --------
    >>> curve = abstention_curve([0, 1, 0, 1], [0.1, 0.9, 0.6, 0.8])
    >>> curve.answered[:2].tolist(), curve.error[:2].tolist()
    ([1.0, 0.75], [0.25, 0.0])
    """
    positive = binary_labels(labels)
    n = positive.size
    values = finite_scores(probabilities, n, where="probabilities", unit_interval=True)
    cuts = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (n,))
    if not ((cuts >= 0) & (cuts <= 1)).all():
        raise UsageError("threshold", "found a number outside [0, 1]", expected="a probability")
    codes = None if clusters is None else cluster_codes(clusters, n)
    called = values >= cuts
    room = np.where(called, 1 - cuts, cuts)
    sureness = np.abs(values - cuts) / np.where(room > 0, room, 1.0)
    order = np.argsort(-sureness, kind="stable")
    wrong = (called != positive)[order]
    ordered = None if codes is None else codes[order]
    kept = np.unique(np.ceil(np.asarray(SHARES) * n - 1e-9).astype(int))[::-1]
    found = []
    for count in kept:
        inside = None if ordered is None else ordered[:count]
        everyone = np.ones(count, dtype=bool)
        found.append(share("error", wrong[:count], everyone, wrong[:count], codes=inside, level=check_level(level)))
    ends = np.array([[one.value, one.low, one.high] for one in found]).T
    return AbstentionCurve(kept / n, *ends)
