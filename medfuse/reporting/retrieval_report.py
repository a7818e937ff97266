"""Figures of retrieval -> a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["retrieval_page"]

DEPTHS = (1, 5, 10)
ZERO_SHOT = "zero-shot"


def retrieval_page(metrics: Mapping[str, Any], *, title: str, notes: Sequence[str] = ()) -> str:
    """Return a page: a table a direction, chance first, and the classes by prompt.

    Parameters
    ----------
    metrics : mapping
        By model, then by distance, then by direction: what `medfuse.evaluation.retrieval_figures` gives, as plain
        values; ``recall_at_10_over_baseline`` may stand beside it. Under ``"zero-shot"`` of a model, its AUROC.
    title : str
    notes : sequence of str
        Paragraphs that say how the figures were made.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> one = {"value": 1.0, "low": 0.9, "high": 1.0, "n": 8}
    >>> known = {f"{chance}recall_at_{k}": 0.1 if chance else one for k in DEPTHS for chance in ("", "chance_")}
    >>> known |= {"median_rank": one, "chance_median_rank": 4.5}
    >>> page = retrieval_page({"a": {"cosine": {"there": known}}}, title="Retrieval")
    >>> page.splitlines()[-1]
    '| a | cosine | 1.000 (0.900 to 1.000) | 1.000 (0.900 to 1.000) | 1.000 (0.900 to 1.000) | 1.0 (0.9 to 1.0) |  |'
    """
    first = next(found for by_distance in metrics.values() for name, found in by_distance.items() if name != ZERO_SHOT)
    lines = [f"# {title}", ""]
    for note in notes:
        lines += [note, ""]
    n = next(iter(first.values()))["recall_at_1"]["n"]
    lines.append(
        f"{n} queries a direction. Recall at 1, 5 and 10 and median rank with 95 % intervals (bootstrap by patient);"
        " ties count as their mean over random orders."
    )
    for direction, known in first.items():
        chance = " | ".join(f"{known[f'chance_recall_at_{depth}']:.3f}" for depth in DEPTHS)
        lines += [
            "",
            f"## {direction.capitalize()}",
            "",
            "| model | distance | R@1 | R@5 | R@10 | median rank | R@10 over the baseline |",
            "|---|---|---|---|---|---|---|",
            f"| chance | | {chance} | {known['chance_median_rank']:.1f} | |",
        ]
        lines += [
            _row(model, distance, found[direction])
            for model, by_distance in metrics.items()
            for distance, found in by_distance.items()
            if distance != ZERO_SHOT
        ]
    shots = {model: found[ZERO_SHOT]["auroc"] for model, found in metrics.items() if ZERO_SHOT in found}
    if shots:
        lines += ["", "## Zero-shot classes by prompt", "", "| model | AUROC |", "|---|---|"]
        lines += [f"| {model} | {_shown(area)} |" for model, area in shots.items()]
    return "\n".join(lines) + "\n"


def _row(model: str, distance: str, figures: Mapping[str, Any]) -> str:
    recalls = " | ".join(_shown(figures[f"recall_at_{depth}"]) for depth in DEPTHS)
    median, over = figures["median_rank"], figures.get("recall_at_10_over_baseline")
    gain = f"{over['difference']:+.3f} ({over['low']:+.3f} to {over['high']:+.3f})" if over else ""
    middle = f"{median['value']:.1f} ({median['low']:.1f} to {median['high']:.1f})"
    return f"| {model} | {distance} | {recalls} | {middle} | {gain} |"


def _shown(estimate: Mapping[str, Any]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
