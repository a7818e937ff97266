"""The evaluation report: what was asked, the answer in words made from the numbers, then the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfuse.reporting.background import Background
from medfuse.reporting.catalogue import Catalogue, open_catalogue
from medfuse.reporting.certainty import abstention_figure, certainty_sentences
from medfuse.reporting.checklists import CHECKLISTS, card_rows, checklist_items
from medfuse.reporting.cohort_tables import cohort_rows, flow_boxes, parts_of
from medfuse.reporting.curves import curve_figures, missing_figures
from medfuse.reporting.forest import areas_forest, strokes_for, subgroup_forest
from medfuse.reporting.leakage_checks import leakage_checks
from medfuse.reporting.pages import write_json, write_page
from medfuse.reporting.pdf import write_pdf
from medfuse.reporting.result_tables import figures_tables, paired_tables, threshold_rows, threshold_words
from medfuse.reporting.sentences import Sentences
from medfuse.reporting.topics import topics_of
from medfuse.reporting.verdict import asked, main_condition, questions, verdict
from medfuse.reporting.words import number

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation

__all__ = ["write_evaluation", "write_evaluation_report"]


def write_evaluation_report(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    title: str,
    provenance: Mapping[str, str],
    design: Sequence[str] = (),
    limits: Sequence[str] = (),
) -> Path:
    """Write an evaluation of which little else is known; see `write_evaluation`."""
    background = Background(title, provenance, tuple(design), tuple(limits))
    return write_evaluation(evaluation, folder, background=background)


def write_evaluation(
    evaluation: Evaluation, folder: str | Path, *, background: Background, language: str = "en", pdf: bool = False
) -> Path:
    """Write an evaluation as a self-contained page and as JSON.

    Parameters
    ----------
    evaluation : Evaluation
    folder : str or Path
        Made where needed.
    background : Background
        Title, and what is known beside the numbers.
    language : {"en", "zh"}
    pdf : bool
        Print it to ``report.pdf`` too, where WeasyPrint is installed.

    Returns
    -------
    Path
        ``folder/report.html``; ``folder/metrics.json`` lies beside it.

    Raises
    ------
    UsageError
        If there is no such language.
    """
    folder = Path(folder)
    say = open_catalogue(language)
    write_json(folder / "metrics.json", {**evaluation.to_json(), "provenance": dict(background.provenance)})
    page = write_page(folder / "report.html", "evaluation.html", _context(evaluation, background, say))
    if pdf:
        write_pdf(page)
    return page


def _context(evaluation: Evaluation, background: Background, say: Catalogue) -> dict[str, Any]:
    words = Sentences(say, level=evaluation.level)
    main = main_condition(evaluation)
    topics = topics_of(evaluation, background, words)
    cohort = background.cohort
    return {
        "say": say,
        "words": words,
        "title": background.title,
        "evaluation": evaluation,
        "main": words.condition(main, among=evaluation.metrics),
        "asked": asked(evaluation, words),
        "verdict": verdict(evaluation, words),
        "questions": questions(evaluation, words),
        "flow": _flow(evaluation, background, say),
        "parts": [] if cohort is None else [say.of("part", part, part) for part in parts_of(cohort)],
        "cohort": [] if cohort is None else cohort_rows(cohort, say),
        "forest": _forest(evaluation, words),
        "paired": paired_tables(evaluation, words),
        "n_paired": len(evaluation.paired),
        "tables": figures_tables(evaluation, main, words),
        "figures": curve_figures(evaluation, main, words),
        "bins": evaluation.curves[main].calibration,
        "locked": evaluation.operating_points[main][0],
        "threshold": threshold_words(evaluation.operating_points[main][0], words),
        "threshold_table": threshold_rows(evaluation, main, words),
        "subgroups": subgroup_forest(evaluation, words),
        "checks": leakage_checks(evaluation, background.cohort_facts, words),
        "missing": missing_figures(evaluation, words),
        "sure": certainty_sentences(evaluation, main, words),
        "abstention": abstention_figure(evaluation, main, words),
        "worst": background.worst,
        "with_text": any(one.text for one in background.worst),
        "n_wrong": _n_wrong(evaluation, main),
        "thresholds": {
            words.condition(name, among=evaluation.metrics): threshold_words(points[0], words)
            for name, points in evaluation.operating_points.items()
        },
        "methods": _methods(evaluation, main, say),
        "difference_method": "; ".join(
            dict.fromkeys(say.translated(found.method) for found in evaluation.comparisons.values())
        ),
        "design": _design(evaluation, background, say),
        "limits": [*background.limits, *_standing_limits(evaluation, words)],
        "card": card_rows(topics, say),
        "checklists": [_checklist(name, topics, say) for name in CHECKLISTS],
        "provenance": background.provenance,
    }


def _flow(evaluation: Evaluation, background: Background, say: Catalogue) -> list[Any]:
    counts = {
        "cases": evaluation.n,
        "patients": evaluation.n_patients,
        "positive": evaluation.n_positive,
        "negative": evaluation.n - evaluation.n_positive,
    }
    return flow_boxes(background.cohort_facts, evaluated=counts, left_out=evaluation.left_out, say=say)


def _forest(evaluation: Evaluation, words: Sentences) -> Any:
    every = {**evaluation.metrics, **evaluation.baselines}
    rows = [
        (name, words.condition(name, among=evaluation.metrics), metrics["auroc"])
        for name, metrics in every.items()
        if name != "prevalence"
    ]
    return areas_forest(rows, words, strokes=strokes_for(evaluation), faint=list(evaluation.baselines))


def _n_wrong(evaluation: Evaluation, main: str) -> int:
    counts = evaluation.operating_points[main][0].confusion
    return counts.false_positive + counts.false_negative


def _methods(evaluation: Evaluation, main: str, say: Catalogue) -> dict[str, str]:
    """How each interval was made, as the estimates themselves say."""
    return {
        say.of("metric", name, name): say.translated(estimate.method)
        for name, estimate in evaluation.metrics[main].items()
    }


def _design(evaluation: Evaluation, background: Background, say: Catalogue) -> list[str]:
    looks = say("design.looks", n=background.looks) if background.looks else say("design.looks_unknown")
    external = [say("design.external")] if background.is_external else []
    second = [say("design.second", positive=evaluation.positive)] if evaluation.is_second else []
    return [*external, *background.design, *second, looks]


def _standing_limits(evaluation: Evaluation, words: Sentences) -> list[str]:
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


def _checklist(name: str, topics: Mapping[str, str], say: Catalogue) -> dict[str, object]:
    items = checklist_items(name, topics, say)
    n_filled = sum(bool(item.answer) for item in items)
    return {
        "title": say(f"{name}.title"),
        "lead": say(f"{name}.lead", filled=n_filled, n=len(items)),
        "rows": items,
    }
