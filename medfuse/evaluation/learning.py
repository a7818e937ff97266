"""What more training cases gave: the same test cases, answered by models trained on more and more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from medfuse.errors import ManifestError, UsageError
from medfuse.evaluation.answers import main_condition
from medfuse.evaluation.delong import auroc, delong_test
from medfuse.evaluation.evaluating import cases_of_test
from medfuse.evaluation.inputs import repeated_patients
from medfuse.types import Comparison, Estimate

__all__ = ["LearningCurve", "learning_curve"]


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """AUROC by the number of training cases.

    Parameters
    ----------
    condition : str
    sizes : tuple of int
        Training cases, rising.
    areas : tuple of Estimate
        One a size, on the same test cases.
    last_gain : Comparison
        The largest size minus the one before, paired: an interval far from 0 says that more cases would still help.
    """

    condition: str
    sizes: tuple[int, ...]
    areas: tuple[Estimate, ...]
    last_gain: Comparison


def learning_curve(
    tables: Mapping[int, pd.DataFrame],
    *,
    target: str | None = None,
    positive: str | None = None,
    condition: str | None = None,
    level: float = 0.95,
) -> LearningCurve:
    """Return the AUROC of models trained on several numbers of cases.

    Parameters
    ----------
    tables : mapping of int to DataFrame
        Predictions in the long format of the contract, by number of training cases; two or more.
    target, positive : str, optional
        As of `evaluate`.
    condition : str, optional
        By default fused, if there.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    LearningCurve
        Over the test cases that every table holds.

    Raises
    ------
    UsageError
        If there are fewer than two sizes.
    ManifestError
        If the tables share no test case, differ in a label, or lack the condition.
    LabelError
        If the shared cases lack a class.

    Examples
    --------
    >>> rows = {"case_id": list("abcd"), "label": [0, 1, 0, 1]}
    >>> tables = {10: pd.DataFrame(rows | {"probability": [0.4, 0.3, 0.5, 0.6]}),
    ...           90: pd.DataFrame(rows | {"probability": [0.1, 0.3, 0.2, 0.6]})}
    >>> found = learning_curve(tables)
    >>> [area.value for area in found.areas], found.last_gain.difference
    ([0.5, 1.0], 0.5)
    """
    if len(tables) < 2:
        raise UsageError("learning curve", f"found {len(tables)} sizes", expected="two or more")
    sizes = sorted(tables)
    cases = [cases_of_test(tables[size], target=target, positive=positive) for size in sizes]
    ids = cases[0].probabilities.index
    for one in cases[1:]:
        ids = ids.intersection(one.probabilities.index)
    if ids.empty:
        raise ManifestError("learning curve", "found no test case in every table", expected="the same test cases")
    chosen = condition or main_condition([str(name) for name in cases[0].probabilities.columns])
    if any(chosen not in one.probabilities.columns for one in cases):
        raise ManifestError("learning curve", f"found a table without condition {chosen!r}", expected="it in each")
    places = [one.probabilities.index.get_indexer(ids) for one in cases]
    labels = cases[0].labels[places[0]]
    if any((one.labels[place] != labels).any() for one, place in zip(cases, places, strict=True)):
        raise ManifestError("learning curve", "found a case with two labels", expected="one label a case")
    clusters = repeated_patients(cases[0].patients[places[0]])
    answers = [one.probabilities[chosen].to_numpy()[place] for one, place in zip(cases, places, strict=True)]
    areas = tuple(auroc(labels, p, level=level, clusters=clusters) for p in answers)
    gain = delong_test(labels, answers[-1], answers[-2], level=level, clusters=clusters)
    return LearningCurve(chosen, tuple(sizes), areas, gain)
