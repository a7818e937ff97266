import numpy as np
import pandas as pd
import pytest

from medfuse.errors import ManifestError, UsageError
from medfuse.evaluation import auroc, delong_test, learning_curve


def tables(sizes=(50, 100, 400), n=200):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    truth = rng.normal(size=n) + labels
    found = {}
    for size in sizes:
        p = 1 / (1 + np.exp(-truth - 10 / np.sqrt(size) * rng.normal(size=n)))
        found[size] = pd.DataFrame(
            {"case_id": range(n), "patient_key": np.arange(n) // 2, "probability": p, "label": labels}
        )
    return found


def test_areas_are_those_of_each_size_and_the_gain_is_paired():
    given = tables()
    found = learning_curve({size: given[size] for size in (400, 50, 100)})
    assert (found.condition, found.sizes) == ("model", (50, 100, 400))
    clusters = given[50].patient_key
    for size, area in zip(found.sizes, found.areas, strict=True):
        expected = auroc(given[size].label, given[size].probability, clusters=clusters)
        assert (area.value, area.low) == (pytest.approx(expected.value), pytest.approx(expected.low))
    expected = delong_test(given[50].label, given[400].probability, given[100].probability, clusters=clusters)
    assert found.last_gain.difference == pytest.approx(expected.difference)
    assert found.last_gain.p_value == pytest.approx(expected.p_value)


def test_only_cases_of_every_table_count():
    given = tables()
    given[50] = given[50].iloc[20:]
    given[400] = given[400].iloc[:-20].sample(frac=1, random_state=0)
    assert {area.n for area in learning_curve(given).areas} == {160}


def test_tables_that_do_not_fit_are_refused():
    given = tables()
    with pytest.raises(UsageError, match="found 1 sizes"):
        learning_curve({50: given[50]})
    with pytest.raises(ManifestError, match="no test case in every table"):
        learning_curve({50: given[50], 100: given[100].assign(case_id=[f"x{i}" for i in range(200)])})
    with pytest.raises(ManifestError, match="two labels"):
        learning_curve({50: given[50], 100: given[100].assign(label=1 - given[100].label)})
    with pytest.raises(ManifestError, match="without condition 'fused'"):
        learning_curve(given, condition="fused")
