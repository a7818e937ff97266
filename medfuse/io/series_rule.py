"""Which of a study's series is the model's image: one, chosen by the model's own rule, or a refusal by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from medfuse.config import SeriesRule
from medfuse.errors import AmbiguousVolumeError, VolumeError

__all__ = ["choose_series", "choose_time_point"]

Row = Mapping[str, object]
T = TypeVar("T")

PLAIN = re.compile(r"[A-Za-z0-9_.+/ -]{1,16}")
"""What a shown value looks like: header text that is none of a short word is not shown."""


def choose_series(rows: Sequence[Row], rule: SeriesRule) -> str:
    """Choose one of a study's series.

    Parameters
    ----------
    rows : sequence of mapping
        One a series: ``series_uid``, ``is_volume``, and, as far as they are known, ``modality``, ``kernel``,
        ``slice_thickness_mm`` (else ``slice_step_mm``), ``n_slices`` (else ``n_files``), ``transfer_syntax`` and
        ``reason``. NIfTI says nothing of what a rule asks for, and fits any.
    rule : SeriesRule

    Returns
    -------
    str
        Its ``series_uid``.

    Raises
    ------
    VolumeError
        If none fits.
    AmbiguousVolumeError
        If several fit and the rule prefers none of them, or they tie. Both list what is there, by kind.

    Examples
    --------
    >>> thin = {"series_uid": "2.25.1", "is_volume": True, "modality": "CT", "slice_thickness_mm": 1.0}
    >>> thick = {"series_uid": "2.25.2", "is_volume": True, "modality": "CT", "slice_thickness_mm": 5.0}
    >>> choose_series([thin, thick], SeriesRule(modality="CT", prefer="thinnest"))
    '2.25.1'
    """
    volumes = [row for row in rows if row["is_volume"]]
    if not volumes:
        reasons = "; ".join(sorted({_text(row, "reason") or "found no volume" for row in rows}))
        raise VolumeError("study", reasons or "found no series", expected="a series that is a volume")
    fitting = [row for row in volumes if _fits(row, rule)]
    if not fitting:
        raise VolumeError(
            "study", f"found no series that the model's rule allows: {_listed(volumes)}", expected=_asked(rule)
        )
    if len(fitting) > 1 and rule.prefer != "refuse":
        fitting = _preferred(fitting, rule)
    if len(fitting) > 1:
        found = f"found {len(fitting)} series that are volumes, more than one: {_listed(fitting)}"
        raise AmbiguousVolumeError(
            "study", found, expected=f"one by the model's rule ({_asked(rule)}), or a series_uid for each lesion"
        )
    return str(fitting[0]["series_uid"])


def choose_time_point(items: Sequence[T], rule: SeriesRule) -> T:
    """Choose one of a series' time points.

    Parameters
    ----------
    items : sequence
        In the order of time; at least one.
    rule : SeriesRule

    Returns
    -------
    T
        One of them.

    Raises
    ------
    AmbiguousVolumeError
        If there are several and the rule names none.

    Examples
    --------
    >>> choose_time_point(["early", "peak", "late"], SeriesRule(time_point="middle"))
    'peak'
    """
    if len(items) > 1 and rule.time_point == "refuse":
        found = f"found a 4D series of {len(items)} volumes (time points, echoes or phases)"
        raise AmbiguousVolumeError("series", found, expected="one, or a rule (data.series.time_point) that chooses it")
    return items[{"first": 0, "middle": len(items) // 2, "last": -1, "refuse": 0}[rule.time_point]]


def _fits(row: Row, rule: SeriesRule) -> bool:
    if row.get("transfer_syntax") == "NIfTI":  # says nothing of what a rule asks for
        return True
    if rule.modality and _text(row, "modality").upper() != rule.modality.upper():
        return False
    if rule.kernels and _text(row, "kernel").casefold() not in {kernel.casefold() for kernel in rule.kernels}:
        return False
    if rule.thickness_mm is None:
        return True
    low, high = rule.thickness_mm
    return low <= _thickness(row) <= high  # an unknown thickness is NaN, and never within


def _preferred(rows: list[Row], rule: SeriesRule) -> list[Row]:
    """Return the best rows: several if they tie, all if what is compared is unknown."""
    if rule.prefer == "most_slices":
        values = [-_number(row, "n_slices", "n_files") for row in rows]
    else:
        values = [_thickness(row) * (1 if rule.prefer == "thinnest" else -1) for row in rows]
    if any(math.isnan(value) for value in values):
        return rows
    return [row for row, value in zip(rows, values, strict=True) if math.isclose(value, min(values), rel_tol=1e-6)]


def _thickness(row: Row) -> float:
    return _number(row, "slice_thickness_mm", "slice_step_mm")


def _number(row: Row, *columns: str) -> float:
    for column in columns:
        try:
            value = float(str(row.get(column)))
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return math.nan


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""


def _listed(rows: Sequence[Row]) -> str:
    return "; ".join(sorted(_described(row) for row in rows))


def _described(row: Row) -> str:
    modality, kernel = (text if PLAIN.fullmatch(text := _text(row, name)) else "" for name in ("modality", "kernel"))
    thickness, n_slices = _thickness(row), _number(row, "n_slices", "n_files")
    parts = [
        modality or "unknown modality",
        "" if math.isnan(thickness) else f"{thickness:g} mm",
        f"kernel {kernel}" if kernel else "",
        "" if math.isnan(n_slices) else f"{n_slices:.0f} images",
    ]
    return " ".join(part for part in parts if part)


def _asked(rule: SeriesRule) -> str:
    parts = [
        rule.modality or "any modality",
        "" if rule.thickness_mm is None else "{:g} to {:g} mm".format(*rule.thickness_mm),
        f"kernel {' or '.join(rule.kernels)}" if rule.kernels else "",
        f"prefer {rule.prefer.replace('_', ' ')}",
    ]
    return ", ".join(part for part in parts if part)
