"""Several readers' own readings of the evaluated cases, and how the model compares with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from medfuse.errors import ManifestError, nearest_name
from medfuse.evaluation.labels import as_texts
from medfuse.evaluation.predictions import CaseTable, read_table
from medfuse.evaluation.readers import ReaderAgreement, reader_agreement

__all__ = ["agreement_of", "read_readings"]


def read_readings(path: str | Path) -> pd.DataFrame:
    """Read what several readers said of each case.

    Parameters
    ----------
    path : str or Path
        CSV or Parquet: case_id, and a column a reader with numbers, higher for more likely positive, empty where the
        reader did not read the case.

    Returns
    -------
    DataFrame
        Indexed by case_id, a float64 column a reader.

    Raises
    ------
    ManifestError
        If the file cannot be read, or a case is named twice, or a reading is no number, or there are fewer than two
        readers.
    """
    where, table = Path(path).name, read_table(Path(path))
    if "case_id" not in table.columns:
        expected = f"case_id; found {nearest_name('case_id', map(str, table.columns))}"
        raise ManifestError(where, "found no column 'case_id'", expected=expected)
    ids = as_texts(table["case_id"])
    readers = table.drop(columns="case_id")
    if readers.shape[1] < 2:
        raise ManifestError(where, f"found {readers.shape[1]} columns of readings", expected="two readers or more")
    if ids.duplicated().any():
        row = int(np.flatnonzero(ids.duplicated())[0]) + 2
        raise ManifestError(f"{where} row {row}, case_id", "found a case twice", expected="one row a case")
    numbers = readers.apply(pd.to_numeric, errors="coerce")
    wrong = np.argwhere((numbers.isna() & (readers.apply(as_texts) != "")).to_numpy() | np.isinf(numbers.to_numpy()))
    if wrong.size:
        row, column = wrong[0]
        raise ManifestError(
            f"{where} row {row + 2}, {readers.columns[column]}",
            "found no finite number",
            expected="a reading, or empty",
        )
    return pd.DataFrame(numbers.to_numpy(dtype=np.float64), pd.Index(ids, name="case_id"), readers.columns)


def agreement_of(
    cases: CaseTable, readings: pd.DataFrame, *, condition: str, middle: float, level: float = 0.95
) -> ReaderAgreement:
    """Return how far the readers of the evaluated cases agree, and the model's AUROC against the same labels.

    Parameters
    ----------
    cases : CaseTable
    readings : DataFrame
        As of `read_readings`; cases that were not evaluated are left out.
    condition : str
        Whose probabilities are the model's.
    middle : float
        Between negative and positive readings.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    ReaderAgreement

    Raises
    ------
    ManifestError
        If none of the evaluated cases was read.
    LabelError
        If the readings lack a class.
    """
    ids = cases.probabilities.index
    places = np.flatnonzero(ids.isin(readings.index))
    if not places.size:
        raise ManifestError("readings", "found none of the evaluated cases", expected="case_id as in predictions.csv")
    return reader_agreement(
        readings.loc[ids[places]].to_numpy(),
        middle=middle,
        model=cases.probabilities[condition].to_numpy()[places],
        clusters=cases.patients[places],
        level=level,
    )
