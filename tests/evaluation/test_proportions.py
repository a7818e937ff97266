import numpy as np
import pytest

from medfuse.evaluation.proportions import effective_n


@pytest.mark.parametrize(
    ("hits", "patients", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 1, 1], 2.0),
        ([1, 1, 1, 1], [0, 0, 1, 1], 2.0),
        ([1, 0, 1], [0, 0, 0], 1.0),
        ([1, 0, 1, 0], [0, 1, 2, 3], 4.0),
        ([1, 0, 1, 0], [0, 0, 1, 1], 4.0),
    ],
    ids=["none", "all", "one patient", "no repeats", "patients alike"],
)
def test_a_share_weighs_as_many_cases_as_patients_who_differ(hits, patients, expected):
    assert effective_n(np.array(hits, dtype=float), np.array(patients)) == expected
