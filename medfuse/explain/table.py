"""What the answer owes to each column of the clinical table."""

from __future__ import annotations

from medfuse.explain.case_logit import CaseLogit

__all__ = ["column_scores"]


def column_scores(case: CaseLogit) -> dict[str, float]:
    """Return by how much the log-odds fall when each known column of the table is marked unknown.

    Parameters
    ----------
    case : CaseLogit

    Returns
    -------
    dict of str to float
        By column; empty if the case has no table. A column that is unknown already is left out.
    """
    columns = case.bundle.preprocessing.table
    if "table" not in case.modalities or columns is None:
        return {}
    known = case.batch.table[0]
    n = len(columns.numeric)
    places = {one.column: [i, n + i] for i, one in enumerate(columns.numeric)}  # a number, and that it is known
    places |= {one.column: [2 * n + i] for i, one in enumerate(columns.categorical)}
    inputs = case.inputs()
    full = float(case.at(*inputs)[0])
    scores = {}
    for column, where in places.items():
        if known[where[-1]]:
            without = case.batch.table.clone()
            without[0, where] = 0.0
            scores[column] = full - float(case.with_table(without).at(*inputs)[0])
    return scores
