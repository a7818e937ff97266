"""What the page of one binary target shows beside what all pages do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from medfuse.reporting.background import Background
from medfuse.reporting.certainty import abstention_figure, certainty_sentences
from medfuse.reporting.curves import curve_figures, missing_figures
from medfuse.reporting.forest import Forest, areas_forest, strokes_for, subgroup_forest
from medfuse.reporting.label_ceiling import reader_sentences
from medfuse.reporting.leakage_checks import leakage_checks
from medfuse.reporting.result_tables import figures_tables, paired_tables, threshold_rows, threshold_words
from medfuse.reporting.sentences import Sentences
from medfuse.reporting.verdict import asked, main_condition, questions, verdict
from medfuse.reporting.words import number

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation
    from medfuse.reporting.catalogue import Catalogue

__all__ = ["one_target_context", "standing_limits"]


def one_target_context(evaluation: Evaluation, background: Background, words: Sentences) -> dict[str, Any]:
    """Return what the page of one binary target shows beside what all pages do.

    Parameters
    ----------
    evaluation : Evaluation
    background : Background
    words : Sentences

    Returns
    -------
    dict
    """
    say, main = words.say, main_condition(evaluation)
    locked = evaluation.operating_points[main][0]
    counts = locked.confusion
    return {
        "main": words.condition(main, among=evaluation.metrics),
        "asked": asked(evaluation, words),
        "verdict": verdict(evaluation, words),
        "questions": questions(evaluation, words),
        "forest": _forest(evaluation, words),
        "paired": paired_tables(evaluation, words),
        "n_paired": len(evaluation.paired),
        "readers": reader_sentences(background.readers, words) if background.readers else [],
        "tables": figures_tables(evaluation, main, words),
        "figures": curve_figures(evaluation, main, words),
        "bins": evaluation.curves[main].calibration,
        "locked": locked,
        "threshold": threshold_words(locked, words),
        "threshold_table": threshold_rows(evaluation, main, words),
        "subgroups": subgroup_forest(evaluation, words),
        "checks": leakage_checks(evaluation, background.cohort_facts, words),
        "missing": missing_figures(evaluation, words),
        "sure": certainty_sentences(evaluation, main, words),
        "abstention": abstention_figure(evaluation, main, words),
        "worst": background.worst,
        "with_text": any(one.text for one in background.worst),
        "n_wrong": counts.false_positive + counts.false_negative,
        "thresholds": {
            words.condition(name, among=evaluation.metrics): threshold_words(points[0], words)
            for name, points in evaluation.operating_points.items()
        },
        "methods": _methods(evaluation, main, say),
        "difference_method": "; ".join(
            dict.fromkeys(say.translated(found.method) for found in evaluation.comparisons.values())
        ),
    }


def standing_limits(evaluation: Evaluation, words: Sentences) -> list[str]:
    """Return the limits that every evaluation of one target has, in its own numbers.

    Parameters
    ----------
    evaluation : Evaluation
    words : Sentences

    Returns
    -------
    list of str
    """
    say = words.say
    positive, negative = evaluation.n_positive, evaluation.n - evaluation.n_positive
    limits = [
        say("limit.size", positive=positive, negative=negative, patients=evaluation.n_patients),
        say("limit.equal"),
    ]
    if evaluation.better_single:
        limits.append(say("limit.better_single"))
        found = evaluation.detectable[f"fused - {evaluation.better_single}"]
        name = words.condition(evaluation.better_single)
        if not math.isnan(found):
            limits.append(say("limit.power", difference=number(found), name=name))
    if evaluation.n_folds > 1:
        limits.append(say("limit.folds", n=evaluation.n_folds))
    return limits


def _forest(evaluation: Evaluation, words: Sentences) -> Forest:
    every = {**evaluation.metrics, **evaluation.baselines}
    rows = [
        (name, words.condition(name, among=evaluation.metrics), metrics["auroc"])
        for name, metrics in every.items()
        if name != "prevalence"
    ]
    return areas_forest(rows, words, strokes=strokes_for(evaluation), faint=list(evaluation.baselines))


def _methods(evaluation: Evaluation, main: str, say: Catalogue) -> dict[str, str]:
    """How each interval was made, as the estimates themselves say."""
    return {
        say.of("metric", name, name): say.translated(estimate.method)
        for name, estimate in evaluation.metrics[main].items()
    }
