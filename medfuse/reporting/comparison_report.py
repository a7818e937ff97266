"""The comparison report: many models on the same cases, best first, each against one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfuse.reporting.catalogue import open_catalogue
from medfuse.reporting.forest import areas_forest
from medfuse.reporting.pages import write_page
from medfuse.reporting.sentences import Sentences
from medfuse.reporting.svg import strokes_of
from medfuse.reporting.words import number, signed

if TYPE_CHECKING:
    from medfuse.evaluation import ComparedModel

__all__ = ["ComparedCases", "comparison_context", "write_comparison_report"]

LEVEL = 0.05
BASELINE = "baseline_"


@dataclass(frozen=True, slots=True)
class ComparedCases:
    """What a comparison rests on.

    Parameters
    ----------
    n, n_positive, n_patients : int
    refused : tuple of (str, str)
        Models that could not be trained, and why.
    """

    n: int
    n_positive: int
    n_patients: int
    refused: tuple[tuple[str, str], ...] = ()


def write_comparison_report(
    models: Sequence[ComparedModel],
    path: Path,
    *,
    cases: ComparedCases,
    costs: Mapping[str, tuple[float, float]],
    design: Sequence[str],
    provenance: Mapping[str, str],
) -> Path:
    """Write a comparison as a self-contained page.

    Parameters
    ----------
    models : sequence of ComparedModel
        One of them the reference.
    path : Path
        Of the page.
    cases : ComparedCases
    costs : mapping of str to (float, float)
        Seconds of a training and number of parameters, by model; baselines have none.
    design : sequence of str
        Sentences on what was trained on what.
    provenance : mapping of str to str
        Shown as given.

    Returns
    -------
    Path
        The page.
    """
    words = Sentences(open_catalogue("en"))
    context = {
        **comparison_context(models, words, costs=costs),
        "title": words.say("compare.title"),
        "n": cases.n,
        "n_positive": cases.n_positive,
        "n_patients": cases.n_patients,
        "n_left_out": 0,
        "figures": (),
        "tables": (),
        "thresholds": {},
        "design": list(design),
        "limits": (),
        "provenance": dict(provenance),
        "refused": list(cases.refused),
    }
    return write_page(path, "comparison.html", context)


def comparison_context(
    models: Sequence[ComparedModel], words: Sentences, *, costs: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """Return the answer, the forest plot and the rows of a comparison.

    Parameters
    ----------
    models : sequence of ComparedModel
    words : Sentences
    costs : mapping of str to (float, float)

    Returns
    -------
    dict
    """
    ordered = sorted(models, key=lambda one: -one.area.value)
    reference = next(one.name for one in models if one.against is None)
    rows = [(one.name, words.condition(one.name), one.area) for one in ordered]
    faint = [one.name for one in ordered if one.name.startswith(BASELINE)]
    return {
        "say": words.say,
        "words": words,
        "verdict": headline(ordered, reference, words),
        "rows": [_row(one, words, costs) for one in ordered],
        "reference": words.condition(reference),
        "n_tests": len(models) - 1,
        "has_costs": bool(costs),
        "forest": areas_forest(rows, words, strokes=strokes_of([one.name for one in ordered]), faint=faint),
    }


def headline(ordered: Sequence[ComparedModel], reference: str, words: Sentences) -> list[str]:
    """Say what the figures show, and no more.

    Parameters
    ----------
    ordered : sequence of ComparedModel
        Largest area first.
    reference : str
    words : Sentences

    Returns
    -------
    list of str
    """
    say, name = words.say, words.condition(reference)
    best = next((one for one in ordered if not one.name.startswith(BASELINE)), ordered[0])
    shown = [one.against.difference for one in ordered if one.against and one.p_holm < LEVEL]
    better, worse = sum(found > 0 for found in shown), sum(found < 0 for found in shown)
    return [
        say("compare.headline", name=words.condition(best.name), area=words.estimate(best.area)),
        say("compare.others", n=len(ordered) - 1, better=better, worse=worse, reference=name),
    ]


def _row(one: ComparedModel, words: Sentences, costs: Mapping[str, tuple[float, float]]) -> dict[str, object]:
    seconds, parameters = costs.get(one.name, (None, None))
    found = one.against
    interval = found and words.say("figure.interval", low=signed(found.low), high=signed(found.high))
    return {
        "name": words.condition(one.name),
        "baseline": one.name.startswith(BASELINE),
        "area": number(one.area.value),
        "area_interval": words.interval(one.area),
        "difference": signed(found.difference) if found else "",
        "difference_interval": interval or "",
        "p": words.p_alone(one.p_holm) if found else "",
        "seconds": "" if seconds is None else f"{seconds:.0f}",
        "parameters": "" if parameters is None else f"{parameters:,.0f}",
    }
