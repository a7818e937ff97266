"""What a run's cases were, without a name or a text: a table of them, and what never came in."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medfuse.data.cases import Case, CaseSet
from medfuse.data.store import StoredBox
from medfuse.data.table import LABEL, is_label
from medfuse.io import Manifest
from medfuse.types import Target
from medfuse.whole_files import write_whole

__all__ = ["FACTS", "TABLE", "cohort_facts", "cohort_table", "write_cohort"]

TABLE, FACTS = "cohort.parquet", "cohort.json"
MOST_VALUES, LONGEST_VALUE = 20, 40
"""A column of words with more different or longer values holds names or texts, and is not kept."""

_PLACES = ("roi_", "split", "fold", "lesion_id", "unit")
_DATES = re.compile(r"date|time|birth|dob", re.IGNORECASE)
_FIXED = ("case_id", "patient_key", "part", "fold", "has_image", "has_text")

Parts = Mapping[str, Sequence[Case]]


def write_cohort(
    folder: Path, *, manifest: Manifest, parts: Parts, targets: Sequence[Target], loaded: CaseSet | None = None
) -> None:
    """Write ``cohort.parquet`` and ``cohort.json`` beside a run's predictions.

    Parameters
    ----------
    folder : Path
    manifest : Manifest
    parts : mapping of str to sequence of Case
        Train, validation and test; or test alone.
    targets : sequence of Target
    loaded : CaseSet, optional
        What reading the manifest gave; without it nothing is known of refusals.
    """
    facts = cohort_facts(manifest, parts, loaded=loaded)
    write_whole(folder / FACTS, (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode())
    cohort_table(parts, targets).to_parquet(folder / TABLE, index=False)


def cohort_table(parts: Parts, targets: Sequence[Target]) -> pd.DataFrame:
    """Return a row a case: its pseudonyms, its part, what it has, its labels, and free columns for subgroups.

    Parameters
    ----------
    parts : mapping of str to sequence of Case
    targets : sequence of Target

    Returns
    -------
    DataFrame of str and bool
        Of the free columns those of numbers, and those of at most ``MOST_VALUES`` words. A column of dates, one of
        whole numbers that are all different, and one of longer text could name a patient: they are left out.
    """
    cases = [(part, case) for part, members in parts.items() for case in members]
    table = pd.DataFrame(
        [
            {
                "case_id": str(case.id),
                "patient_key": case.patient_key,
                "part": part,
                "fold": case.row.get("fold", ""),
                "has_image": case.has_image,
                "has_text": case.text is not None,
            }
            for part, case in cases
        ],
        columns=list(_FIXED),
    )
    for target in targets:
        known = [case.targets.get(target.name) for _, case in cases]
        table[LABEL + target.name] = ["" if index is None else target.classes[index] for index in known]
    for column in dict.fromkeys(name for _, case in cases for name in case.row):
        values = [case.row.get(column, "").strip() for _, case in cases]
        if column not in table and _may_be_kept(column, values):
            table[column] = values
    return table


def _may_be_kept(column: str, values: Sequence[str]) -> bool:
    if is_label(column) or column.startswith(_PLACES) or _DATES.search(column):
        return False
    filled = [value for value in values if value]
    try:
        numbers = [float(value) for value in filled]
    except ValueError:
        return len(set(filled)) <= MOST_VALUES and max(map(len, filled), default=0) <= LONGEST_VALUE
    is_id = len(set(filled)) == len(filled) > MOST_VALUES and all(number.is_integer() for number in numbers)
    return bool(filled) and not is_id


def cohort_facts(manifest: Manifest, parts: Parts, *, loaded: CaseSet | None = None) -> dict[str, Any]:
    """Return how many cases came in, how many were refused and why, and what the parts share.

    Parameters
    ----------
    manifest : Manifest
    parts : mapping of str to sequence of Case
    loaded : CaseSet, optional

    Returns
    -------
    dict
        ``manifest`` and each of ``parts``: ``cases``, ``studies``, ``patients``, and of a part how many of its cases
        are ``unlabelled``; ``refused``: a count a reason, and ``unlabelled`` cases of all, both None where unknown;
        ``shared``: by pair of parts, patients of both, and images and texts of the second that are in the first too.
    """
    frame = manifest.frame
    dates = [value[:4] for value in frame.get("study_date", pd.Series(dtype=str)) if value]
    rows = {"cases": len(frame), "studies": frame["study_uid"].nunique(), "patients": frame["patient_id"].nunique()}
    return {
        "manifest": rows,
        "years": [min(dates), max(dates)] if dates else None,
        "refused": None if loaded is None else _reasons(loaded),
        "unlabelled": None if loaded is None else loaded.n_unlabelled,
        "parts": {name: _counts(members) for name, members in parts.items()},
        "shared": _shared(parts),
    }


def _counts(cases: Sequence[Case]) -> dict[str, int]:
    return {
        "cases": len(cases),
        "studies": len({case.id.study_key for case in cases}),
        "patients": len({case.patient_id for case in cases}),
        "unlabelled": sum(not case.targets for case in cases),
    }


def _reasons(loaded: CaseSet) -> list[dict[str, Any]]:
    """Count refused cases by reason: what was found, without the place."""
    by_reason = Counter(_found(reason) for _, lesion_id, reason in loaded.refused if lesion_id)
    whole = Counter(_found(reason) for _, lesion_id, reason in loaded.refused if not lesion_id)
    return [
        {"reason": reason, "cases": by_reason[reason], "studies": whole[reason]} for reason in {**by_reason, **whole}
    ]


def _found(reason: str) -> str:
    """Cut an error's text down to what was found.

    Examples
    --------
    >>> _found("study Sab: found two slices at one place; expected one")
    'found two slices at one place'
    """
    found = reason.partition("; expected ")[0]
    return found.partition(": ")[2] or found


def _shared(parts: Parts) -> dict[str, dict[str, int]]:
    names = list(parts)
    pairs = [(first, second) for i, first in enumerate(names) for second in names[i + 1 :]]
    images = {name: [_content(case) for case in parts[name]] for name in names}
    texts = {name: [_wording(case) for case in parts[name]] for name in names}
    return {
        f"{first} {second}": {
            "patients": len({c.patient_id for c in parts[first]} & {c.patient_id for c in parts[second]}),
            "images": _repeated(images[first], images[second]),
            "texts": _repeated(texts[first], texts[second]),
        }
        for first, second in pairs
    }


def _repeated(first: Iterable[Hashable], second: Iterable[Hashable]) -> int:
    known = set(first) - {None}
    return sum(content in known for content in second)


def _content(case: Case) -> Hashable:
    """Tell a prepared image from all others; the store keeps equal ones once, so that there its place will do."""
    if case.prepared is None or case.prepared.box is None:
        return None
    box = case.prepared.box
    return (box.pack, box.offset) if isinstance(box, StoredBox) else hashlib.sha256(box.tobytes()).digest()


def _wording(case: Case) -> Hashable:
    return None if case.text is None else hashlib.sha256(" ".join(case.text.text.split()).casefold().encode()).digest()
