"""What was asked, and the answer in three sentences that the numbers alone decide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medfuse.reporting.words import number
from medfuse.types import Estimate

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation
    from medfuse.reporting.sentences import Sentences

__all__ = ["Question", "asked", "main_condition", "questions", "verdict"]

SINGLE = ("image", "text", "table")
WITHOUT = {"image": "text+table", "text": "image+table", "table": "image+text"}
Question = dict[str, str]


def main_condition(evaluation: Evaluation) -> str:
    """Return the condition that the report is about: all inputs together, else the first."""
    return "fused" if "fused" in evaluation.metrics else next(iter(evaluation.metrics))


def asked(evaluation: Evaluation, words: Sentences) -> str:
    """Return what was asked, as one question.

    Parameters
    ----------
    evaluation : Evaluation
    words : Sentences
    """
    inputs = words.condition(main_condition(evaluation), among=evaluation.metrics)
    target, positive = evaluation.target, evaluation.positive
    key = "asked.class" if target and positive else "asked.target" if target else "asked.model"
    return words.say(key, inputs=inputs, target=target, positive=positive)


def verdict(evaluation: Evaluation, words: Sentences) -> list[str]:
    """Return three sentences: how well cases are told apart, what the other input adds, what a threshold gives.

    Parameters
    ----------
    evaluation : Evaluation
    words : Sentences

    Returns
    -------
    list of str
    """
    main = main_condition(evaluation)
    return [_ranking(evaluation, main, words), _gain(evaluation, main, words), _calls(evaluation, main, words)]


def questions(evaluation: Evaluation, words: Sentences) -> list[Question]:
    """Return what this project asks, each with the answer of a paired interval.

    Parameters
    ----------
    evaluation : Evaluation
    words : Sentences

    Returns
    -------
    list of dict
        ``question``, ``answer`` (yes, no or open), ``shown`` and ``sentence``.
    """
    if "table" in evaluation.metrics and "image+text" in evaluation.metrics:
        wanted = [(words.say(f"question.{name}_added"), f"fused - {rest}") for name, rest in WITHOUT.items()]
        if evaluation.better_single:
            better = words.condition(evaluation.better_single)
            wanted.append((words.say("question.all", better=better), "lift"))
    else:  # of two inputs the lift is the answer to one of these
        wanted = [(words.say(f"question.{name}"), f"fused - {name}") for name in SINGLE]
    return [
        {
            "question": question,
            "answer": words.answer(evaluation.comparisons[key]),
            "shown": words.say(f"answer.{words.answer(evaluation.comparisons[key])}"),
            "sentence": words.difference(evaluation.comparisons[key]),
        }
        for question, key in wanted
        if key in evaluation.comparisons
    ]


def _ranking(evaluation: Evaluation, main: str, words: Sentences) -> str:
    area = evaluation.metrics[main]["auroc"]
    rivals = [(found["auroc"], name) for name, found in evaluation.baselines.items() if name != "prevalence"]
    baseline = ""
    if rivals:
        best, name = max(rivals, key=lambda rival: rival[0].value)
        baseline = words.say("verdict.baseline", name=words.condition(name), **_pairs(best))
    better = "better" if area.low > 0.5 else "worse" if area.high < 0.5 else "open"
    return words.say(
        f"verdict.ranking_{better}",
        name=words.condition(main, among=evaluation.metrics),
        level=words.level,
        baseline=baseline,
        **_pairs(area),
    )


def _pairs(area: Estimate) -> dict[str, str]:
    """Return an area as pairs out of 100."""
    return {"pairs": f"{100 * area.value:.0f}", "low": f"{100 * area.low:.0f}", "high": f"{100 * area.high:.0f}"}


def _gain(evaluation: Evaluation, main: str, words: Sentences) -> str:
    """Compare with the better single input, else with the strongest baseline, else with saying yes to all."""
    if "lift" in evaluation.comparisons:
        name, lift = words.condition(evaluation.better_single), evaluation.comparisons["lift"]
        answer, sentence = words.answer(lift), words.difference(lift)
        return words.say(f"verdict.lift_{answer}", better=name, sentence=sentence)
    rivals = {name: figures for name, figures in evaluation.baselines.items() if name != "prevalence"}
    known = evaluation.comparisons
    found = {name: known[f"{main} - {name}"] for name in rivals if f"{main} - {name}" in known}
    if found:
        best = max(found, key=lambda name: rivals[name]["auroc"].value)
        key = f"verdict.baseline_{words.answer(found[best])}"
        return words.say(key, name=words.condition(best), sentence=words.difference(found[best]))
    precision = evaluation.metrics[main]["auprc"]
    share = number(evaluation.n_positive / evaluation.n)
    return words.say("verdict.precision", precision=words.estimate(precision), share=share)


def _calls(evaluation: Evaluation, main: str, words: Sentences) -> str:
    figures = evaluation.metrics[main]
    found, passed = figures["sensitivity"], figures["specificity"]
    slope = figures.get("calibration_slope")
    calibrated = ""
    if slope is not None and not math.isnan(slope.value):
        fit = "reversed" if slope.high < 0 else "over" if slope.high < 1 else "under" if slope.low > 1 else "open"
        calibrated = words.say(f"verdict.slope_{fit}", slope=words.estimate(slope, 2))
    return words.say(
        "verdict.calls",
        found=f"{100 * found.value:.0f}",
        found_interval=_percent(words, found.low, found.high),
        passed=f"{100 * passed.value:.0f}",
        passed_interval=_percent(words, passed.low, passed.high),
        calibrated=calibrated,
    )


def _percent(words: Sentences, low: float, high: float) -> str:
    return words.say("figure.interval", low=f"{100 * low:.0f}", high=f"{100 * high:.0f}")
