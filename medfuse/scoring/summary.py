"""Counts over a results folder, part after part, for its summary page."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medfuse import __version__
from medfuse.reporting.scoring_summary import N_BINS, ScoringFigures, write_scoring_summary
from medfuse.scoring import parts
from medfuse.scoring.ledger import read_run

__all__ = ["scoring_figures", "write_summary"]

PAGE = "summary.html"
SHOWN_IDENTITY = ("model_id", "position", "preprocessing_digest")


def write_summary(folder: Path) -> Path:
    """Write summary.html into a results folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path
        The page.
    """
    identity = (read_run(folder) or {"identity": {}})["identity"]
    known = {key.replace("_", " "): identity[key] for key in SHOWN_IDENTITY if key in identity}
    return write_scoring_summary(scoring_figures(folder), folder / PAGE, provenance={"medfuse": __version__, **known})


def scoring_figures(folder: Path) -> ScoringFigures:
    """Count the cases of a results folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    ScoringFigures
    """
    bins: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(N_BINS, np.int64))
    flags, modalities, statuses = Counter[str](), Counter[str](), Counter[str]()
    refusals = Counter[tuple[str, str]]()
    n_studies = n_warned = 0
    seconds = 0.0
    for path in parts.part_paths(folder / "predictions"):
        n_studies += len(parts.read_states(path))
        frame = parts.read_part(path).to_pandas()
        scored, refused = frame[frame["status"] == "scored"], frame[frame["status"] == "refused"]
        statuses.update(frame["status"])
        seconds += float(frame["seconds"].sum())
        n_warned += int((scored["warnings"] != "").sum())
        modalities.update(scored["modalities_used"])
        flags.update(flag for text in scored["flags"] if text for flag in text.split("; "))
        refusals.update(zip(refused["stage"], refused["reason"], strict=True))
        for column in scored.columns[scored.columns.str.startswith("probability_")]:
            bins[column] += np.histogram(scored[column].dropna(), bins=N_BINS, range=(0.0, 1.0))[0]
    n_cases = statuses["scored"] + statuses["refused"]
    return ScoringFigures(
        n_studies,
        statuses["scored"],
        statuses["refused"],
        n_warned,
        seconds / max(n_cases, 1),
        {name: counts.tolist() for name, counts in bins.items() if counts.any()},
        flags,
        modalities,
        refusals,
    )
