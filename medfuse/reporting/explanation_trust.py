"""The trust checks of an explanation in words: a short box, and every figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medfuse.explanation_parts import TrustCheck
from medfuse.reporting.explanation_answer import Agreement
from medfuse.reporting.explanation_sentences import explanation_sentences, listed, percent
from medfuse.reporting.words import number
from medfuse.types import Explanation, Prediction

__all__ = ["CheckRow", "Verdict", "check_rows", "checks_of", "marks_failed", "trust_headline", "trust_verdicts"]

COMPLETENESS_LIMIT, DELETION_LIMIT = 0.05, 1.0
SHORT = ("faithfulness", "randomisation", "repeatability", "completeness")
"""Tests that the box names, the most telling first."""
MODALITIES = ("image", "text")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the box: ``"yes"`` speaks for trust, ``"no"`` against, ``"open"`` neither."""

    mark: Literal["yes", "no", "open"]
    sentence: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check with its figure."""

    name: str
    found: str
    limit: str
    mark: Literal["yes", "no", "open"]
    verdict: str


def checks_of(explanation: Explanation) -> tuple[TrustCheck, ...]:
    """Return the trust checks of an explanation; of one that holds bare values, with the limits known here."""
    if explanation.trust or not explanation.checks:
        return explanation.trust
    found = []
    for name, value in explanation.checks.items():
        if name == "completeness_delta":
            passed = abs(value) <= COMPLETENESS_LIMIT
            found.append(TrustCheck("completeness", abs(value), passed, COMPLETENESS_LIMIT))
        elif name in ("deletion_image", "deletion_text"):
            found.append(TrustCheck(name, value, value > DELETION_LIMIT, DELETION_LIMIT))
        else:
            found.append(TrustCheck(name, value))
    return tuple(found)


def marks_failed(explanation: Explanation, modality: str) -> tuple[str, ...]:
    """Return the names of the checks that forbid to show the marks on an input; empty if they may be shown.

    Parameters
    ----------
    explanation : Explanation
    modality : {"image", "text"}

    Returns
    -------
    tuple of str
    """
    if explanation.trust:
        return tuple(explanation.withheld.get(modality, ()))
    return tuple(c.name for c in checks_of(explanation) if c.name == f"deletion_{modality}" and c.passed is False)


def trust_verdicts(explanation: Explanation, agreed: Agreement) -> list[Verdict]:
    """Return the lines of the box.

    Parameters
    ----------
    explanation : Explanation
    agreed : Agreement

    Returns
    -------
    list of Verdict
    """
    said = [Verdict(mark, sentence) for mark, sentence in zip(agreed.marks, agreed.sentences, strict=True)]
    checks = checks_of(explanation)
    if not checks:
        said.append(Verdict("open", explanation_sentences()("trust.none")))
    for modality, given in (("image", explanation.image is not None), ("text", bool(explanation.text))):
        if given and checks:
            said += _marks_verdict(explanation, checks, modality)
    return [*said, *_standing(explanation.prediction, has_image=explanation.image is not None)]


def trust_headline(verdicts: Sequence[Verdict]) -> str:
    """Return how much of the box speaks against trust, in a sentence.

    Examples
    --------
    >>> trust_headline([Verdict("no", ""), Verdict("yes", "")])
    'One thing below speaks against trusting this answer.'
    """
    n = sum(verdict.mark == "no" for verdict in verdicts)
    return explanation_sentences()(f"trust.doubts_{('none', 'one')[n] if n < 2 else 'many'}", **({"n": n} if n else {}))


def check_rows(explanation: Explanation) -> list[CheckRow]:
    """Return every check with its figure, for the appendix."""
    say, rows = explanation_sentences(), []
    for check in checks_of(explanation):
        kind, modality = _split(check.name)
        name = say(f"check.{kind}") if f"check.{kind}" in say else kind.replace("_", " ").capitalize()
        if modality:
            name = say("check.of", test=name, modality=say(f"modality.{modality}"))
        verdict = {True: "passed", False: "failed", None: "stated"}[check.passed]
        marks: dict[str, Literal["yes", "no", "open"]] = {"passed": "yes", "failed": "no", "stated": "open"}
        limit = say("check.no_limit") if check.limit is None else number(check.limit)
        rows.append(CheckRow(name, number(check.value), limit, marks[verdict], say(f"check.{verdict}")))
    return rows


def _marks_verdict(explanation: Explanation, checks: Sequence[TrustCheck], modality: str) -> list[Verdict]:
    say = explanation_sentences()
    what = say(f"trust.marks_{modality}")
    failed = marks_failed(explanation, modality)
    if failed:
        names = list(dict.fromkeys(say.of("test", _split(name)[0], name) for name in failed))
        return [Verdict("no", say("trust.failed", what=what, tests=listed(names, say("trust.and"))))]
    own = {_split(c.name)[0]: c for c in checks if _split(c.name)[1] in ("", modality) and c.passed is not None}
    wanted = [name for name in SHORT if name in own] or [name for name in ("deletion", "insertion") if name in own]
    tests = [say(f"test.{name}") for name in wanted if own[name].passed]
    if not [name for name in wanted if name != "completeness"]:
        return [Verdict("open", say("trust.untested", what=what))]
    return [Verdict("yes", say("trust.held", what=what, tests=listed(tests, say("trust.and"))))]


def _standing(prediction: Prediction, *, has_image: bool) -> list[Verdict]:
    """Return what the model knows of its own answer."""
    say, said = explanation_sentences(), []
    if has_image:
        if prediction.novelty is None:
            said.append(Verdict("open", say("trust.unknown_like")))
        elif prediction.novelty <= 1:
            said.append(Verdict("yes", say("trust.like")))
        else:
            said.append(Verdict("no", say("trust.unlike", value=number(prediction.novelty, 1))))
    chosen = prediction.prediction_set
    if chosen is not None:
        level, names = f"{100 * prediction.set_level:g}%", [say("trust.or", one=name) for name in chosen]
        if len(chosen) == 1:
            said.append(Verdict("yes", say("trust.set_one", level=level, classes=chosen[0])))
        elif chosen:
            said.append(Verdict("no", say("trust.set_many", level=level, classes=listed(names, say("trust.and")))))
        else:
            said.append(Verdict("no", say("trust.set_none", level=level)))
    if prediction.spread:
        low, high = prediction.spread[-1]
        is_binary = len(prediction.classes) == 2
        crosses = is_binary and low < prediction.threshold <= high
        said.append(Verdict("no" if crosses else "open", say("trust.spread", low=percent(low), high=percent(high))))
    return said


def _split(name: str) -> tuple[str, str]:
    """Return a check's test and its modality, empty if it has none.

    Examples
    --------
    >>> _split("randomisation_image"), _split("in_distribution")
    (('randomisation', 'image'), ('in_distribution', ''))
    """
    test, _, modality = name.rpartition("_")
    return (test, modality) if modality in MODALITIES else (name, "")
