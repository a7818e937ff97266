"""Pages for the cases that somebody should look at: flagged ones, and those called positive."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medfuse.data.positions import Position
from medfuse.errors import DataError
from medfuse.explain import PageOptions, explain_study
from medfuse.inference import Bundle, Predictor
from medfuse.inference.calibration import conditions_of
from medfuse.io import Pseudonymizer, StudyEntry
from medfuse.scoring import parts
from medfuse.scoring.rows import columns_of
from medfuse.scoring.work import GIVEN_NAMES, Work, to_works
from medfuse.types import CaseId

__all__ = ["PAGES", "explain_results", "wants_page"]

PAGES = "explanations"
MISSING = "missing "
"""Flags that begin like this say what a case lacks, and alone call for no page."""

log = logging.getLogger("medfuse")


def explain_results(
    entries: Iterable[StudyEntry],
    *,
    predictor: Predictor,
    out: Path,
    pseudonymizer: Pseudonymizer,
    position: Position = "require",
    page: PageOptions | None = None,
) -> tuple[int, int]:
    """Write a page for each flagged or positive case of a results folder that has none yet.

    With ``page.dicom`` every scored case gets one, and beside it what a PACS can keep.

    Parameters
    ----------
    entries : iterable of StudyEntry
        As they were scored.
    predictor : Predictor
    out : Path
        Results folder; gets explanations/<case>/.
    pseudonymizer : Pseudonymizer
    position : {"require", "centre"}
    page : PageOptions, optional

    Returns
    -------
    n_written, n_refused : int
        Cases.
    """
    wanted = _wanted(out, predictor.bundle, every=page is not None and page.dicom)
    n_written = n_refused = 0
    for work in to_works(entries, pseudonymizer):
        lesions = wanted.pop(work.study_key, None)
        if lesions is None:
            continue
        try:
            n_written += len(
                explain_study(
                    _restricted(work, lesions),
                    predictor=predictor,
                    out=out / PAGES,
                    pseudonymizer=GIVEN_NAMES,
                    position=position,
                    page=page,
                )
            )
        except DataError as error:
            n_refused += len(lesions)
            log.warning("no page for %s: %s", work.study_key, error)
    return n_written, n_refused


def wants_page(row: Mapping[str, Any], bundle: Bundle) -> bool:
    """Tell whether a case is flagged for more than what it lacks, or called positive at its threshold.

    Parameters
    ----------
    row : mapping
        Of the results.
    bundle : Bundle
        The model that made it.
    """
    if row["status"] != "scored":
        return False
    if any(not flag.startswith(MISSING) for flag in row["flags"].split("; ") if flag):
        return True
    used = set(row["modalities_used"].split("+"))
    conditions = conditions_of(bundle.preprocessing.modalities)
    condition = next((name for name, needed in conditions.items() if set(needed) == used), None)
    for target in bundle.targets:
        if target.kind == "binary" and condition is not None:
            ((name, _),) = columns_of(target.name, target.classes)
            if row[f"probability_{name}"] >= bundle.calibration[target.name][condition].threshold:
                return True
    return False


def _wanted(out: Path, bundle: Bundle, *, every: bool) -> dict[str, set[str]]:
    """Return the lesions that want a page, or as ``every`` scored one DICOM results, and have none, by study."""
    made = "sr.dcm" if every else "report.html"
    wanted: dict[str, set[str]] = {}
    for path in parts.part_paths(out / "predictions"):
        for row in parts.read_part(path).to_pylist():
            case = CaseId(row["study_key"], row["lesion_id"])
            wants = row["status"] == "scored" if every else wants_page(row, bundle)
            if wants and not (out / PAGES / str(case) / made).exists():
                wanted.setdefault(case.study_key, set()).add(case.lesion_id)
    return wanted


def _restricted(work: Work, lesions: set[str]) -> StudyEntry:
    """Return a study with those of its lesions alone, where they are known without reading it."""
    entry = work.entry
    return replace(entry, lesions=tuple(lesion for lesion in entry.lesions if lesion.lesion_id in lesions))
