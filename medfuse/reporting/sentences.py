"""Figures, names and answers in the words of a catalogue."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from medfuse.reporting.words import number, signed
from medfuse.types import Comparison, Estimate

if TYPE_CHECKING:
    from medfuse.reporting.catalogue import Catalogue

__all__ = ["Sentences"]

MODALITIES = ("image", "text", "table")


class Sentences:
    """How numbers are said in one language.

    Parameters
    ----------
    say : Catalogue
    level : float
        Confidence level of the intervals.
    names : collection of str
        Conditions that are shown as they are written: names of runs.
    """

    def __init__(self, say: Catalogue, *, level: float = 0.95, names: Collection[str] = ()) -> None:
        self.say = say
        self.names = frozenset(names)
        self.level = f"{100 * level:g}%"

    def interval(self, figure: Estimate | Comparison, digits: int = 3) -> str:
        """Return "low to high"."""
        return self.say("figure.interval", low=number(figure.low, digits), high=number(figure.high, digits))

    def estimate(self, figure: Estimate, digits: int = 3) -> str:
        """Return a figure and its interval, or that it is not defined."""
        if math.isnan(figure.value):
            return self.say("figure.undefined")
        return f"{number(figure.value, digits)} ({self.interval(figure, digits)})"

    def p(self, value: float) -> str:
        """Return a p value with its sign, never as 0."""
        shown = self.p_alone(value)
        return f"p {shown}" if shown.startswith("<") else f"p = {shown}"

    def p_alone(self, value: float) -> str:
        """Return a p value for a column of them."""
        if math.isnan(value):
            return self.say("figure.undefined")
        return "< 0.001" if value < 0.001 else number(value, 3 if value < 0.1 else 2)

    def condition(self, name: str, *, among: Collection[str] = ()) -> str:
        """Return a condition or baseline as a reader knows it.

        Parameters
        ----------
        name : str
        among : collection of str
            All conditions: they tell what is fused where it is more than image and report.
        """
        if name in self.names:
            return name
        read = [modality for modality in MODALITIES if modality in among]
        if name == "fused" and len(read) > 1:
            return self.say("inputs." + "_".join(read))
        plain = name.removeprefix("baseline_").replace("_", " ")
        return self.say.of("condition", name.removeprefix("baseline_"), plain[:1].upper() + plain[1:])

    def answer(self, difference: Comparison) -> str:
        """Return ``"yes"`` if the interval of a difference lies above 0, ``"no"`` if below, else ``"open"``."""
        return "yes" if difference.low > 0 else "no" if difference.high < 0 else "open"

    def difference(self, difference: Comparison, *, p_value: float | None = None) -> str:
        """Return one sentence on a paired difference in AUROC, from its figures alone.

        Parameters
        ----------
        difference : Comparison
        p_value : float, optional
            Instead of its own, for example corrected for the number of tests.
        """
        answer = self.answer(difference)
        p = self.p(difference.p_value if p_value is None else p_value)
        if answer == "open":
            return self.say(
                "difference.open",
                difference=signed(difference.difference),
                level=self.level,
                interval=self.interval(difference),
                p=p,
                loss=number(abs(min(difference.low, 0.0))),
                gain=number(max(difference.high, 0.0)),
            )
        low, high = sorted((abs(difference.low), abs(difference.high)))
        ends = self.say("figure.interval", low=number(low), high=number(high))
        size = number(abs(difference.difference))
        return self.say(f"difference.{answer}", difference=size, level=self.level, interval=ends, p=p)
