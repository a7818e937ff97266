"""Columns of the manifest -> numbers that a model reads: standardised, missing ones marked, categories counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from medfuse.config import TableConfig
from medfuse.errors import ConfigError, DataError, nearest_name
from medfuse.tensors import TableShape

__all__ = ["CategoryColumn", "NumberColumn", "TableColumns", "fit_table", "is_label"]

Row = Mapping[str, str]
LABEL, ONLY_LABEL = "label_", "label"
"""What names of label columns start with, and the name that does where there is one target."""
_STRICT = ConfigDict(extra="forbid", frozen=True)


def is_label(column: str) -> bool:
    """Tell whether a column of a manifest holds labels.

    Examples
    --------
    >>> [is_label(name) for name in ("label_malignancy", "label", "labelled_by")]
    [True, True, False]
    """
    return column == ONLY_LABEL or column.startswith(LABEL)


class NumberColumn(BaseModel):
    """A column of numbers, with their mean and standard deviation among the training cases.

    Parameters
    ----------
    column : str
    mean, deviation : float
    """

    model_config = _STRICT

    column: str
    mean: Annotated[float, Field(allow_inf_nan=False)]
    deviation: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CategoryColumn(BaseModel):
    """A column of categories, with those of the training cases.

    Parameters
    ----------
    column : str
    categories : tuple of str
        Category k is number k + 1; 0 stands for a missing one, and for any that training never saw.
    """

    model_config = _STRICT

    column: str
    categories: tuple[str, ...]


class TableColumns(BaseModel):
    """The columns that a model reads, as the training cases had them; saved with the model.

    Parameters
    ----------
    numeric : tuple of NumberColumn
    categorical : tuple of CategoryColumn
    """

    model_config = _STRICT

    numeric: tuple[NumberColumn, ...] = ()
    categorical: tuple[CategoryColumn, ...] = ()

    @property
    def shape(self) -> TableShape:
        """How many numbers, and how many categories of each column, the unknown one among them."""
        return TableShape(len(self.numeric), tuple(1 + len(one.categories) for one in self.categorical))

    def encode(self, row: Row) -> Tensor | None:
        """Turn a row into what the model reads.

        Parameters
        ----------
        row : mapping of str to str
            By column; a blank is missing, and so is a column that is not there.

        Returns
        -------
        Tensor, shape (2 * numbers + categories,), float32, or None
            Standardised numbers, 0 where missing; 1 where known; numbers of the categories. None if nothing is known.

        Raises
        ------
        DataError
            If a number is none.

        Examples
        --------
        >>> age = NumberColumn(column="age", mean=60, deviation=10)
        >>> columns = TableColumns(numeric=(age,), categorical=(CategoryColumn(column="sex", categories=("F", "M")),))
        >>> columns.encode({"age": "75", "sex": "M"}).tolist(), columns.encode({"age": "", "sex": "F"}).tolist()
        ([1.5, 1.0, 2.0], [0.0, 0.0, 1.0])
        >>> columns.encode({"age": ""}) is None
        True
        """
        texts = [row.get(one.column, "").strip() for one in self.categorical]
        numbers = [_number(row, one.column) for one in self.numeric]
        if not any(texts) and all(map(math.isnan, numbers)):
            return None
        known = [float(not math.isnan(number)) for number in numbers]
        standard = [
            (number - one.mean) / one.deviation if is_known else 0.0
            for number, one, is_known in zip(numbers, self.numeric, known, strict=True)
        ]
        codes = [
            one.categories.index(text) + 1.0 if text in one.categories else 0.0
            for one, text in zip(self.categorical, texts, strict=True)
        ]
        return torch.tensor([*standard, *known, *codes], dtype=torch.float32)


def fit_table(config: TableConfig, rows: Sequence[Row]) -> TableColumns:
    """Learn means, deviations and categories from the training cases.

    Parameters
    ----------
    config : TableConfig
    rows : sequence of mapping of str to str
        Of the training cases, by column.

    Returns
    -------
    TableColumns

    Raises
    ------
    ConfigError
        If a column is not there, or holds nothing.
    DataError
        If a number is none.
    """
    free = sorted({column for row in rows for column in row if not is_label(column)})
    for column in (*config.numeric, *config.categorical):
        if is_label(column):
            raise ConfigError("data.table", f"found the label {column!r}", expected="what is known before the answer")
        if column not in free:
            found = f"manifest.csv has no free column {column!r}"
            raise ConfigError("data.table", found, expected=nearest_name(column, free))
        if not any(row.get(column, "").strip() for row in rows):
            found = f"found no training case with a value of {column!r}"
            raise ConfigError("data.table", found, expected="at least one")
    numeric = []
    for column in config.numeric:
        numbers = np.array([_number(row, column) for row in rows])
        deviation = float(np.nanstd(numbers))
        numeric.append(NumberColumn(column=column, mean=float(np.nanmean(numbers)), deviation=deviation or 1.0))
    categorical = [
        CategoryColumn(column=column, categories=tuple(sorted({row.get(column, "").strip() for row in rows} - {""})))
        for column in config.categorical
    ]
    return TableColumns(numeric=tuple(numeric), categorical=tuple(categorical))


def _number(row: Row, column: str) -> float:
    text = row.get(column, "").strip()
    if not text:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise DataError(f"column {column!r}", "found a value that is no number", expected="a finite number, or a blank")
    return number
