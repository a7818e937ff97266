"""What a scoring run found, on one page: probabilities by target, flags, and why cases were refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medfuse.reporting.pages import write_page

__all__ = ["N_BINS", "ScoringFigures", "write_scoring_summary"]

N_BINS = 20
"""Of the distributions, each of 0.05."""

INPUTS = {"image": "image", "text": "report", "table": "table"}
"""What a reader calls the modalities."""
MEANINGS = {
    "uncertain": "its interval reaches over the threshold",
    "out of distribution": "its image is unlike the training images",
    "missing report": "answered without a report",
    "missing image": "answered without an image",
    "missing table": "answered without the columns of the table",
    "low quality": "the report is hardly readable, or a template",
    "laterality conflict": "report and image name different sides",
}

MAX_REASONS = 100
"""Shown of the reasons; the others are counted together."""


@dataclass(frozen=True, slots=True)
class ScoringFigures:
    """Counts over the cases of a scoring run.

    Parameters
    ----------
    n_studies, n_scored, n_refused, n_warned : int
        Studies; cases, of which ``n_warned`` are scored with a warning.
    seconds_a_case : float
        Mean over all cases.
    distributions : mapping of str to sequence of int
        By column of the results: cases in each of `N_BINS` even bins of probability.
    flags, modalities : mapping of str to int
        Scored cases by flag, and by what their answer was made from.
    refusals : mapping of (stage, reason) to int
    """

    n_studies: int
    n_scored: int
    n_refused: int
    n_warned: int
    seconds_a_case: float
    distributions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    flags: Mapping[str, int] = field(default_factory=dict)
    modalities: Mapping[str, int] = field(default_factory=dict)
    refusals: Mapping[tuple[str, str], int] = field(default_factory=dict)


def write_scoring_summary(figures: ScoringFigures, path: Path, *, provenance: Mapping[str, str]) -> Path:
    """Write the summary as a page without script that needs nothing but itself; no case is named on it.

    Parameters
    ----------
    figures : ScoringFigures
    path : Path
    provenance : mapping of str to str

    Returns
    -------
    Path
        The file written.
    """
    refused = sorted(figures.refusals.items(), key=lambda item: (-item[1], item[0]))
    context = {
        "title": "Scoring summary",
        "figures": figures,
        "distributions": [_distribution(name, counts) for name, counts in figures.distributions.items()],
        "flags": _shares({_flag(name): n for name, n in figures.flags.items()}, figures.n_scored),
        "modalities": _shares({_inputs(name): n for name, n in figures.modalities.items()}, figures.n_scored),
        "refusals": [{"stage": stage, "n": n, **_split(reason)} for (stage, reason), n in refused[:MAX_REASONS]],
        "n_others": sum(n for _, n in refused[MAX_REASONS:]),
        "provenance": provenance,
    }
    return write_page(path, "scoring_summary.html", context)


def _distribution(name: str, counts: Sequence[int]) -> dict[str, object]:
    most = max(counts, default=0) or 1
    bars = [
        {
            "low": f"{bin_ / N_BINS:.2f}",
            "high": f"{(bin_ + 1) / N_BINS:.2f}",
            "n": n,
            "height": round(100 * n / most, 1),
        }
        for bin_, n in enumerate(counts)
    ]
    return {"name": _answer(name), "bars": bars, "n": sum(counts)}


def _answer(column: str) -> str:
    """Say what a column of probabilities answers, and from what.

    Examples
    --------
    >>> _answer("probability_malignancy"), _answer("probability_text_malignancy")
    ('malignancy', 'malignancy, by the report alone')
    """
    name = column.removeprefix("probability_")
    modality, _, target = name.partition("_")
    return f"{target}, by the {INPUTS[modality]} alone" if modality in INPUTS and target else name


def _inputs(modalities: str) -> str:
    """Say what an answer was made from.

    Examples
    --------
    >>> _inputs("image+text"), _inputs("text")
    ('image and report', 'report')
    """
    return " and ".join(INPUTS.get(name, name) for name in modalities.split("+"))


def _flag(name: str) -> str:
    return f"{name}: {MEANINGS[name]}" if name in MEANINGS else name


def _shares(counts: Mapping[str, int], total: int) -> list[dict[str, object]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"name": name, "n": n, "share": f"{100 * n / max(total, 1):.1f} %"} for name, n in ordered]


def _split(reason: str) -> dict[str, str]:
    """Part a reason from the hint that follows it.

    Examples
    --------
    >>> _split("series: found a gap; expected even steps")
    {'reason': 'series: found a gap', 'hint': 'even steps'}
    """
    found, _, hint = reason.partition("; expected ")
    return {"reason": found, "hint": hint}
