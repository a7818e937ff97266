"""What an explanation page says, decided by the explanation's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from medfuse.reporting.words import condition_name, in_plain_counts, number
from medfuse.types import Prediction

__all__ = [
    "CONFLICT_GAP",
    "Answer",
    "Check",
    "agreement",
    "answer_of",
    "marks_failed",
    "trust_checks",
]

CONFLICT_GAP = 0.2
"""Image and report conflict when they fall on different sides and are at least so far apart."""
COMPLETENESS_LIMIT = 0.05
"""Largest part of the answer that the scores may leave unexplained."""
DELETION_LIMIT = 1.0
"""Deleting what is marked must move the answer more than so many times what random deletion does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer in words.

    Parameters
    ----------
    asked : str
        The class that the probability is of.
    probability : float
    counts : str
        The probability in plain counts.
    called : str
        The class called, and why.
    """

    asked: str
    probability: float
    counts: str
    called: str


@dataclass(frozen=True, slots=True)
class Check:
    """One trust check.

    Parameters
    ----------
    verdict : {"passed", "failed", "stated"}
        ``"stated"`` where the page knows no limit for it.
    sentence : str
    """

    verdict: str
    sentence: str


def asked_class(prediction: Prediction) -> int:
    """Return the index of the class that a page speaks of: the positive one, or the likeliest of many.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    int
    """
    values = prediction.probabilities[prediction.condition]
    return 1 if len(values) == 2 else max(range(len(values)), key=lambda index: values[index])


def answer_of(prediction: Prediction) -> Answer:
    """Return the answer of a prediction in words.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    Answer

    Examples
    --------
    >>> from medfuse.types import CaseId
    >>> p = Prediction(CaseId("S1", "1"), "malignancy", ("no", "yes"), {"fused": (0.28, 0.72)}, 0.4, ("image",), "m")
    >>> answer_of(p).counts, answer_of(p).called
    ('about 7 in 10', 'Called “yes”: 72% is at or above the threshold of 40%.')
    """
    index = asked_class(prediction)
    probability = prediction.probabilities[prediction.condition][index]
    asked = prediction.classes[index]
    if len(prediction.classes) == 2:
        above = probability >= prediction.threshold
        place = "at or above" if above else "below"
        called = (
            f"Called “{prediction.classes[int(above)]}”: {_percent(probability, prediction.threshold)} is {place} "
            f"the threshold of {_percent(prediction.threshold, probability)}."
        )
    else:
        called = f"Called “{asked}”: the likeliest of {len(prediction.classes)} classes."
    return Answer(asked, probability, in_plain_counts(probability), called)


def agreement(prediction: Prediction) -> tuple[str, str]:
    """Say whether image and report point the same way, by a rule stated on the page.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    tuple of str
        ``"conflict"``, ``"differ"``, ``"agree"`` or ``"one"`` (one modality only), and the sentence.

    Examples
    --------
    >>> from medfuse.types import CaseId
    >>> both = {"fused": (0.4, 0.6), "image": (0.2, 0.8), "text": (0.9, 0.1)}
    >>> agreement(Prediction(CaseId("S1", "1"), "t", ("no", "yes"), both, 0.5, ("image", "text"), "m"))[0]
    'conflict'
    """
    if "image" not in prediction.probabilities or "text" not in prediction.probabilities:
        used = " and ".join("report" if m == "text" else m for m in prediction.modalities_used) or "one input"
        return "one", f"This answer rests on the {used} alone; nothing else was there to agree or to conflict."
    index = asked_class(prediction)
    image, text = (prediction.probabilities[name][index] for name in ("image", "text"))
    shown = f"{_percent(image, text)} by the image alone, {_percent(text, image)} by the report alone"
    if len(prediction.classes) == 2:
        sides_differ = (image >= prediction.threshold) != (text >= prediction.threshold)
    else:
        tops = [max(prediction.probabilities[m]) for m in ("image", "text")]
        places = [prediction.probabilities[m].index(t) for m, t in zip(("image", "text"), tops, strict=True)]
        sides_differ = places[0] != places[1]
    if sides_differ and abs(image - text) >= CONFLICT_GAP:
        return "conflict", f"Image and report disagree: {shown}. Look at both before you use the joint answer."
    if sides_differ:
        return "differ", f"Image and report fall on different sides, though not far apart: {shown}."
    return "agree", f"Image and report point the same way: {shown}."


def trust_checks(checks: Mapping[str, float]) -> list[Check]:
    """Put every trust check in words, with a verdict where a limit is known.

    Parameters
    ----------
    checks : mapping of str to float
        ``completeness_delta`` (part of the answer that the scores miss), ``deletion_image`` and
        ``deletion_text`` (change by deleting the highest-scored tenth over that of random tenths); others are
        stated as they are.

    Returns
    -------
    list of Check

    Examples
    --------
    >>> [c.verdict for c in trust_checks({"completeness_delta": 0.01, "deletion_image": 0.8, "other": 3.0})]
    ['passed', 'failed', 'stated']
    """
    return [_check(name, value) for name, value in checks.items()]


def marks_failed(checks: Mapping[str, float], modality: Literal["image", "text"]) -> bool:
    """Say whether the marks on an input failed their own test, so that they must not be shown.

    Parameters
    ----------
    checks : mapping of str to float
    modality : {"image", "text"}

    Returns
    -------
    bool

    Examples
    --------
    >>> [marks_failed({"deletion_image": change}, "image") for change in (0.8, 2.5)], marks_failed({}, "text")
    ([True, False], False)
    """
    name = f"deletion_{modality}"
    return name in checks and checks[name] <= DELETION_LIMIT


def _check(name: str, value: float) -> Check:
    if name == "completeness_delta":
        verdict = "passed" if abs(value) <= COMPLETENESS_LIMIT else "failed"
        return Check(
            verdict,
            f"Completeness: the scores leave {number(100 * abs(value), 1)}% of the answer unexplained "
            f"(at most {100 * COMPLETENESS_LIMIT:g}% passes).",
        )
    if name in ("deletion_image", "deletion_text"):
        what = "voxels" if name == "deletion_image" else "words"
        verdict = "passed" if value > DELETION_LIMIT else "failed"
        return Check(
            verdict,
            f"Deletion, {condition_name(name.removeprefix('deletion_')).removesuffix(' only').lower()}: removing the "
            f"tenth of the {what} marked strongest moves the answer {number(value, 1)} times as far as removing "
            "random ones (1 is chance; more passes).",
        )
    return Check("stated", f"{name.replace('_', ' ').capitalize()}: {number(value)} (no limit is set for it).")


def _percent(value: float, other: float) -> str:
    """Whole percent, or one digit more where two figures would look equal without being so."""
    digits = 1 if round(100 * value) == round(100 * other) and value != other else 0
    return f"{100 * value:.{digits}f}%"
