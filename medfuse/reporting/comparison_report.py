"""The comparison report: many models on the same cases, best first, each against one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medfuse.reporting import figures, words
from medfuse.reporting.pages import write_page

if TYPE_CHECKING:
    from medfuse.evaluation import ComparedModel

__all__ = ["ComparedCases", "write_comparison_report"]

LEVEL = 0.05


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
        Seconds of a core a training and number of parameters, by model; baselines have none.
    design : sequence of str
        Sentences on what was trained on what.
    provenance : mapping of str to str
        Shown as given.

    Returns
    -------
    Path
        The page.
    """
    ordered = sorted(models, key=lambda one: -one.area.value)
    reference = next(one.name for one in models if one.against is None)
    rows = [_row(one, costs) for one in ordered]
    context = {
        "title": "Which model does best?",
        "headline": headline(ordered, reference),
        "rows": rows,
        "n": cases.n,
        "n_positive": cases.n_positive,
        "n_patients": cases.n_patients,
        "reference": words.condition_name(reference),
        "n_tests": len(models) - 1,
        "forest": figures.areas_figure([(words.condition_name(one.name), one.area) for one in ordered]),
        "design": list(design),
        "provenance": dict(provenance),
        "refused": list(cases.refused),
    }
    return write_page(path, "comparison.html", context)


def headline(ordered: Sequence[ComparedModel], reference: str) -> str:
    """Say what the figures show, and no more.

    Parameters
    ----------
    ordered : sequence of ComparedModel
        Largest area first.
    reference : str

    Returns
    -------
    str
    """
    best = next(one for one in ordered if not one.name.startswith("baseline_"))
    area = f"{words.number(best.area.value)} ({words.number(best.area.low)} to {words.number(best.area.high)})"
    said = f"{words.condition_name(best.name)} has the largest AUROC, {area}."
    better = [one for one in ordered if one.against and one.p_holm < LEVEL and one.against.difference > 0]
    worse = [one for one in ordered if one.against and one.p_holm < LEVEL and one.against.difference < 0]
    others = len(ordered) - 1
    name = words.condition_name(reference)
    return (
        f"{said} Of {others} others, {len(better)} are shown to be better than {name} and {len(worse)} to be worse, "
        f"at {100 * LEVEL:g}% after Holm's correction; of the rest neither is shown."
    )


def _row(one: ComparedModel, costs: Mapping[str, tuple[float, float]]) -> dict[str, object]:
    seconds, parameters = costs.get(one.name, (None, None))
    return {
        "name": words.condition_name(one.name),
        "baseline": one.name.startswith("baseline_"),
        "area": one.area,
        "against": one.against,
        "p": "< 0.001" if one.p_holm < 0.001 else words.number(one.p_holm),
        "seconds": "" if seconds is None else f"{seconds:.0f}",
        "parameters": "" if parameters is None else f"{parameters:,.0f}",
    }
