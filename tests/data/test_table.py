from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from medfuse.config import TableConfig
from medfuse.data.table import TableColumns, fit_table
from medfuse.errors import ConfigError, DataError

ROWS = [
    {"age": "40", "sex": "F", "site": "north", "label_x": "1"},
    {"age": "", "sex": "M", "site": "south", "label_x": "0"},
    {"age": "80", "sex": "", "site": "south", "label_x": ""},
]
CONFIG = TableConfig(numeric=("age",), categorical=("sex", "site"))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_numbers_are_standardised_as_scikit_learn_does(numbers: list[float]) -> None:
    rows = [{"age": repr(number)} for number in numbers]
    columns = fit_table(TableConfig(numeric=("age",)), rows)
    expected = StandardScaler().fit_transform(np.array(numbers)[:, None])[:, 0]
    if np.ptp(numbers) > 1e-3:
        found = [columns.encode(row) for row in rows]
        np.testing.assert_allclose([row[0] for row in found if row is not None], expected, rtol=1e-3, atol=1e-4)


def test_missing_values_count_for_neither_mean_nor_categories() -> None:
    columns = fit_table(CONFIG, ROWS)
    assert (columns.numeric[0].mean, columns.numeric[0].deviation) == (60.0, 20.0)
    assert [one.categories for one in columns.categorical] == [("F", "M"), ("north", "south")]
    assert columns.shape == (1, (3, 3))
    encoded = [columns.encode(row) for row in ROWS]
    assert [row.tolist() for row in encoded if row is not None] == [[-1, 1, 1, 1], [0, 0, 2, 2], [1, 1, 0, 2]]


def test_a_category_that_training_never_saw_is_unknown_and_a_blank_row_is_no_table() -> None:
    columns = fit_table(CONFIG, ROWS)
    found = columns.encode({"age": "60", "sex": "M", "site": "west"})
    assert found is not None
    assert found.tolist() == [0, 1, 2, 0]
    assert columns.encode({"age": " ", "sex": ""}) is None
    assert columns.encode({}) is None


def test_a_constant_column_is_finite() -> None:
    columns = fit_table(TableConfig(numeric=("age",)), [{"age": "5"}, {"age": "5"}])
    found = columns.encode({"age": "5"})
    assert found is not None
    assert found.tolist() == [0.0, 1.0]


def test_what_was_learnt_survives_json() -> None:
    columns = fit_table(CONFIG, ROWS)
    assert TableColumns.model_validate(columns.model_dump(mode="json")) == columns


@pytest.mark.parametrize(
    ("numeric", "message"),
    [
        ("agee", "manifest.csv has no free column 'agee'; .*did you mean 'age'"),
        ("label_x", "found the label 'label_x'; expected what is known before the answer"),
    ],
)
def test_a_column_that_is_not_there_or_is_the_label_is_refused(numeric: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit_table(TableConfig(numeric=(numeric,)), ROWS)


def test_an_empty_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="found no training case with a value of 'age'"):
        fit_table(TableConfig(numeric=("age",)), [{"age": ""}])


@pytest.mark.parametrize("text", ["old", "nan", "inf"])
def test_a_number_that_is_none_is_refused_without_its_value(text: str) -> None:
    with pytest.raises(DataError, match=r"column 'age': found a value that is no number; expected a finite"):
        fit_table(TableConfig(numeric=("age",)), [{"age": text}, {"age": "3"}])
