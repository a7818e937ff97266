"""What the labels of a table of predictions say: marks of 0 and 1, or names of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.errors import LabelError

__all__ = ["as_texts", "is_positive", "label_values"]


def is_positive(rows: pd.DataFrame, positive: str) -> NDArray[np.bool_]:
    """Return whether each row's case is of its row's class.

    Parameters
    ----------
    rows : DataFrame
        Of one target, as `check_predictions` returns them. A label is 1 where the case is of the row's class, or the
        name of the case's class.
    positive : str
        Class of most interest: the one that two names are told apart by where rows of one class are given.

    Returns
    -------
    ndarray of bool, shape (rows,)
        False where the label is unknown.

    Raises
    ------
    LabelError
        If labels are neither.

    Examples
    --------
    >>> rows = pd.DataFrame({"case_id": ["a", "a"], "class": ["no", "yes"], "label": ["yes", "yes"]})
    >>> is_positive(rows, "yes").tolist()
    [False, True]
    """
    known = rows["label"].notna().to_numpy()
    found = np.zeros(len(rows), dtype=bool)
    if not known.any():
        return found
    labels, classes = rows["label"][known], rows["class"][known]
    names, used = set(classes.unique()), set(labels.unique())
    # Classes called 0 and 1 look like marks; but of one case, marks differ between classes and its name does not.
    is_name = (
        len(names) > 1
        and used <= names
        and (not used <= {"0", "1"} or bool((labels.groupby(rows["case_id"][known]).nunique() == 1).all()))
    )
    if is_name:
        found[known] = (labels == classes).to_numpy()
    else:
        found[known] = label_values(labels.tolist(), positive)
    return found


def label_values(labels: Sequence[str], positive: str) -> NDArray[np.bool_]:
    """Return labels as booleans.

    Parameters
    ----------
    labels : sequence of str
        ``"0"`` and ``"1"``, or class names.
    positive : str
        Name of the positive class.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    LabelError
        If class names are given without the positive one.

    Examples
    --------
    >>> label_values(["benign", "malignant"], "malignant").tolist()
    [False, True]
    """
    if set(labels) <= {"0", "1"}:
        return np.array([label == "1" for label in labels])
    if len(set(labels)) > 2 or (positive and positive not in labels) or not positive:
        found = f"found {len(set(labels))} different labels and positive class {positive!r}"
        raise LabelError("predictions label", found, expected="0 and 1, or two class names with a column class")
    return np.array([label == positive for label in labels])


def as_texts(column: pd.Series) -> pd.Series:
    """Return cells as text, each different one turned once; 1, 1.0, True and "1" are one label.

    Examples
    --------
    >>> as_texts(pd.Series([1, 1.0, True, " 1.0", None, "benign"], dtype=object)).tolist()
    ['1', '1', '1', '1', '', 'benign']
    """
    if column.dtype.kind in "iu":
        return column.astype(str)
    codes, different = pd.factorize(column, use_na_sentinel=False)
    return pd.Series(np.array([_as_text(value) for value in different], dtype=object)[codes], index=column.index)


def _as_text(value: object) -> str:
    """Turn a cell into text; 1, 1.0, True and "1" are one label."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:g}"
    text = str(value).strip()
    return text[:-2] if text in ("0.0", "1.0") else text
