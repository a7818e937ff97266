"""Figures over several classes: means of each class against the rest, and what only all classes together show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from medfuse.evaluation.delong import auroc_influence
from medfuse.evaluation.influence import Influence, Scale, estimate, mean_of, undefined
from medfuse.evaluation.metrics import auprc_influence
from medfuse.evaluation.proportions import share, wilson_interval
from medfuse.types import Array, Estimate

__all__ = ["class_figures", "confusion_matrix", "macro_area", "quadratic_kappa", "table_influence"]

Codes = NDArray[np.intp]
STEP = 1e-6
"""Share of the cases by which a cell of the confusion matrix is moved to see how a figure follows."""


def class_figures(
    index: Codes, probabilities: Array, codes: Codes, *, is_ordinal: bool, level: float
) -> dict[str, Estimate]:
    """Return the figures of a target of several exclusive classes.

    Parameters
    ----------
    index : ndarray of int, shape (n,)
        True class of each case.
    probabilities : ndarray, shape (n, classes)
        The most likely class is called.
    codes : ndarray of int, shape (n,)
        The patient of each case, 0, 1, ...
    is_ordinal : bool
        Whether the classes rise.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    dict of str to Estimate
        ``macro_auroc`` and ``macro_auprc`` (means of each class against the rest, of classes that occur), ``accuracy``,
        ``balanced_accuracy``, ``macro_f1``, ``mcc``, ``log_loss``, ``brier`` (summed over classes, so at most 2); of
        rising classes also ``quadratic_kappa``, ``mean_absolute_error`` (in classes) and ``ranked_probability_score``.

    Notes
    -----
    Source: Hand and Till 2001 discuss such means of areas; Gorodkin 2004 (mcc of several classes); Cohen 1968
    (weighted kappa); Epstein 1969 (ranked probability score, here divided by the number of steps).

    Examples
    --------
    >>> p = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6], [0.5, 0.4, 0.1]])
    >>> found = class_figures(np.array([0, 1, 2, 1]), p, np.arange(4), is_ordinal=True, level=0.95)
    >>> found["accuracy"].value, round(found["balanced_accuracy"].value, 3), found["mean_absolute_error"].value
    (0.75, 0.833, 0.25)
    """
    n, n_classes = probabilities.shape
    called = probabilities.argmax(axis=1).astype(np.intp)
    present = [k for k in range(n_classes) if 0 < (index == k).sum() < n]
    figures = [macro_area(name, [(index == k, probabilities[:, k]) for k in present]) for name in ("auroc", "auprc")]
    tables: list[tuple[str, Callable[[Array], float], Scale]] = [
        ("balanced_accuracy", _balanced, "logit"),
        ("macro_f1", _macro_f1, "logit"),
        ("mcc", _mcc, "fisher"),
    ]
    if is_ordinal:
        tables.append(("quadratic_kappa", quadratic_kappa, "fisher"))
    figures += [table_influence(name, f, index, called, n_classes, scale=scale) for name, f, scale in tables]
    figures += [_mean(name, losses) for name, losses in _losses(index, called, probabilities, is_ordinal=is_ordinal)]
    clusters = codes if int(codes.max()) + 1 < n else None
    right = index == called
    found = {"accuracy": share("accuracy", right, np.ones_like(right), right, codes=clusters, level=level)}
    for figure in figures:
        found[figure.name] = _estimate(figure, codes, found["accuracy"], level=level)
    return found


def macro_area(name: str, parts: Sequence[tuple[NDArray[np.bool_], Array]]) -> Influence:
    """Return the mean area of several classes or labels.

    Parameters
    ----------
    name : {"auroc", "auprc"}
    parts : sequence of (ndarray of bool, ndarray), each of shape (n,)
        Labels and scores of the same cases; a score is NaN where the case's label is unknown.

    Returns
    -------
    Influence
        Named ``macro_<name>``.

    Examples
    --------
    >>> labels, scores = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
    >>> macro_area("auroc", [(labels, scores), (~labels, np.array([0.1, 0.9, 0.2, np.nan]))]).value
    0.875
    """
    area = auroc_influence if name == "auroc" else auprc_influence
    figures = []
    for positive, scores in parts:
        known = ~np.isnan(scores)
        one = area(positive[known], scores[known])
        by_case = np.zeros(scores.size)
        by_case[known] = one.by_case
        figures.append(Influence(one.name, one.value, by_case, one.scale))
    return mean_of(figures, name=f"macro_{name}")


def confusion_matrix(index: Codes, called: Codes, n_classes: int) -> NDArray[np.int64]:
    """Count cases by true class, in rows, and called class, in columns.

    Examples
    --------
    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    counts = np.bincount(index * n_classes + called, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def table_influence(
    name: str, figure: Callable[[Array], float], index: Codes, called: Codes, n_classes: int, *, scale: Scale
) -> Influence:
    """Return a figure of the confusion matrix with the influence of each case: its slope in the case's cell.

    Parameters
    ----------
    name : str
    figure : callable
        From a confusion matrix of shape (classes, classes), of any sum, to a number.
    index, called : ndarray of int, shape (n,)
    n_classes : int
    scale : str
        See `Influence`.

    Returns
    -------
    Influence

    Examples
    --------
    >>> index, called = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    >>> table_influence("mcc", _mcc, index, called, 2, scale="fisher").value.__round__(3)
    0.577
    """
    shares = confusion_matrix(index, called, n_classes) / index.size
    value, step = figure(shares), min(STEP, 0.5 / index.size)
    slopes = np.zeros(shares.size)
    for cell in np.flatnonzero(shares):
        moved = np.zeros(shares.size)
        moved[cell] = step
        up, down = (figure(shares + sign * moved.reshape(shares.shape)) for sign in (1, -1))
        slopes[cell] = (up - down) / (2 * step)
    slopes -= float(slopes @ shares.ravel())
    return Influence(name, value, slopes[index * n_classes + called] / index.size, scale)


def quadratic_kappa(table: Array) -> float:
    """Return the agreement of rising classes beyond chance, a miss weighing as its squared distance.

    Examples
    --------
    >>> quadratic_kappa(np.eye(3))
    1.0
    """
    places = np.arange(len(table))
    weights = (places[:, None] - places) ** 2
    chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    expected = float((weights * chance).sum())
    return 1 - float((weights * table).sum()) / expected if expected else float("nan")


def _balanced(table: Array) -> float:
    rows = table.sum(axis=1)
    return float((np.diag(table)[rows > 0] / rows[rows > 0]).mean())


def _macro_f1(table: Array) -> float:
    both = table.sum(axis=0) + table.sum(axis=1)
    return float((2 * np.diag(table)[both > 0] / both[both > 0]).mean())


def _mcc(table: Array) -> float:
    total, hits = table.sum(), np.trace(table)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    if np.count_nonzero(rows) < 2 or np.count_nonzero(columns) < 2:
        return float("nan")
    spread = (total**2 - columns @ columns) * (total**2 - rows @ rows)
    return float((hits * total - rows @ columns) / np.sqrt(spread))


def _losses(index: Codes, called: Codes, probabilities: Array, *, is_ordinal: bool) -> list[tuple[str, Array]]:
    """Return what each case loses, by figure."""
    cases = np.arange(index.size)
    truth = np.zeros_like(probabilities)
    truth[cases, index] = 1.0
    tiny = np.finfo(np.float64).eps
    found = [
        ("log_loss", -np.log(np.clip(probabilities[cases, index], tiny, None))),
        ("brier", ((probabilities - truth) ** 2).sum(axis=1)),
    ]
    if is_ordinal:
        steps = (probabilities - truth).cumsum(axis=1)[:, :-1]
        found.append(("mean_absolute_error", np.abs(called - index).astype(np.float64)))
        found.append(("ranked_probability_score", (steps**2).mean(axis=1)))
    return found


def _mean(name: str, losses: Array) -> Influence:
    mean = float(losses.mean())
    return Influence(name, mean, (losses - mean) / losses.size, "log")


def _estimate(figure: Influence, codes: Codes, accuracy: Estimate, *, level: float) -> Estimate:
    """Estimate with an interval; of a perfect figure, which shows no spread, what the accuracy's end would be."""
    n = figure.by_case.size
    if np.isnan(figure.value):
        return undefined(figure.name, "every case is of one class or called one", n=n, n_positive=0, scale=figure.scale)
    if figure.value == 1 and figure.scale in ("logit", "fisher"):
        n_patients = int(codes.max()) + 1
        low = accuracy.low if accuracy.value == 1 else wilson_interval(1.0, n_patients, level=level)[0]
        return Estimate(figure.name, 1.0, low, 1.0, n, 0, f"{100 * level:g}%, as Wilson's of the accuracy")
    return estimate(figure, codes, n_positive=0, level=level)
