"""What bounds a figure from outside the model: labels that readers disagree on, and too few training cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medfuse.reporting.curves import Figure
from medfuse.reporting.svg import Frame, Line, Points, plot, strokes_of
from medfuse.reporting.words import number, signed

if TYPE_CHECKING:
    from medfuse.evaluation import LearningCurve, ReaderAgreement
    from medfuse.reporting.sentences import Sentences

__all__ = ["learning_figure", "reader_sentences"]


def reader_sentences(found: ReaderAgreement, words: Sentences) -> list[str]:
    """Say how far readers agree, what one of them reaches against the others, and what the model does.

    Parameters
    ----------
    found : ReaderAgreement
    words : Sentences

    Returns
    -------
    list of str
    """
    say = words.say
    said = [
        say("readers.agreement", readers=found.n_readers, n=found.n, alpha=words.estimate(found.alpha)),
        say("readers.ceiling", area=words.estimate(found.ceiling)),
    ]
    if found.model is not None:
        said.append(say("readers.model", area=words.estimate(found.model)))
    return [*said, say("readers.limit")]


def learning_figure(found: LearningCurve, words: Sentences) -> Figure:
    """Draw what more training cases gave on the same test cases.

    Parameters
    ----------
    found : LearningCurve
    words : Sentences

    Returns
    -------
    Figure
    """
    say = words.say
    stroke = strokes_of(["fused"])["fused"]
    sizes, values = [float(size) for size in found.sizes], [area.value for area in found.areas]
    lows, highs = [area.low for area in found.areas], [area.high for area in found.areas]
    told = "; ".join(f"{size}: {number(value)}" for size, value in zip(found.sizes, values, strict=True))
    frame = Frame(
        "learning",
        say("learning.title"),
        say("learning.description", points=told),
        say("learning.x"),
        say("missing.y"),
        x_range=(0.0, 1.05 * max(sizes)),
        y_range=(min(0.5, *lows), 1.0),
    )
    gain = found.last_gain
    caption = say(
        "learning.caption",
        before=found.sizes[-2],
        after=found.sizes[-1],
        gain=signed(gain.difference),
        low=signed(gain.low),
        high=signed(gain.high),
        level=words.level,
    )
    drawn: list[Line | Points] = [
        Line(np.array(sizes), np.array(values), stroke),
        Points(sizes, values, stroke, lows, highs),
    ]
    return Figure(plot(frame, drawn), (), caption)
