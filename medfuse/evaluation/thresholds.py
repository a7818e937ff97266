"""The threshold that is best on some cases, which must be validation cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from medfuse.errors import UsageError
from medfuse.evaluation.inputs import finite_scores, two_class_labels
from medfuse.evaluation.plan import Criterion, OperatingRule

__all__ = ["choose_threshold"]


def choose_threshold(
    labels: ArrayLike, probabilities: ArrayLike, *, criterion: Criterion = "youden", aim: float | None = None
) -> float:
    """Return the threshold that is best on these cases; choose it on validation cases only.

    Parameters
    ----------
    labels : array_like, shape (n,)
        0 or 1, both present.
    probabilities : array_like, shape (n,)
        In [0, 1].
    criterion, aim
        As of `OperatingRule`: "youden", "f1", or "sensitivity", "specificity" and "net_benefit" with their aim.

    Returns
    -------
    float
        In [0, 1]; a case is called positive at or above it. Cuts lie midway between neighbouring
        probabilities, so that a case barely moved keeps its call; of equal cuts the one nearest 0.5 is taken, of net
        benefit the one nearest its aim. A specificity that only calling nothing reaches gives 1.

    Raises
    ------
    LabelError
        If a class is absent.
    UsageError
        If the criterion is none of these, or its aim is missing or out of range.

    Notes
    -----
    Source: Youden 1950; Vickers and Elkin 2006, eq. 1 (net benefit).

    Examples
    --------
    >>> choose_threshold([0, 0, 1, 1], [0.125, 0.25, 0.75, 0.875])
    0.5
    >>> choose_threshold([0, 1, 0, 1], [0.125, 0.375, 0.625, 0.875], criterion="sensitivity", aim=1.0)
    0.25
    """
    rule = OperatingRule(criterion, aim)
    if criterion in ("given", "fixed"):
        raise UsageError("criterion", f"found {criterion!r}", expected="one that is chosen on cases")
    positive = two_class_labels(labels)
    values = finite_scores(probabilities, positive.size, where="probabilities", unit_interval=True)
    distinct, which = np.unique(values, return_inverse=True)
    hits = np.bincount(which, weights=positive)[::-1].cumsum()[::-1]  # positives at or above each value
    calls = np.bincount(which)[::-1].cumsum()[::-1]
    cuts = np.concatenate([[distinct[0]], (distinct[1:] + distinct[:-1]) / 2])
    n_positive, n_negative = int(positive.sum()), int(positive.size - positive.sum())
    sensitivity, fall_out = hits / n_positive, (calls - hits) / n_negative
    wanted = rule.aim or 0.0
    if criterion == "sensitivity":
        return float(cuts[np.flatnonzero(sensitivity >= wanted - 1e-12)[-1]])
    if criterion == "specificity":
        reached = np.flatnonzero(1 - fall_out >= wanted - 1e-12)
        return float(cuts[reached[0]]) if reached.size else 1.0
    if criterion == "youden":
        gain, middle = sensitivity - fall_out, 0.5
    elif criterion == "f1":
        gain, middle = 2 * hits / (calls + n_positive), 0.5
    else:
        gain, middle = (hits - (calls - hits) * wanted / (1 - wanted)) / positive.size, wanted
    best = cuts[np.isclose(gain, gain.max(), rtol=0, atol=1e-12)]
    return float(best[np.argmin(np.abs(best - middle))])
