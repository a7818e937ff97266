import math

import numpy as np
import pytest

from medfuse.errors import DataError, LabelError
from medfuse.evaluation import interval_figures, set_figures


def test_shares_count_what_the_sets_hold():
    sets = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1]], dtype=bool)
    found = set_figures([0, 2, 1, 1], sets, classes=["a", "b", "c"], promised=(0.9, True, 40))
    assert (found.coverage.value, found.mean_size) == (0.75, 1.5)
    assert (found.share_single, found.share_empty, found.share_all) == (0.25, 0.25, 0.25)
    assert {name: one.value for name, one in found.class_coverage.items()} == {"a": 1, "b": 0.5, "c": 1}
    assert found.coverage.low < 0.75 < found.coverage.high


def test_coverage_of_a_class_without_cases_is_undefined():
    found = set_figures([0, 0], np.ones((2, 2), dtype=bool), classes=["a", "b"], promised=(0.9, False, 9))
    assert math.isnan(found.class_coverage["b"].value)


def test_repeated_patients_widen_the_interval_of_coverage():
    rng = np.random.default_rng(0)
    sets = np.repeat(rng.random((100, 2)) < 0.8, 4, axis=0)
    labels, patients = np.repeat(rng.integers(0, 2, 100), 4), np.repeat(np.arange(100), 4)
    naive = set_figures(labels, sets, classes=["a", "b"], promised=(0.8, False, 9)).coverage
    honest = set_figures(labels, sets, classes=["a", "b"], promised=(0.8, False, 9), clusters=patients).coverage
    assert (honest.high - honest.low) / (naive.high - naive.low) == pytest.approx(2, rel=0.05)


def test_intervals_are_summed_up():
    found = interval_figures([0, 1, 1, 1], [0.2, 0.4, 0.6, 0.8], [0.4, 0.8, 0.8, 0.9], n_calibration=30)
    assert (found.mean_low, found.mean_high) == (pytest.approx(0.5), pytest.approx(0.725))
    assert (found.median_width, found.observed.value, found.kind) == (pytest.approx(0.2), 0.75, "Venn-Abers")


def test_sets_of_other_cases_and_intervals_that_are_none_are_refused():
    with pytest.raises(DataError, match="sets: found shape"):
        set_figures([0, 1], np.ones((3, 2), dtype=bool), classes=["a", "b"], promised=(0.9, False, 9))
    with pytest.raises(LabelError, match="class index"):
        set_figures([0, 2], np.ones((2, 2), dtype=bool), classes=["a", "b"], promised=(0.9, False, 9))
    with pytest.raises(DataError, match="interval"):
        interval_figures([0, 1], [0.1, float("nan")], [0.2, 0.3], n_calibration=9)
