"""Predictions in the long format of the contract: read, checked, and turned to one row a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.errors import LabelError, ManifestError, nearest_name
from medfuse.evaluation.labels import as_texts, is_positive

__all__ = [
    "COLUMNS",
    "REQUIRED",
    "CaseTable",
    "case_table",
    "check_predictions",
    "left_out_notes",
    "read_free_columns",
    "read_predictions",
    "read_table",
]

REQUIRED = ("case_id", "probability", "label")
COLUMNS = ("case_id", "patient_key", "split", "fold", "condition", "target", "class", "probability", "label")
_TEXT = ("case_id", "patient_key", "split", "fold", "condition", "target", "class")
_WHY = {
    "no_label": "without a label",
    "not_under_every_condition": "not predicted under every condition",
    "unknown_to_baseline": "unknown to a baseline",
}
_KEY = ["condition", "target", "class", "split", "fold", "case_id"]


@dataclass(frozen=True, slots=True, eq=False)
class CaseTable:
    """One binary target: a row a case, a column a condition.

    Parameters
    ----------
    target : str
    positive : str
        Name of the positive class, empty if the predictions name none.
    labels : ndarray of bool, shape (n,)
    patients, folds : ndarray of str, shape (n,)
        Empty strings where unknown.
    probabilities : DataFrame, shape (n, conditions)
        Of the positive class, indexed by case_id.
    notes : tuple of str
        What was left out, and how many.
    left_out : mapping of str to int
        The same as numbers: ``no_label``, ``not_under_every_condition``, ``unknown_to_baseline``.
    is_second : bool
        Whether the positive class is merely the second one given.
    """

    target: str
    positive: str
    labels: NDArray[np.bool_]
    patients: NDArray[np.str_]
    folds: NDArray[np.str_]
    probabilities: pd.DataFrame
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    is_second: bool = False

    def keep(self, chosen: NDArray[np.bool_], *, why: str) -> CaseTable:
        """Return some of the cases, the others counted as left out.

        Parameters
        ----------
        chosen : ndarray of bool, shape (n,)
        why : str
            A key of ``left_out``.
        """
        n_dropped = int((~chosen).sum())
        return replace(
            self,
            labels=self.labels[chosen],
            patients=self.patients[chosen],
            folds=self.folds[chosen],
            probabilities=self.probabilities[chosen],
            notes=(*self.notes, *left_out_notes({why: n_dropped})),
            left_out={**self.left_out, why: n_dropped} if n_dropped else self.left_out,
        )


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read predictions of any model from CSV or Parquet.

    Parameters
    ----------
    path : str or Path
        A ``.csv`` or ``.parquet`` file with at least case_id, probability and label.

    Returns
    -------
    DataFrame
        With all columns of ``COLUMNS``; see `check_predictions`.

    Raises
    ------
    ManifestError
        If the file cannot be read, or a column or row is wrong. Rows are counted as a spreadsheet shows
        them: the header is row 1.
    """
    return check_predictions(read_table(Path(path)), where=Path(path).name)


def read_free_columns(path: str | Path) -> pd.DataFrame:
    """Read what else a table of predictions tells of its cases, such as site or age.

    Parameters
    ----------
    path : str or Path
        As of `read_predictions`.

    Returns
    -------
    DataFrame
        Indexed by case_id, with the columns that are none of ``COLUMNS``, of each case's first row.

    Raises
    ------
    ManifestError
        If the file cannot be read, or has no column case_id.
    """
    table = read_table(Path(path))
    if "case_id" not in table.columns:
        raise ManifestError(Path(path).name, "found no column 'case_id'", expected=", ".join(REQUIRED))
    table = table.assign(case_id=as_texts(table["case_id"])).drop_duplicates("case_id").set_index("case_id")
    return table[[name for name in table.columns if name not in COLUMNS]]


def check_predictions(table: pd.DataFrame, *, where: str = "predictions") -> pd.DataFrame:
    """Return predictions with every column of the long format, checked row by row.

    Parameters
    ----------
    table : DataFrame
        At least case_id, probability and label. An absent condition is ``"model"``, an absent patient_key is
        the case itself, other absent columns are empty.
    where : str
        Name used in messages.

    Returns
    -------
    DataFrame
        A copy with the columns of ``COLUMNS``; probability float64; label a string, missing where unknown.

    Raises
    ------
    ManifestError
        Naming the column and the first rows at fault, never a value.

    Examples
    --------
    >>> t = pd.DataFrame({"case_id": ["a", "b"], "probability": [0.2, 1.7], "label": [0, 1]})
    >>> check_predictions(t, where="p")
    Traceback (most recent call last):
    ...
    medfuse.errors.ManifestError: p row 3, probability: found a value outside [0, 1]; expected a probability
    """
    for name in REQUIRED:
        if name not in table.columns:
            found = f"found no column {name!r}"
            raise ManifestError(
                where,
                found,
                expected=f"{', '.join(REQUIRED)}; found {nearest_name(name, map(str, table.columns))}",
            )
    if table.empty:
        raise ManifestError(where, "found no row", expected="a row a case")
    filled = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for name in COLUMNS:
        filled[name] = table[name].to_numpy() if name in table.columns else ""
    for name in _TEXT:
        filled[name] = as_texts(filled[name]) if name in table.columns else ""
    number = pd.to_numeric(filled["probability"], errors="coerce").to_numpy(dtype=np.float64)
    _refuse_rows(where, "case_id", filled["case_id"].to_numpy() == "", "an empty value", "an id")
    _refuse_rows(where, "probability", ~np.isfinite(number), "no finite number", "a probability")
    _refuse_rows(where, "probability", (number < 0) | (number > 1), "a value outside [0, 1]", "a probability")
    filled["probability"] = number
    labels = as_texts(filled["label"])
    filled["label"] = labels.where(labels != "", None)
    filled["condition"] = filled["condition"].replace("", "model")
    filled["patient_key"] = filled["patient_key"].where(filled["patient_key"] != "", filled["case_id"])
    telling = [name for name in _KEY if name == "case_id" or (filled[name] != filled[name].iloc[0]).any()]
    repeated = filled.duplicated(telling).to_numpy()
    _refuse_rows(where, "case_id", repeated, "a second row of one case, condition, target and class", "one row each")
    return filled


def case_table(table: pd.DataFrame, *, target: str | None = None, positive: str | None = None) -> CaseTable:
    """Return one binary target with the same cases under every condition.

    Parameters
    ----------
    table : DataFrame
        As `check_predictions` returns it, of one split.
    target : str, optional
        Needed where there are several.
    positive : str, optional
        Name of the positive class. Of two classes it is by default the second one given, as in ``Target``, and
        a note says so.

    Returns
    -------
    CaseTable

    Raises
    ------
    ManifestError
        If target or class cannot be told, or a case has two labels or two patients.
    LabelError
        If no case with a label is left.
    """
    target = _one_of(table["target"].unique().tolist(), target, "target")
    rows = table[table["target"] == target]
    classes = rows["class"].unique().tolist()
    if positive is None and len(classes) > 2:
        found = f"found {len(classes)} classes of one target"
        raise ManifestError(
            "predictions class", found, expected="a binary target, or one class to set against all others"
        )
    by_order = positive is None and len(classes) == 2
    positive = _one_of(classes, classes[1] if by_order else positive, "class")
    own = (rows["class"] == positive).to_numpy()
    rows = rows.assign(positive=is_positive(rows, positive))[own]
    known = rows[rows["label"].notna()]
    case, ids = pd.factorize(known["case_id"], sort=True)
    condition, conditions = pd.factorize(known["condition"], sort=True)
    left_out = {"no_label": rows["case_id"].nunique() - len(ids)}
    first = np.empty(len(ids), dtype=np.intp)
    first[case[::-1]] = np.arange(len(case))[::-1]
    for column in ("label", "patient_key"):
        values = pd.factorize(known[column])[0]
        if (values != values[first][case]).any():
            raise ManifestError("predictions", f"found cases with two values of {column}", expected="one a case")
    place = case * len(conditions) + condition
    if np.bincount(place, minlength=1).max() > 1:
        raise ManifestError("predictions", "found a case in two folds or splits", expected="one prediction a condition")
    wide = np.full((len(ids), len(conditions)), np.nan)
    wide.flat[place] = known["probability"].to_numpy()
    complete = ~np.isnan(wide).any(axis=1)
    left_out["not_under_every_condition"] = int((~complete).sum())
    if not complete.any():
        raise LabelError(
            "predictions",
            "found no labelled case under every condition",
            expected="at least one of each class",
        )
    facts = known.iloc[first[complete]]
    probabilities = pd.DataFrame(
        wide[complete],
        index=pd.Index(ids[complete], name="case_id"),
        columns=pd.Index(conditions, name="condition"),
    )
    second: tuple[str, ...] = (f"The positive class is “{positive}”, the second one given.",) if by_order else ()
    return CaseTable(
        target,
        positive,
        facts["positive"].to_numpy(dtype=bool),
        facts["patient_key"].to_numpy(dtype=str),
        facts["fold"].to_numpy(dtype=str),
        probabilities,
        (*second, *left_out_notes(left_out)),
        {why: n for why, n in left_out.items() if n},
        by_order,
    )


def left_out_notes(left_out: Mapping[str, int]) -> tuple[str, ...]:
    """Say how many cases were left out, and why.

    Examples
    --------
    >>> left_out_notes({"no_label": 2, "unknown_to_baseline": 0})
    ('2 cases left out: without a label.',)
    """
    return tuple(f"{n} case{'s' if n > 1 else ''} left out: {_WHY[why]}." for why, n in left_out.items() if n)


def _one_of(names: list[str], chosen: str | None, column: str) -> str:
    if chosen is None and len(names) == 1:
        return names[0]
    if chosen is None or chosen not in names:
        found = "found several and none chosen" if chosen is None else f"found no {chosen!r}"
        raise ManifestError(f"predictions {column}", found, expected=nearest_name(chosen or "", names))
    return chosen


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file."""
    if path.suffix not in (".csv", ".parquet"):
        raise ManifestError(path.name, f"found a file ending {path.suffix!r}", expected=".csv or .parquet")
    if not path.is_file():
        raise ManifestError(path.name, "found no such file", expected="a CSV or Parquet file")
    try:
        table = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parser errors are ValueErrors
        raise ManifestError(
            path.name, f"found no readable table ({type(error).__name__})", expected="a table"
        ) from error
    return table


def _refuse_rows(where: str, column: str, wrong: NDArray[np.bool_], found: str, expected: str) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        more = f" (and {rows.size - 1} more rows)" if rows.size > 1 else ""
        raise ManifestError(f"{where} row {rows[0] + 2}, {column}", f"found {found}{more}", expected=expected)
