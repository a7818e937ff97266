"""Who was studied: the flow of every case, and what the cases of each part were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medfuse.reporting.words import number

if TYPE_CHECKING:
    from medfuse.reporting.catalogue import Catalogue

__all__ = ["PARTS", "Box", "CohortRow", "cohort_rows", "flow_boxes", "parts_of"]

PARTS = ("train", "validation", "test")
LABEL = "label_"
FIXED = ("case_id", "patient_key", "part", "fold", "has_image", "has_text")
MOST_COLUMNS, MOST_REASONS, MOST_LEVELS = 12, 8, 6


@dataclass(frozen=True, slots=True)
class Box:
    """One box of the flow: how many are there, and beside it who left, and why.

    Parameters
    ----------
    title, counts : str
    left : tuple of str
        Who left after this box, a line a reason.
    parts : tuple of (str, str)
        Boxes that it splits into.
    """

    title: str
    counts: str
    left: tuple[str, ...] = ()
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CohortRow:
    """One row of the cohort table; ``is_level`` marks a value of the column named above it."""

    name: str
    cells: tuple[str, ...]
    is_level: bool = False


def flow_boxes(
    facts: Mapping[str, Any] | None, *, evaluated: Mapping[str, int] | None, left_out: Mapping[str, int], say: Catalogue
) -> list[Box]:
    """Return the flow of cases from the manifest to the figures.

    Parameters
    ----------
    facts : mapping, optional
        A run's cohort.json; without it the flow begins with the predictions.
    evaluated : mapping of str to int, optional
        ``cases``, ``patients``, ``positive``, ``negative``; None where each target has its own.
    left_out : mapping of str to int
        Test cases that the figures do not hold, by reason.
    say : Catalogue

    Returns
    -------
    list of Box
    """
    boxes = [] if facts is None else _came_in(facts, say)
    gone = tuple(say("flow.left", n=n, reason=say.of("flow.left_out", why, why)) for why, n in left_out.items() if n)
    if evaluated is None:
        return boxes or [Box(say("flow.predicted"), say("flow.no_record"))]
    if boxes:
        boxes[-1] = Box(boxes[-1].title, boxes[-1].counts, gone, boxes[-1].parts)
    else:
        n = evaluated["cases"] + sum(left_out.values())
        boxes = [Box(say("flow.predicted"), say("flow.cases", n=n), gone)]
    classes = ("positive", "negative")
    counts = say("flow.cases_patients", cases=evaluated["cases"], patients=evaluated["patients"])
    by_class = tuple((say(f"flow.{name}"), say("flow.cases", n=evaluated[name])) for name in classes)
    return [*boxes, Box(say("flow.evaluated"), counts, (), by_class)]


def _came_in(facts: Mapping[str, Any], say: Catalogue) -> list[Box]:
    rows, parts = facts["manifest"], facts["parts"]
    lost: list[str] = []
    if facts["refused"] is None:
        lost.append(say("flow.refused_unknown"))
    else:
        shown = facts["refused"][:MOST_REASONS]
        lost += [say("flow.refused", n=_lost(one, say), reason=one["reason"]) for one in shown]
        if more := len(facts["refused"]) - len(shown):
            lost.append(say("flow.more_reasons", n=more))
        if unlabelled := facts["unlabelled"] - sum(part["unlabelled"] for part in parts.values()):
            lost.append(say("flow.unlabelled", n=unlabelled))
        if not lost:
            lost.append(say("flow.none_refused"))
    start = say("flow.all", cases=rows["cases"], studies=rows["studies"], patients=rows["patients"])
    used = sum(part["cases"] for part in parts.values())
    patients = sum(part["patients"] for part in parts.values())
    members = tuple((say.of("part", name, name), _part(part, say)) for name, part in parts.items())
    usable = say("flow.cases_patients", cases=used, patients=patients)
    return [
        Box(say("flow.manifest"), start, tuple(lost)),
        Box(say("flow.usable"), usable, (), members if len(members) > 1 else ()),
    ]


def _part(part: Mapping[str, int], say: Catalogue) -> str:
    counts = say("flow.cases_patients", cases=part["cases"], patients=part["patients"])
    return f"{counts}{say('flow.of_these', n=part['unlabelled'])}" if part["unlabelled"] else counts


def _lost(refused: Mapping[str, Any], say: Catalogue) -> str:
    """Say how many a reason refused: lesions, whole studies, or both."""
    keys = [key for key in ("cases", "studies") if refused[key]]
    return " + ".join(say(f"flow.n_{key}", n=refused[key]) for key in keys)


def parts_of(table: pd.DataFrame) -> list[str]:
    """Return the parts that a cohort table has, in the order of their use.

    Parameters
    ----------
    table : DataFrame
        With a column ``part``.
    """
    found = set(table["part"])
    return [part for part in PARTS if part in found]


def cohort_rows(table: pd.DataFrame, say: Catalogue) -> list[CohortRow]:
    """Describe the cases of each part, and what is missing of them.

    Parameters
    ----------
    table : DataFrame
        A run's cohort.parquet.
    say : Catalogue

    Returns
    -------
    list of CohortRow
        A cell a part. Of a column of numbers the median and quartiles, else each value's count and share.
    """
    groups = [table[table["part"] == part] for part in parts_of(table)]
    rows = [
        CohortRow(say("cohort.patients"), tuple(str(group["patient_key"].nunique()) for group in groups)),
        CohortRow(say("cohort.cases"), tuple(str(len(group)) for group in groups)),
    ]
    for modality in ("image", "text"):
        missing = tuple(_share(int((~group[f"has_{modality}"]).sum()), len(group)) for group in groups)
        rows.append(CohortRow(say(f"cohort.without_{modality}"), missing))
    free = [name for name in table.columns if name not in FIXED]
    labels = [name for name in free if name.startswith(LABEL)]
    others = [name for name in free if name not in labels]
    for name in labels:
        rows += _levels(say("cohort.label", name=name.removeprefix(LABEL)), name, table, groups, say)
    same = [name for name in others if table[name].nunique() < 2]
    varied = [name for name in others if name not in same]
    for name in varied[:MOST_COLUMNS]:
        rows += _described(name, table, groups, say)
    if len(varied) > MOST_COLUMNS:
        rows.append(CohortRow(say("cohort.more_columns", n=len(varied) - MOST_COLUMNS), ("",) * len(groups)))
    if same:
        rows.append(CohortRow(say("cohort.constant", names=", ".join(same)), ("",) * len(groups)))
    return rows


def _described(name: str, table: pd.DataFrame, groups: Sequence[pd.DataFrame], say: Catalogue) -> list[CohortRow]:
    numbers = pd.to_numeric(table[name].replace("", np.nan), errors="coerce")
    is_number = bool((numbers.notna() | (table[name] == "")).all()) and numbers.nunique() > MOST_LEVELS
    if not is_number:
        return _levels(name, name, table, groups, say)
    cells = []
    for group in groups:
        own = numbers.loc[group.index].dropna()
        low, middle, high = np.percentile(own, (25, 50, 75)) if len(own) else (np.nan,) * 3
        cells.append(say("cohort.quartiles", median=_plain(middle), low=_plain(low), high=_plain(high)))
    rows = [CohortRow(say("cohort.median", name=name), tuple(cells))]
    return rows + _missing([int(numbers.loc[group.index].isna().sum()) for group in groups], groups, say)


def _levels(
    title: str, name: str, table: pd.DataFrame, groups: Sequence[pd.DataFrame], say: Catalogue
) -> list[CohortRow]:
    known = sorted(value for value in table[name].unique() if value != "")
    rows = [CohortRow(title, ("",) * len(groups))]
    for value in known:
        cells = (_share(int((group[name] == value).sum()), int((group[name] != "").sum())) for group in groups)
        rows.append(CohortRow(str(value), tuple(cells), is_level=True))
    return rows + _missing([int((group[name] == "").sum()) for group in groups], groups, say)


def _missing(counts: Sequence[int], groups: Sequence[pd.DataFrame], say: Catalogue) -> list[CohortRow]:
    if not any(counts):
        return []
    cells = tuple(_share(n, len(group)) for n, group in zip(counts, groups, strict=True))
    return [CohortRow(say("cohort.missing"), cells, is_level=True)]


def _share(n: int, total: int) -> str:
    return f"{n} ({100 * n / total:.0f}%)" if total else f"{n}"


def _plain(value: float) -> str:
    if np.isnan(value):
        return "–"
    return number(float(value), 0 if abs(value) >= 100 or float(value).is_integer() else 1)
