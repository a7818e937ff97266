"""Whether a model does as well for some as for others: figures by any column, and a test that the groups are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

from medfuse.errors import ManifestError
from medfuse.evaluation.calls import call_figures
from medfuse.evaluation.delong import auroc, auroc_influence
from medfuse.evaluation.inputs import check_level
from medfuse.evaluation.metrics import brier
from medfuse.evaluation.model_comparison import holm
from medfuse.evaluation.proportions import effective_n
from medfuse.types import Array, Estimate

__all__ = ["Subgroup", "SubgroupCases", "SubgroupFactor", "subgroup_factor", "subgroup_factors"]

Flags = NDArray[np.bool_]
MOST_LEVELS = 12
"""A column of more different texts names cases rather than groups."""
NUMBER_LEVELS = 5
"""A column of numbers with more different values is cut into thirds."""
MISSING = ""


@dataclass(frozen=True, slots=True)
class Subgroup:
    """The figures of one group.

    Parameters
    ----------
    name : str
        The value of the column; of a cut number ``"< 40"``, ``"40 to < 60"`` and ``">= 60"``; ``""`` where it is
        missing.
    n, n_positive, n_patients : int
    figures : mapping of str to Estimate
        ``sensitivity``, ``specificity``, ``brier``, and ``auroc`` where both classes are present.
    """

    name: str
    n: int
    n_positive: int
    n_patients: int
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class SubgroupFactor:
    """A column, its groups, and whether they differ.

    Parameters
    ----------
    column, condition : str
    groups : tuple of Subgroup
        That of missing values last; it is in no test.
    interaction : mapping of str to float
        P value that all groups are alike, by figure (``auroc``, ``sensitivity``, ``specificity``); NaN where fewer
        than two groups tell.
    p_holm : mapping of str to float
        The same, corrected for the number of columns and figures asked of.
    n_missing : int
    cuts : tuple of float
        Where a number was cut; empty of other columns.
    """

    column: str
    condition: str
    groups: tuple[Subgroup, ...]
    interaction: Mapping[str, float]
    p_holm: Mapping[str, float]
    n_missing: int
    cuts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SubgroupCases:
    """What the figures of groups need.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    probabilities : ndarray, shape (n,)
    calls : ndarray of bool, shape (n,)
    codes : ndarray of int, shape (n,)
        The patient of each case, 0, 1, ...
    """

    positive: Flags
    probabilities: Array
    calls: Flags
    codes: NDArray[np.intp]


def subgroup_factors(
    cases: SubgroupCases, columns: pd.DataFrame, *, condition: str, level: float = 0.95
) -> tuple[SubgroupFactor, ...]:
    """Return the groups of every column that makes groups.

    Parameters
    ----------
    cases : SubgroupCases
    columns : DataFrame
        One row a case, in the order of the cases. A column of one value, or of too many texts, is left out.
    condition : str
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    tuple of SubgroupFactor

    Raises
    ------
    ManifestError
        If there is not one row a case.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> positive, p = np.arange(60) % 2 == 1, rng.random(60)
    >>> cases = SubgroupCases(positive, p, p > 0.5, np.arange(60))
    >>> columns = pd.DataFrame({"site": ["a", "b", "c"] * 20, "one": "x", "id": [f"n{i}" for i in range(60)]})
    >>> [(factor.column, len(factor.groups)) for factor in subgroup_factors(cases, columns, condition="fused")]
    [('site', 3)]
    """
    if len(columns) != cases.positive.size:
        wrong = f"found {len(columns)} rows"
        raise ManifestError("subgroup columns", wrong, expected=f"{cases.positive.size}, one a case")
    split = {str(name): _levels(columns[name]) for name in columns.columns}
    found = [
        subgroup_factor(cases, groups, column=column, condition=condition, cuts=cuts, level=level)
        for column, (groups, cuts) in split.items()
        if len(groups.categories) > 1
    ]
    asked = [(k, name) for k, factor in enumerate(found) for name, p in factor.interaction.items() if not np.isnan(p)]
    corrected = holm([found[k].interaction[name] for k, name in asked])
    by_factor: list[dict[str, float]] = [{name: float("nan") for name in factor.interaction} for factor in found]
    for (k, name), p in zip(asked, corrected, strict=True):
        by_factor[k][name] = p
    return tuple(
        SubgroupFactor(f.column, f.condition, f.groups, f.interaction, p_holm, f.n_missing, f.cuts)
        for f, p_holm in zip(found, by_factor, strict=True)
    )


def subgroup_factor(
    cases: SubgroupCases,
    groups: pd.Categorical,
    *,
    column: str,
    condition: str,
    cuts: tuple[float, ...] = (),
    level: float = 0.95,
) -> SubgroupFactor:
    """Return the groups of one column.

    Parameters
    ----------
    cases : SubgroupCases
    groups : Categorical
        The group of each case, missing where unknown.
    column, condition : str
    cuts : tuple of float
        Where a number was cut.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    SubgroupFactor
        With p values as they are, uncorrected.

    Examples
    --------
    >>> cases = SubgroupCases(*np.array([[1, 0, 1, 0]], dtype=bool), np.array([0.9, 0.1, 0.2, 0.8]),
    ...                       np.array([True, False, False, True]), np.arange(4))
    >>> factor = subgroup_factor(cases, pd.Categorical(["a", "a", "b", "b"]), column="site", condition="fused")
    >>> [(group.name, group.figures["auroc"].value) for group in factor.groups]
    [('a', 1.0), ('b', 0.0)]
    """
    check_level(level)
    inside = {str(name): np.asarray(groups.codes == k) for k, name in enumerate(groups.categories)}
    inside = {name: mask for name, mask in inside.items() if mask.any()}
    found = [_group(cases, name, mask, level=level) for name, mask in inside.items()]
    interaction = {
        "auroc": _areas_differ(cases, list(inside.values())),
        "sensitivity": _shares_differ(cases, list(inside.values()), of_positive=True),
        "specificity": _shares_differ(cases, list(inside.values()), of_positive=False),
    }
    missing = np.asarray(groups.codes == -1)
    if missing.any():
        found.append(_group(cases, MISSING, missing, level=level))
    return SubgroupFactor(column, condition, tuple(found), interaction, interaction, int(missing.sum()), cuts)


def _group(cases: SubgroupCases, name: str, inside: Flags, *, level: float) -> Subgroup:
    labels, p = cases.positive[inside], cases.probabilities[inside]
    codes = np.unique(cases.codes[inside], return_inverse=True)[1].reshape(-1)
    n_patients = int(codes.max()) + 1
    clusters = codes if n_patients < labels.size else None
    called = call_figures(labels, cases.calls[inside], level=level, clusters=clusters)
    figures = {key: called[key] for key in ("sensitivity", "specificity")}
    figures["brier"] = brier(labels, p, level=level, clusters=clusters)
    if 0 < labels.sum() < labels.size:
        figures = {"auroc": auroc(labels, p, level=level, clusters=clusters), **figures}
    return Subgroup(name, labels.size, int(labels.sum()), n_patients, figures)


def _areas_differ(cases: SubgroupCases, groups: list[Flags]) -> float:
    """P value that all areas are equal, on the logit scale, by the covariance over patients (Wald).

    A group whose area is 0 or 1, or that lacks a class, has no variance to compare by and is left out.
    """
    n_clusters = int(cases.codes.max()) + 1
    values, sums = [], []
    for inside in groups:
        labels = cases.positive[inside]
        if labels.sum() < 2 or labels.size - labels.sum() < 2:
            continue
        figure = auroc_influence(labels, cases.probabilities[inside])
        if 0 < figure.value < 1:
            scale = figure.value * (1 - figure.value)
            n_patients = np.unique(cases.codes[inside]).size
            by_patient = np.bincount(cases.codes[inside], weights=figure.by_case / scale, minlength=n_clusters)
            sums.append(by_patient * np.sqrt(n_patients / max(n_patients - 1, 1)))
            values.append(np.log(figure.value / (1 - figure.value)))
    if len(values) < 2:
        return float("nan")
    table, contrast = np.stack(sums), np.eye(len(values))[1:] - np.eye(len(values))[0]
    gap, covariance = contrast @ np.array(values), contrast @ (table @ table.T) @ contrast.T
    return float(chi2.sf(gap @ np.linalg.pinv(covariance) @ gap, len(values) - 1))


def _shares_differ(cases: SubgroupCases, groups: list[Flags], *, of_positive: bool) -> float:
    """P value that all shares are equal: chi squared of effective numbers (Rao and Scott 1992)."""
    right = cases.calls == cases.positive
    found = []
    for inside in groups:
        chosen = inside & (cases.positive if of_positive else ~cases.positive)
        if chosen.any():
            hits = right[chosen].astype(np.float64)
            found.append((float(hits.mean()), effective_n(hits, cases.codes[chosen])))
    if len(found) < 2:
        return float("nan")
    shares, sizes = np.array(found).T
    pooled = float(shares @ sizes / sizes.sum())
    if pooled in (0.0, 1.0):
        return 1.0
    return float(chi2.sf(float(sizes @ (shares - pooled) ** 2) / (pooled * (1 - pooled)), len(found) - 1))


def _levels(column: pd.Series) -> tuple[pd.Categorical, tuple[float, ...]]:
    """Return the group of each case, and where a number was cut; no categories where a column makes no groups."""
    text = column.astype("string").str.strip()
    text = text.mask(text == "")
    number = np.asarray(pd.to_numeric(text, errors="coerce").astype("float64"), dtype=np.float64)
    known = text.notna().to_numpy()
    if known.any() and np.isfinite(number[known]).all():
        if np.unique(number[known]).size > NUMBER_LEVELS:
            return _thirds(number)
        text = pd.Series(
            [f"{value:g}" if ok else pd.NA for value, ok in zip(number, known, strict=True)], dtype="string"
        )
    names = sorted(text.dropna().unique().tolist(), key=_natural)
    names = names if 1 < len(names) <= MOST_LEVELS else []
    return pd.Categorical(text.where(text.isin(names)).astype(object), categories=names), ()


def _thirds(number: Array) -> tuple[pd.Categorical, tuple[float, ...]]:
    cuts = tuple(sorted({float(f"{cut:.3g}") for cut in np.nanquantile(number, [1 / 3, 2 / 3])}))
    between = [f"{a:g} to < {b:g}" for a, b in pairwise(cuts)]
    names = [f"< {cuts[0]:g}", *between, f">= {cuts[-1]:g}"]
    codes = np.where(np.isnan(number), -1, np.searchsorted(np.array(cuts), number, side="right"))
    labels = np.array([*names, None], dtype=object)[codes]
    return pd.Categorical(labels, categories=np.array(names, dtype=object)), cuts


def _natural(name: str) -> tuple[float, str]:
    """Order numbers by size, before all else by name."""
    try:
        return float(name), ""
    except ValueError:
        return float("inf"), name
