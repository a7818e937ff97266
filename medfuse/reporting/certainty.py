"""How sure the model is of one case: sets of classes, intervals of a probability, and leaving cases to a reader."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from medfuse.reporting.curves import Figure
from medfuse.reporting.svg import Frame, Line, Stroke, plot
from medfuse.reporting.words import number

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation
    from medfuse.evaluation.promises import SetFigures
    from medfuse.reporting.sentences import Sentences

__all__ = ["abstention_figure", "certainty_sentences", "set_sentences"]

ANSWERED = 0.8
LINE, BOUND = Stroke("#00785a", "", "circle", 2.4), Stroke("#00785a", "2 3", "circle", 1.2)


def certainty_sentences(evaluation: Evaluation, main: str, words: Sentences) -> list[str]:
    """Return what the sets and intervals promised, and what they held.

    Parameters
    ----------
    evaluation : Evaluation
    main : str
    words : Sentences

    Returns
    -------
    list of str
        Empty where the predictions hold no validation cases to fit them on.
    """
    said = set_sentences(evaluation.sets[main], words) if main in evaluation.sets else []
    if main in evaluation.intervals:
        one = evaluation.intervals[main]
        said.append(
            words.say(
                "sure.intervals",
                kind=one.kind,
                width=number(one.median_width),
                low=number(one.mean_low),
                high=number(one.mean_high),
                observed=words.estimate(one.observed),
            )
        )
    return said


def set_sentences(found: SetFigures, words: Sentences) -> list[str]:
    """Return what sets of classes promised, and what they held.

    Parameters
    ----------
    found : SetFigures
    words : Sentences
    """
    say = words.say
    key = "sure.sets_each" if found.by_class else "sure.sets"
    said = [say(key, promised=_share(found.promised), held=words.estimate(found.coverage))]
    if found.by_class:
        said += [
            say("sure.sets_by_class", name=name, held=words.estimate(held))
            for name, held in found.class_coverage.items()
            if not math.isnan(held.value)
        ]
    several = 1 - found.share_single - found.share_empty
    said.append(
        say("sure.set_size", single=_share(found.share_single), both=_share(several), empty=_share(found.share_empty))
    )
    return said


def abstention_figure(evaluation: Evaluation, main: str, words: Sentences) -> Figure:
    """Draw the share of wrong calls as the least sure cases are left to a reader.

    Parameters
    ----------
    evaluation : Evaluation
    main : str
    words : Sentences
    """
    say, curve = words.say, evaluation.curves[main].abstention
    at = int(np.argmin(np.abs(curve.answered - ANSWERED)))
    first, then = float(curve.error[0]), float(curve.error[at])
    top = max(float(np.nanmax(curve.high)), 0.05)
    frame = Frame(
        "abstention",
        say("abstain.title"),
        say("abstain.description", first=_share(first), answered=_share(float(curve.answered[at])), then=_share(then)),
        say("abstain.x"),
        say("abstain.y"),
        x_range=(float(curve.answered.min()), 1.0),
        y_range=(0.0, top),
        percent=True,
    )
    lines = [
        Line(curve.answered, values, stroke)
        for values, stroke in ((curve.error, LINE), (curve.low, BOUND), (curve.high, BOUND))
    ]
    caption = say(
        "abstain.caption",
        left=_share(1 - float(curve.answered[at])),
        then=_share(then),
        first=_share(first),
        level=words.level,
    )
    return Figure(plot(frame, lines), (), caption)


def _share(value: float) -> str:
    return f"{100 * max(value, 0.0):.0f}%"
