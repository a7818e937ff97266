"""The answer on an explanation page, and whether image and report agree: decided by the prediction's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medfuse.reporting.explanation_sentences import explanation_sentences, listed, percent
from medfuse.reporting.words import inputs_name
from medfuse.types import OUT_OF_DISTRIBUTION, UNCERTAIN, Finding, Prediction

__all__ = ["CONFLICT_GAP", "FAR_GAP", "Agreement", "Answer", "Bar", "agreement", "answer_of", "asked_class", "bars_of"]

CONFLICT_GAP = 0.2
"""Image and report conflict when they fall on different sides and are at least so far apart."""
FAR_GAP = 0.4
"""On the same side they conflict from here on."""
ORDER = ("image", "text", "table", "image+text", "image+table", "text+table", "fused")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer in words.

    Parameters
    ----------
    asked : str
        The class that the probability is of.
    probability : float
    counts, interval : str
        Both in plain counts out of 100.
    verdict, why : str
        The class called, or that none can be; and by what.
    is_uncertain : bool
        Whether the interval reaches over the threshold.
    notes : tuple of str
        Other flags.
    """

    asked: str
    probability: float
    counts: str
    interval: str
    verdict: str
    why: str
    is_uncertain: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One probability as a bar; ``low`` and ``high`` are its interval, if there is one."""

    name: str
    value: float
    low: float | None
    high: float | None
    is_answer: bool


Mark = Literal["yes", "no", "open"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether image and report point the same way.

    Parameters
    ----------
    state : {"conflict", "differ", "agree", "one"}
        ``"one"`` where there is one input only.
    sentences : tuple of str
        A conflict first.
    marks : tuple of {"yes", "no", "open"}
        Whether each sentence speaks for trust, against it, or for neither.
    """

    state: Literal["conflict", "differ", "agree", "one"]
    sentences: tuple[str, ...]
    marks: tuple[Mark, ...]


def asked_class(prediction: Prediction) -> int:
    """Return the index of the class that a page speaks of: the positive one, or the likeliest of many."""
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
    >>> given = {"intervals": {"fused": ((0.2, 0.5), (0.5, 0.8))}, "interval_kind": "Venn-Abers"}
    >>> p = Prediction(
    ...     CaseId("S1", "1"), "cancer", ("no", "yes"), {"fused": (0.28, 0.72)}, 0.4, ("image",), "m", **given
    ... )
    >>> answer_of(p).counts
    'Of 100 cases that get this answer, about 72 are “yes”.'
    >>> answer_of(p).interval
    'It may be 50 to 80 of 100: the interval of this probability (Venn-Abers).'
    >>> answer_of(p).verdict, answer_of(p).why
    ('Called “yes”', '72% is at or above the threshold of 40%.')
    """
    say, index = explanation_sentences(), asked_class(prediction)
    probability, asked = prediction.probabilities[prediction.condition][index], prediction.classes[index]
    key = "counts_few" if probability < 0.01 else "counts_many" if probability > 0.99 else "counts"
    own = prediction.intervals.get(prediction.condition)
    interval = say("answer.interval_none")
    if own is not None:
        low, high = own[index]
        kind = prediction.interval_kind
        interval = say("answer.interval", low=f"{100 * low:.0f}", high=f"{100 * high:.0f}", kind=kind)
    is_binary, threshold = len(prediction.classes) == 2, prediction.threshold
    is_open = UNCERTAIN in prediction.flags
    if is_binary and own is not None:
        is_open = is_open or own[1][0] < threshold <= own[1][1]
    if is_binary:
        called = prediction.classes[int(probability >= threshold)]
        place = "answer.above" if probability >= threshold else "answer.below"
        shown = {"probability": percent(probability, threshold), "threshold": percent(threshold, probability)}
        why = say("answer.uncertain_why", threshold=percent(threshold)) if is_open else say(place, **shown)
    else:
        called = asked
        why = say("answer.uncertain_many") if is_open else say("answer.likeliest", n=len(prediction.classes))
    return Answer(
        asked,
        probability,
        say(f"answer.{key}", n=f"{100 * probability:.0f}", asked=asked),
        interval,
        say("answer.uncertain") if is_open else say("answer.called", called=called),
        why,
        is_open,
        tuple(_note(flag) for flag in prediction.flags if flag not in (UNCERTAIN, OUT_OF_DISTRIBUTION)),
    )


def bars_of(prediction: Prediction) -> list[Bar]:
    """Return the probability of the asked class by what it rests on, single inputs first."""
    say, index = explanation_sentences(), asked_class(prediction)
    names = sorted(prediction.probabilities, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER))
    found = []
    for name in names:
        shown = inputs_name(prediction.modalities_used if name == "fused" else name.split("+"))
        if len(names) > 1:
            shown = say.of("condition", name, shown)
        low, high = prediction.intervals[name][index] if name in prediction.intervals else (None, None)
        found.append(Bar(shown, prediction.probabilities[name][index], low, high, name == prediction.condition))
    return found


def agreement(prediction: Prediction, *, side: str = "", findings: Sequence[Finding] = ()) -> Agreement:
    """Say whether image and report point the same way, by rules stated on the page.

    Parameters
    ----------
    prediction : Prediction
    side : {"", "left", "right"}
        Where the lesion lies in the image.
    findings : sequence of Finding
        Of the report.

    Returns
    -------
    Agreement

    Examples
    --------
    >>> from medfuse.types import CaseId
    >>> both = {"fused": (0.4, 0.6), "image": (0.2, 0.8), "text": (0.9, 0.1)}
    >>> agreement(Prediction(CaseId("S1", "1"), "t", ("no", "yes"), both, 0.5, ("image", "text"), "m")).state
    'conflict'
    """
    say, known = explanation_sentences(), prediction.probabilities
    sided = _side_conflict(side, findings)
    against: list[Mark] = ["no" for _ in sided]
    if "image" not in known or "text" not in known:
        names = [say.of("modality", name, name) for name in prediction.modalities_used]
        alone = say("agreement.one", what=listed(names, say("trust.and")))
        return Agreement("conflict" if sided else "one", (*sided, alone), (*against, "open"))
    index = asked_class(prediction)
    image, text = known["image"][index], known["text"][index]
    apart = abs(image - text)
    if len(prediction.classes) == 2:
        sides_differ = (image >= prediction.threshold) != (text >= prediction.threshold)
    else:
        sides_differ = known["image"].index(max(known["image"])) != known["text"].index(max(known["text"]))
    shown = {"image": percent(image, text), "text": percent(text, image)}
    if sides_differ:
        key = "conflict" if apart >= CONFLICT_GAP else "differ"
    else:
        key = "apart" if apart >= FAR_GAP else "agree"
    state: Literal["conflict", "differ", "agree"]
    state = "conflict" if key in ("conflict", "apart") else "differ" if key == "differ" else "agree"
    mark: Mark = "no" if state == "conflict" else "yes" if state == "agree" else "open"
    sentences = (*sided, say(f"agreement.{key}", **shown))
    return Agreement("conflict" if sided else state, sentences, (*against, mark))


def _side_conflict(side: str, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Say that the report speaks of the other side only; nothing if it names both, or none."""
    sides = {f.laterality for f in findings if f.status == "present" and f.experiencer == "patient" and f.laterality}
    if not side or len(sides) != 1 or sides & {side, "bilateral"}:
        return ()
    return (explanation_sentences()("agreement.side", reported=next(iter(sides)), seen=side),)


def _note(flag: str) -> str:
    say = explanation_sentences()
    kind, _, what = flag.partition("missing ")
    return say("answer.flag_missing", what=what) if what and not kind else say("answer.flag", flag=flag)
