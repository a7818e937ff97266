"""The report of several targets, or of one with several classes, on one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medfuse.reporting.background import Background
from medfuse.reporting.certainty import set_sentences
from medfuse.reporting.curves import Figure, small_figures
from medfuse.reporting.forest import Forest, counted_forest, subgroup_forest
from medfuse.reporting.leakage_checks import shared_checks
from medfuse.reporting.result_tables import (
    Cell,
    Row,
    Table,
    areas_tables,
    lift_table,
    overall_table,
    summary_table,
    threshold_words,
)
from medfuse.reporting.sentences import Sentences
from medfuse.reporting.verdict import main_condition
from medfuse.reporting.words import number
from medfuse.types import Estimate

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation, TargetEvaluation

__all__ = ["Part", "targets_context"]

MOST_DRAWN = 20


@dataclass(frozen=True, slots=True)
class Part:
    """What is shown of one target, or of one class of it."""

    name: str
    count: str
    threshold: str
    figures: tuple[Figure, ...]
    subgroups: Forest | None


def targets_context(found: Mapping[str, TargetEvaluation], background: Background, words: Sentences) -> dict[str, Any]:
    """Return what the page of several targets shows beside what all pages do.

    Parameters
    ----------
    found : mapping of str to TargetEvaluation
    background : Background
    words : Sentences

    Returns
    -------
    dict
    """
    say = words.say
    named = _by_name(found, words)
    mains = {name: (one, main_condition(one)) for name, one in named.items()}
    rows: list[tuple[str, str, Estimate | None]] = [
        (name, say("targets.count", n=one.n, positive=one.n_positive), one.metrics[main]["auroc"])
        for name, (one, main) in mains.items()
    ]
    drawn = list(mains.items())[:MOST_DRAWN]
    return {
        "asked": say("targets.asked", n=len(named)),
        "verdict": _verdict(named, words) if named else [],
        "forest": counted_forest(rows, words) if rows else None,
        "areas": areas_tables(named, words) if named else [],
        "lift": lift_table(named, words),
        "summary": summary_table(mains, words) if named else None,
        "several": [_several(one, words) for one in found.values() if one.overall],
        "parts": [_part(name, one, main, words, place=place) for place, (name, (one, main)) in enumerate(drawn)],
        "n_more": len(mains) - len(drawn),
        "limits": [*background.limits, *_limits(mains, words)],
        "refused": {
            _title(one.target, name, words): reason for one in found.values() for name, reason in one.refused.items()
        },
        "checks": shared_checks(background.cohort_facts, words),
    }


def _by_name(found: Mapping[str, TargetEvaluation], words: Sentences) -> dict[str, Evaluation]:
    """Return the evaluations of all targets and classes by the name that a reader sees."""
    named: dict[str, Evaluation] = {}
    for target in found.values():
        for name, one in target.by_class.items():
            shown = name if target.kind != "binary" else ""
            named[_title(target.target, shown, words) or f"{len(named) + 1}"] = one
    return named


def _title(target: str, name: str, words: Sentences) -> str:
    return words.say("targets.class", target=target, name=name) if target and name else target or name


def _verdict(named: Mapping[str, Evaluation], words: Sentences) -> list[str]:
    """Say in three sentences how many targets are told apart, how well, and what the inputs add to each other."""
    from medfuse.evaluation import holm

    say, n = words.say, len(named)
    areas = {name: one.metrics[main_condition(one)]["auroc"] for name, one in named.items()}
    best, worst = (pick(areas, key=lambda name: areas[name].value) for pick in (max, min))
    low, high = number(areas[worst].value), number(areas[best].value)
    said = [
        say("targets.verdict_chance", n=n, better=sum(area.low > 0.5 for area in areas.values())),
        say("targets.verdict_range", low=low, worst=worst, high=high, best=best),
    ]
    lifts = [one.comparisons["lift"] for one in named.values() if "lift" in one.comparisons]
    if lifts:
        corrected = holm([found.p_value for found in lifts])
        shown = [found.difference > 0 for found, p in zip(lifts, corrected, strict=True) if p < 0.05]
        return [*said, say("targets.verdict_lift", n=len(lifts), better=sum(shown), worse=len(shown) - sum(shown))]
    above = sum(one.metrics[main_condition(one)]["auprc"].low > one.n_positive / one.n for one in named.values())
    return [*said, say("targets.verdict_precision", n=n, better=above)]


def _limits(mains: Mapping[str, tuple[Evaluation, str]], words: Sentences) -> list[str]:
    """Say what every set of targets leaves open, in its own numbers."""
    said = []
    if mains:
        rarest = min(mains, key=lambda name: mains[name][0].n_positive)
        one = mains[rarest][0]
        said.append(words.say("targets.limit_size", name=rarest, positive=one.n_positive, n=one.n, all=len(mains)))
    return [*said, words.say("targets.limit_alone"), words.say("limit.equal")]


def _part(name: str, one: Evaluation, main: str, words: Sentences, *, place: int) -> Part:
    count = words.say("targets.count", n=one.n, positive=one.n_positive)
    threshold = threshold_words(one.operating_points[main][0], words)
    groups = subgroup_forest(one, words)
    return Part(name, count, threshold, tuple(small_figures(one, main, words, prefix=f"t{place}-")), groups)


def _several(one: TargetEvaluation, words: Sentences) -> dict[str, Any]:
    """Return what all classes of a target show together."""
    name = one.target or one.kind
    main = "fused" if "fused" in one.overall else next(iter(one.overall))
    confusion = None
    if main in one.confusion:
        rows = [
            Row(true, tuple(Cell(str(int(count))) for count in counts))
            for true, counts in zip(one.classes, one.confusion[main], strict=True)
        ]
        confusion = Table(one.classes, tuple(rows))
    return {
        "title": words.say("targets.all_classes", name=name),
        "table": overall_table(one.overall, words),
        "confusion_title": words.say("targets.confusion", name=words.condition(main, among=one.overall)),
        "confusion": confusion,
        "sets": set_sentences(one.sets[main], words) if main in one.sets else [],
    }
