"""The evaluation report: what was asked, the answer in words made from the numbers, then the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medfuse.reporting import figures, words
from medfuse.reporting.pages import write_json, write_page
from medfuse.types import Estimate

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation

__all__ = ["write_evaluation_report"]

_HEADINGS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "brier": "Brier ↓",
}
_QUESTIONS = {"image": "Does the report add to the image?", "text": "Does the image add to the report?"}


def write_evaluation_report(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    title: str,
    provenance: Mapping[str, str],
    design: Sequence[str] = (),
    limits: Sequence[str] = (),
) -> Path:
    """Write an evaluation as a self-contained page and as JSON.

    Parameters
    ----------
    evaluation : Evaluation
    folder : str or Path
        Made where needed.
    title : str
        What was evaluated.
    provenance : mapping of str to str
        Config digest, data digest, seed, versions, command; shown as given.
    design : sequence of str
        Sentences on the cohort, the split and the choices made, for example how far the diameter can be
        read from the input.
    limits : sequence of str
        Sentences on what the figures cannot say.

    Returns
    -------
    Path
        ``folder/report.html``; ``folder/metrics.json`` lies beside it.
    """
    folder = Path(folder)
    write_json(folder / "metrics.json", {**evaluation.to_json(), "provenance": dict(provenance)})
    main = _main_condition(evaluation)
    drawn = _drawn(evaluation)
    context = {
        "title": title,
        "evaluation": evaluation,
        "level": f"{100 * evaluation.level:g}%",
        "headline": _headline(evaluation, main),
        "questions": _questions(evaluation),
        "against_baselines": _against_baselines(evaluation),
        "headings": _HEADINGS,
        "rows": _rows(evaluation),
        "methods": _methods(evaluation),
        "forest": figures.forest_figure(evaluation),
        "roc": figures.roc_figure({name: evaluation.curves[name] for name in drawn}, drawn),
        "main": words.condition_name(main, among=evaluation.metrics),
        "calibration": figures.calibration_figure(main, evaluation.curves[main]),
        "bins": evaluation.curves[main].calibration,
        "thresholds": {words.condition_name(k, among=evaluation.metrics): v for k, v in evaluation.thresholds.items()},
        "design": [*design, *evaluation.notes],
        "limits": [*limits, *_standing_limits(evaluation)],
        "provenance": provenance,
    }
    return write_page(folder / "report.html", "evaluation.html", context)


def _main_condition(evaluation: Evaluation) -> str:
    return "fused" if "fused" in evaluation.metrics else next(iter(evaluation.metrics))


def _drawn(evaluation: Evaluation) -> dict[str, Estimate]:
    """AUROC of every curve worth drawing; a constant has none, and those of pairs of inputs would hide the others."""
    every = {**evaluation.metrics, **evaluation.baselines}
    return {name: metrics["auroc"] for name, metrics in every.items() if name != "prevalence" and "+" not in name}


def _headline(evaluation: Evaluation, main: str) -> str:
    area = evaluation.metrics[main]["auroc"]
    name = words.condition_name(main, among=evaluation.metrics).lower()
    return (
        f"Shown one positive and one negative case at random, {name} ranks the "
        f"positive one higher in {100 * area.value:.0f} of 100 pairs "
        f"({100 * evaluation.level:g}% interval {100 * area.low:.0f} to {100 * area.high:.0f})."
    )


def _questions(evaluation: Evaluation) -> list[dict[str, str]]:
    """Ask what this project asks; a paired interval answers each question."""
    asked = [(_QUESTIONS[name], f"fused - {name}") for name in _QUESTIONS]
    if evaluation.better_single:
        better = words.condition_name(evaluation.better_single).lower()
        together = "all" if "table" in evaluation.metrics else "both"
        asked.append((f"Do {together} together beat the better one alone ({better})?", "lift"))
    return [
        {
            "question": question,
            "answer": words.answer(evaluation.comparisons[key]),
            "sentence": words.whether_it_helps(evaluation.comparisons[key], level=evaluation.level),
        }
        for question, key in asked
        if key in evaluation.comparisons
    ]


def _against_baselines(evaluation: Evaluation) -> list[dict[str, str]]:
    """Say what the fused model gains over every rival that is no single modality."""
    return [
        {
            "name": words.condition_name(key.removeprefix("fused - ")),
            "sentence": words.whether_it_helps(comparison, level=evaluation.level),
        }
        for key, comparison in evaluation.comparisons.items()
        if key.startswith("fused - ") and key.removeprefix("fused - ") not in _QUESTIONS
    ]


def _rows(evaluation: Evaluation) -> list[dict[str, object]]:
    groups = [(evaluation.metrics, False), (evaluation.baselines, True)]
    return [
        {"name": words.condition_name(name, among=evaluation.metrics), "baseline": baseline, "metrics": metrics}
        for group, baseline in groups
        for name, metrics in group.items()
    ]


def _methods(evaluation: Evaluation) -> dict[str, str]:
    """How each interval was made, as the estimates themselves say."""
    metrics = evaluation.metrics[_main_condition(evaluation)]
    return {_HEADINGS[name]: metrics[name].method for name in _HEADINGS}


def _standing_limits(evaluation: Evaluation) -> list[str]:
    negative = evaluation.n - evaluation.n_positive
    limits = [
        f"The figures rest on {evaluation.n_positive} positive and {negative} negative cases of "
        f"{evaluation.n_patients} patients; they say nothing of scanners, sites or patients unlike these.",
        "An interval that includes 0 does not show that two models are equal.",
    ]
    if evaluation.better_single:
        limits.append(
            "The better single modality is the one with the higher AUROC on these same cases, which favours "
            "it: the difference over it is, if anything, stated too low."
        )
    return limits
