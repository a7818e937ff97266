"""Is the figure real? Checks of what could make a model look better than it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medfuse.reporting.words import number

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation
    from medfuse.reporting.sentences import Sentences

__all__ = ["Check", "leakage_checks", "shared_checks"]

CLEAR, LOOK, UNKNOWN = "clear", "look", "unknown"
SUSPICIOUS = 0.95
"""AUROC of the report alone above which its wording deserves a look."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Parameters
    ----------
    name, sentence : str
    status : {"clear", "look", "unknown"}
    """

    name: str
    sentence: str
    status: str


def leakage_checks(evaluation: Evaluation, facts: Mapping[str, Any] | None, words: Sentences) -> list[Check]:
    """Return every check: what it found, or that its data are not available.

    Parameters
    ----------
    evaluation : Evaluation
    facts : mapping, optional
        A run's cohort.json.
    words : Sentences

    Returns
    -------
    list of Check
    """
    return [*shared_checks(facts, words), _before_and_after(evaluation, words), _shuffled(evaluation, words)]


def shared_checks(facts: Mapping[str, Any] | None, words: Sentences) -> list[Check]:
    """Return the checks that need no predictions: what the test part shares with another.

    Parameters
    ----------
    facts : mapping, optional
        A run's cohort.json; ``known`` counts the cases of another site that the model was trained on.
    words : Sentences

    Returns
    -------
    list of Check
    """
    say = words.say
    pairs = {} if facts is None else {k: v for k, v in facts["shared"].items() if k.endswith("test")}
    checks = []
    if facts is not None and facts.get("known"):
        return [_known(content, facts["known"][content], words) for content in ("patients", "images")]
    for content in ("patients", "images", "texts"):
        name = say(f"leak.{content}")
        if facts is None or not pairs:
            checks.append(Check(name, say("leak.no_record"), UNKNOWN))
            continue
        n, n_test = sum(pair[content] for pair in pairs.values()), facts["parts"]["test"]["cases"]
        share = f"{100 * n / n_test:.0f}%" if n_test else ""
        sentence = say(f"leak.{content}_found", n=n, share=share) if n else say(f"leak.{content}_none")
        checks.append(Check(name, sentence, LOOK if n else CLEAR))
    return checks


def _known(content: str, n: int, words: Sentences) -> Check:
    """Say how many cases of another site the model has met in its training."""
    sentence = words.say(f"leak.known_{content}", n=n) if n else words.say(f"leak.{content}_none")
    return Check(words.say(f"leak.{content}"), sentence, LOOK if n else CLEAR)


def _before_and_after(evaluation: Evaluation, words: Sentences) -> Check:
    say, metrics = words.say, evaluation.metrics
    name = say("leak.masking")
    if "text" not in metrics:
        return Check(name, say("leak.no_text"), UNKNOWN)
    before = metrics["text"]["auroc"]
    if "text_masked" not in metrics:
        sentence = say("leak.unmasked", before=words.estimate(before))
        return Check(name, sentence, LOOK if before.value >= SUSPICIOUS else UNKNOWN)
    after = metrics["text_masked"]["auroc"]
    lost = number(before.value - after.value)
    sentence = say("leak.masked", before=words.estimate(before), after=words.estimate(after), lost=lost)
    return Check(name, sentence, LOOK if after.high < before.value or after.value >= SUSPICIOUS else CLEAR)


def _shuffled(evaluation: Evaluation, words: Sentences) -> Check:
    say, metrics = words.say, evaluation.metrics
    name = say("leak.shuffled")
    if not {"fused_shuffled", "fused"} <= set(metrics):
        return Check(name, say("leak.not_shuffled"), UNKNOWN)
    fused, shuffled = (metrics[key]["auroc"] for key in ("fused", "fused_shuffled"))
    sentence = say("leak.shuffled_found", shuffled=words.estimate(shuffled), fused=words.estimate(fused))
    return Check(name, sentence, CLEAR if shuffled.value < fused.low else LOOK)
