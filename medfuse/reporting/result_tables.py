"""The tables of an evaluation: every figure, paired differences, thresholds and calls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medfuse.reporting.words import number, signed
from medfuse.types import Comparison, Estimate

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation
    from medfuse.evaluation.evaluation import OperatingPoint
    from medfuse.reporting.sentences import Sentences

__all__ = [
    "Cell", "Row", "Table", "areas_tables", "figures_tables", "lift_table", "overall_table", "paired_tables",
    "summary_table", "threshold_rows", "threshold_words",
]  # fmt: skip

AT_THRESHOLDS = ("sensitivity", "specificity", "ppv", "npv", "f1", "balanced_accuracy")
SUMMARY = ("auprc", "sensitivity", "specificity", "ppv", "brier", "calibration_slope")
MOST_COLUMNS = 6
"""Columns of one table: more are given a table of their own below, so that a page of A4 holds them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and, in small below it, its interval and p value."""

    value: str
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under the names of their columns; ``shaded`` says which columns are baselines."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    shaded: tuple[bool, ...] = ()


def figures_tables(evaluation: Evaluation, main: str, words: Sentences) -> list[Table]:
    """Return every figure of every condition and baseline, a column each.

    Parameters
    ----------
    evaluation : Evaluation
    main : str
        The condition whose figures name the rows.
    words : Sentences

    Returns
    -------
    list of Table
        Of at most ``MOST_COLUMNS`` columns each.
    """
    every = {**evaluation.metrics, **evaluation.baselines}
    columns = {
        name: [_estimate(figures.get(metric), words) for metric in evaluation.metrics[main]]
        for name, figures in every.items()
    }
    rows = [words.say.of("metric", name, name) for name in evaluation.metrics[main]]
    return _tables(rows, columns, evaluation, words)


def paired_tables(evaluation: Evaluation, words: Sentences) -> list[Table]:
    """Return the fused model minus each other condition and baseline, by every test, a column each.

    Parameters
    ----------
    evaluation : Evaluation
    words : Sentences

    Returns
    -------
    list of Table
        Empty where there is nothing to compare with.
    """
    tests = list(dict.fromkeys(test for found in evaluation.paired.values() for test in found))
    columns = {}
    for key, found in evaluation.paired.items():
        cells = [_difference(found.get(test), words) for test in tests]
        holm, detectable = Cell(words.p_alone(evaluation.p_holm[key])), Cell(_defined(evaluation.detectable[key]))
        columns[key.partition(" - ")[2]] = [cells[0], holm, *cells[1:], detectable]
    names = [words.say.of("paired.test", test, test) for test in tests]
    rows = [*names[:1], words.say("paired.holm"), *names[1:], words.say("paired.detectable")]
    return _tables(rows, columns, evaluation, words)


def areas_tables(targets: Mapping[str, Evaluation], words: Sentences) -> list[Table]:
    """Return the AUROC of every target, a row each, by condition, a column each.

    Parameters
    ----------
    targets : mapping of str to Evaluation
        By shown name.
    words : Sentences
    """
    first = next(iter(targets.values()))
    names = list(dict.fromkeys(name for one in targets.values() for name in (*one.metrics, *one.baselines)))
    columns = {
        name: [
            _estimate({**one.metrics, **one.baselines}.get(name, {}).get("auroc"), words) for one in targets.values()
        ]
        for name in names
        if name != "prevalence"
    }
    return _tables(list(targets), columns, first, words)


def lift_table(targets: Mapping[str, Evaluation], words: Sentences) -> Table | None:
    """Return by how much all inputs together beat the better one alone, a row a target.

    Parameters
    ----------
    targets : mapping of str to Evaluation
        By shown name.
    words : Sentences

    Returns
    -------
    Table or None
        None where no target was predicted from several inputs.
    """
    from medfuse.evaluation import holm

    lifts = {name: one.comparisons["lift"] for name, one in targets.items() if "lift" in one.comparisons}
    if not lifts:
        return None
    corrected = holm([found.p_value for found in lifts.values()])
    rows = [
        Row(
            name,
            (
                Cell(words.condition(targets[name].better_single or "", among=targets[name].metrics)),
                _difference(found, words),
                Cell(words.p_alone(p)),
            ),
        )
        for (name, found), p in zip(lifts.items(), corrected, strict=True)
    ]
    say = words.say
    return Table((say("targets.better_single"), say("targets.lift"), say("paired.holm")), tuple(rows))


def summary_table(targets: Mapping[str, tuple[Evaluation, str]], words: Sentences) -> Table:
    """Return the share of positive cases, and what else one condition shows of every target, a row each.

    Parameters
    ----------
    targets : mapping of str to (Evaluation, str)
        By shown name: the numbers and the condition.
    words : Sentences
    """
    rows = [
        Row(
            name,
            (Cell(number(one.n_positive / one.n)), *(_estimate(one.metrics[main].get(key), words) for key in SUMMARY)),
        )
        for name, (one, main) in targets.items()
    ]
    return Table((words.say("targets.share"), *(words.say.of("metric", key, key) for key in SUMMARY)), tuple(rows))


def overall_table(overall: Mapping[str, Mapping[str, Estimate]], words: Sentences) -> Table:
    """Return the figures over all classes of one target, by condition, a column each.

    Parameters
    ----------
    overall : mapping of str to mapping of str to Estimate
        By condition, then by figure.
    words : Sentences
    """
    metrics = list(dict.fromkeys(metric for figures in overall.values() for metric in figures))
    rows = [
        Row(
            words.say.of("metric", metric, metric),
            tuple(_estimate(figures.get(metric), words) for figures in overall.values()),
        )
        for metric in metrics
    ]
    names = tuple(words.condition(name, among=overall) for name in overall)
    return Table(names, tuple(rows), tuple(name.startswith("baseline_") for name in overall))


def _tables(
    rows: Sequence[str], columns: Mapping[str, Sequence[Cell]], evaluation: Evaluation, words: Sentences
) -> list[Table]:
    names, tables = list(columns), []
    n_tables = -(-len(names) // MOST_COLUMNS)
    size = -(-len(names) // n_tables) if names else 1
    for start in range(0, len(names), size):
        chosen = names[start : start + size]
        tables.append(
            Table(
                tuple(words.condition(name, among=evaluation.metrics) for name in chosen),
                tuple(Row(row, tuple(columns[name][place] for name in chosen)) for place, row in enumerate(rows)),
                tuple(name in evaluation.baselines for name in chosen),
            )
        )
    return tables


def threshold_rows(evaluation: Evaluation, main: str, words: Sentences) -> Table:
    """Return what each threshold gives, the locked one first.

    Parameters
    ----------
    evaluation : Evaluation
    main : str
    words : Sentences
    """
    points = evaluation.operating_points[main]
    rows = [
        Row(
            _rule(point, words),
            (Cell(_cut(point, words)), *(_estimate(point.figures.get(name), words) for name in AT_THRESHOLDS)),
        )
        for point in points
    ]
    names = (words.say.of("metric", name, name) for name in AT_THRESHOLDS)
    return Table((words.say("threshold.at"), *names), tuple(rows))


def threshold_words(point: OperatingPoint, words: Sentences) -> str:
    """Return a threshold and how it was chosen.

    Parameters
    ----------
    point : OperatingPoint
    words : Sentences
    """
    return words.say("threshold.words", cut=_cut(point, words), rule=_rule(point, words))


def _rule(point: OperatingPoint, words: Sentences) -> str:
    aim = "" if point.rule.aim is None else f"{point.rule.aim:g}"
    return words.say(f"threshold.rules.{point.rule.criterion}", aim=aim)


def _cut(point: OperatingPoint, words: Sentences) -> str:
    low, high = min(point.thresholds), max(point.thresholds)
    if low == high:
        return number(low)
    return words.say("threshold.by_fold", low=number(low), high=number(high))


def _estimate(figure: Estimate | None, words: Sentences) -> Cell:
    if figure is None or math.isnan(figure.value):
        return Cell("–")
    return Cell(number(figure.value), (words.interval(figure),))


def _difference(found: Comparison | None, words: Sentences) -> Cell:
    if found is None or math.isnan(found.difference):
        return Cell("–")
    p = words.p(found.p_value)
    if math.isnan(found.low):
        return Cell(signed(found.difference), (p,))
    ends = words.say("figure.interval", low=signed(found.low), high=signed(found.high))
    return Cell(signed(found.difference), (ends, p))


def _defined(value: float) -> str:
    return "–" if math.isnan(value) else number(value)
