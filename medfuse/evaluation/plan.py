"""What is decided before the test cases are looked at: levels, thresholds' rules, promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from medfuse.errors import UsageError, nearest_name

__all__ = ["EvaluationPlan", "OperatingRule"]

Criterion = Literal["youden", "f1", "sensitivity", "specificity", "net_benefit", "given", "fixed"]
AIMED = ("sensitivity", "specificity", "net_benefit", "given", "fixed")
CRITERIA = ("youden", "f1", *AIMED)


@dataclass(frozen=True, slots=True)
class OperatingRule:
    """How a threshold is chosen, on validation cases only.

    Parameters
    ----------
    criterion : {"youden", "f1", "sensitivity", "specificity", "net_benefit", "given", "fixed"}
        Largest sensitivity + specificity - 1; largest F1; the highest threshold of at least a sensitivity; the lowest
        of at least a specificity; the largest net benefit; a threshold given from elsewhere; one fixed in advance.
    aim : float, optional
        The sensitivity or specificity; of net benefit the probability at which a reader would act, which weighs a false
        call by its odds; the threshold itself where it is given or fixed.

    Raises
    ------
    UsageError
        If there is no such criterion, or its aim is missing or out of range.

    Examples
    --------
    >>> OperatingRule("sensitivity", 0.9).name, OperatingRule("youden").name
    ('sensitivity_0.9', 'youden')
    """

    criterion: Criterion
    aim: float | None = None

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise UsageError("criterion", f"found {self.criterion!r}", expected=nearest_name(self.criterion, CRITERIA))
        if self.criterion not in AIMED:
            right = self.aim is None
        elif self.aim is None:
            right = False
        else:
            right = 0 < self.aim < 1 if self.criterion == "net_benefit" else 0 <= self.aim <= 1
        if not right:
            expected = "a number in [0, 1]" if self.criterion in AIMED else "no aim"
            raise UsageError(f"criterion {self.criterion!r}", f"found the aim {self.aim}", expected=expected)

    @property
    def name(self) -> str:
        """Criterion and aim in one word."""
        return self.criterion if self.aim is None else f"{self.criterion}_{self.aim:g}"


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What an evaluation states, decided before the test cases are looked at.

    Parameters
    ----------
    level : float
        Confidence level of every interval, in (0, 1).
    rules : tuple of OperatingRule
        How thresholds are chosen; the first is the locked one, at which all figures are given.
    reference : str
        Condition that all others and the baselines are compared with, if it is there.
    coverage : float
        What sets of classes promise, in (0, 1).
    thresholds : mapping of str to float
        By condition, chosen elsewhere on validation cases; each is then the locked one.
    power : float
        With which the smallest detectable difference would have been found, in (0, 1).
    largest_resampled : int
        Cases above which no test by resampling is made: of so many DeLong's says the same.

    Raises
    ------
    UsageError
        If a share lies outside (0, 1), or there is no rule.
    """

    level: float = 0.95
    rules: tuple[OperatingRule, ...] = (
        OperatingRule("youden"),
        OperatingRule("sensitivity", 0.9),
        OperatingRule("net_benefit", 0.1),
    )
    reference: str = "fused"
    coverage: float = 0.9
    thresholds: Mapping[str, float] = field(default_factory=dict)
    power: float = 0.8
    largest_resampled: int = 50_000

    def __post_init__(self) -> None:
        for name in ("level", "coverage", "power"):
            if not 0 < getattr(self, name) < 1:
                raise UsageError(
                    f"plan {name}", f"found {getattr(self, name)}", expected="a number in (0, 1), for example 0.9"
                )
        if not self.rules:
            raise UsageError("plan rules", "found none", expected="at least one")
