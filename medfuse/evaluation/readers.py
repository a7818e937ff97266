"""How far people agree on the labels: what no model can pass, since its labels are theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.errors import DataError, LabelError
from medfuse.evaluation.bootstrap import bootstrap_interval
from medfuse.evaluation.delong import auroc_influence
from medfuse.evaluation.influence import Influence, estimate, mean_of
from medfuse.evaluation.inputs import check_level, cluster_codes, finite_scores
from medfuse.types import Array, Estimate

__all__ = ["ReaderAgreement", "krippendorff_alpha", "reader_agreement"]

Scale = Literal["nominal", "ordinal", "interval"]


@dataclass(frozen=True, slots=True)
class ReaderAgreement:
    """How several readers agree, and how one of them does against the others.

    Parameters
    ----------
    n_readers : int
        Columns; of each case some may be missing.
    n : int
        Cases with two readings or more.
    alpha : Estimate
        Krippendorff's alpha: 1 where readers agree, 0 where they agree no more than by chance.
    ceiling : Estimate
        AUROC of one reader's readings against the mean of the others', averaged over readers: what a model that reads
        as well as a reader would reach.
    model : Estimate or None
        AUROC of the model against the very same labels.
    """

    n_readers: int
    n: int
    alpha: Estimate
    ceiling: Estimate
    model: Estimate | None = None


def reader_agreement(
    readings: ArrayLike,
    *,
    middle: float,
    scale: Scale = "ordinal",
    model: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> ReaderAgreement:
    """Return how far readers agree, and the AUROC of a reader against the others.

    Each reader in turn is set against the mean of the others: above ``middle`` a case counts as positive, below it as
    negative, at it not at all.

    Parameters
    ----------
    readings : array_like, shape (n, readers)
        Higher means more likely positive; NaN where a reader did not read the case.
    middle : float
        Between negative and positive, such as 3 of 5 grades, or 0.5 of 0 and 1.
    scale : {"nominal", "ordinal", "interval"}
        How far apart two readings are, for alpha.
    model : array_like, shape (n,), optional
        A model's scores of the same cases.
    clusters : array_like, shape (n,), optional
        The patient of each case, where patients repeat.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    ReaderAgreement

    Raises
    ------
    DataError
        If readings are no table of two readers or more, or are infinite.
    LabelError
        If no reader can be set against the others, since their labels lack a class.

    Notes
    -----
    Source: Krippendorff 2019, Content Analysis, chapter 12; the ceiling as in McKinney et al. 2020, International
    evaluation of an AI system for breast cancer screening, of readers against others.

    Examples
    --------
    >>> readings = [[5, 4, 5], [1, 2, 1], [4, 2, 4], [2, 4, 1], [5, 5, 4], [1, 1, 2]]
    >>> found = reader_agreement(readings, middle=3)
    >>> round(found.alpha.value, 3), round(found.ceiling.value, 3)
    (0.663, 0.926)
    """
    check_level(level)
    table = np.asarray(readings, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not len(table) or np.isinf(table).any():
        found = f"found an array of shape {table.shape}, or infinite readings"
        raise DataError("readings", found, expected="(n, readers), two readers or more")
    codes = cluster_codes(clusters, len(table))
    scores = None if model is None else finite_scores(model, len(table), where="model")
    own, models = [], []
    for reader in range(table.shape[1]):
        others = np.delete(table, reader, axis=1)
        n_others = np.isfinite(others).sum(axis=1)
        mean = np.nansum(others, axis=1) / np.maximum(n_others, 1)
        known = np.asarray((n_others > 0) & np.isfinite(table[:, reader]) & (mean != middle))
        positive = np.asarray(mean > middle)
        if 0 < positive[known].sum() < known.sum():
            own.append(_area(positive, table[:, reader], known))
            if scores is not None:
                models.append(_area(positive, scores, known))
    if not own:
        raise LabelError("readings", "found no reader whose others give both classes", expected="both classes")
    n_read = np.isfinite(table).sum(axis=1)
    n_positive = int(((n_read > 0) & (np.nansum(table, axis=1) > middle * n_read)).sum())
    ceiling = estimate(mean_of(own, name="reader_auroc"), codes, n_positive=n_positive, level=level)
    reached = (
        estimate(mean_of(models, name="model_auroc"), codes, n_positive=n_positive, level=level) if models else None
    )
    alpha = _alpha(table, codes, scale, level=level)
    return ReaderAgreement(table.shape[1], alpha.n, alpha, ceiling, reached)


def krippendorff_alpha(readings: ArrayLike, *, scale: Scale = "ordinal") -> float:
    """Return Krippendorff's alpha of several readers.

    Parameters
    ----------
    readings : array_like, shape (n, readers)
        NaN where a reader did not read the case.
    scale : {"nominal", "ordinal", "interval"}

    Returns
    -------
    float
        NaN where all readings are alike, or no case has two.

    Notes
    -----
    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.

    Examples
    --------
    >>> round(krippendorff_alpha([[1, 1], [2, 2], [3, 3], [3, 4]], scale="nominal"), 3)
    0.696
    """
    counts, values = _counts(np.asarray(readings, dtype=np.float64))
    return float(_alphas(counts[None], values, scale)[0])


def _alpha(table: Array, codes: NDArray[np.intp], scale: Scale, *, level: float) -> Estimate:
    """Estimate alpha over resampled patients."""
    counts, values = _counts(table)
    pairable = counts.sum(axis=1) >= 2
    n = int(pairable.sum())
    value = float(_alphas(counts[None], values, scale)[0])

    def statistic(weights: Array) -> Array:
        return _weighted_alphas(weights, counts, values, scale)

    low, high = bootstrap_interval(statistic, codes, level=level)
    method = f"bootstrap of {'patients' if int(codes.max()) + 1 < codes.size else 'cases'} {100 * level:g}%, {scale}"
    return Estimate("alpha", value, min(low, value), max(high, value), n, 0, method)


def _area(positive: NDArray[np.bool_], scores: Array, known: NDArray[np.bool_]) -> Influence:
    """Area over the known cases, its influence spread over all."""
    one = auroc_influence(positive[known], scores[known])
    by_case = np.zeros(scores.size)
    by_case[known] = one.by_case
    return Influence(one.name, one.value, by_case, one.scale)


def _counts(table: Array) -> tuple[Array, Array]:
    """How many readers gave each case each value."""
    values = np.unique(table[np.isfinite(table)])
    return (table[:, :, None] == values).sum(axis=1).astype(np.float64), values


def _alphas(counts: Array, values: Array, scale: Scale) -> Array:
    return _weighted_alphas(np.ones((1, counts.shape[1])), counts[0], values, scale)


def _weighted_alphas(weights: Array, counts: Array, values: Array, scale: Scale) -> Array:
    """Alpha of each row of case weights, from the coincidences of values within cases."""
    totals = counts.sum(axis=1)
    used = totals >= 2
    if not used.any() or values.size < 2:
        return np.full(len(weights), np.nan)
    kept, per_case = counts[used], 1 / (totals[used] - 1)
    pairs = kept[:, :, None] * kept[:, None, :] - np.einsum("ij,jk->ijk", kept, np.eye(values.size))
    coincidences = np.einsum("rn,njk->rjk", weights[:, used] * per_case, pairs)
    margins = coincidences.sum(axis=2)
    total = margins.sum(axis=1)
    apart = np.stack([_apart(row, values, scale) for row in margins])
    seen = (coincidences * apart).sum(axis=(1, 2))
    by_chance = np.einsum("rj,rk,rjk->r", margins, margins, apart)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 0, 1 - (total - 1) * seen / by_chance, np.nan)


def _apart(margins: Array, values: Array, scale: Scale) -> Array:
    """Squared distance of every two values."""
    if scale == "nominal":
        return 1 - np.eye(values.size)
    if scale == "interval":
        return np.asarray((values[:, None] - values) ** 2)
    below = np.cumsum(margins) - margins / 2
    return np.asarray((below[:, None] - below) ** 2)
