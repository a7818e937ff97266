import csv

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.reporting.csv_files import safe_cell, write_csv


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\r=1", "  =1", "\n=1"])
def test_no_cell_of_text_is_a_formula(cell):
    assert safe_cell(cell) == "'" + cell


@given(st.text() | st.floats(allow_nan=False) | st.integers())
def test_what_is_no_formula_stays_as_it_is(cell):
    safe = safe_cell(cell)
    assert safe in (cell, f"'{cell}")
    if isinstance(safe, str) and safe.lstrip(" ").startswith(("=", "+", "-", "@")):
        float(safe)  # a number is no formula


def test_names_and_cells_of_a_table_are_safe_and_numbers_stay(tmp_path):
    table = pd.DataFrame({"=name": ["@a", "b"], "probability": [-0.25, 1e-7], "label": ["-1", None]})
    path = write_csv(tmp_path / "new" / "t.csv", table)
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert rows == [["'=name", "probability", "label"], ["'@a", "-0.25", "-1"], ["b", "1e-07", ""]]
