import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from medfuse.errors import DataError
from medfuse.evaluation import (
    EvaluationPlan,
    PairedCases,
    delong_test,
    detectable_difference,
    mcnemar_test,
    paired_tests,
)


def simulated(n, seed, *, gain=0.5):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.5
    logits = [rng.normal(size=n) + strength * labels for strength in (1 + gain, 1)]
    return labels, *(1 / (1 + np.exp(-x + 0.5)) for x in logits)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_is_the_exact_binomial_of_discordant_cases(rows):
    labels, a, b = np.array(rows).T
    right = a == labels, b == labels
    gained, lost = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    found = mcnemar_test(labels, a, b)
    expected = binomtest(int(gained), int(gained + lost)).pvalue if gained + lost else 1.0
    assert found.p_value == pytest.approx(expected)
    assert found.difference == pytest.approx(right[0].mean() - right[1].mean())
    assert found.low <= found.difference <= found.high


def test_interval_of_accuracies_covers_its_nominal_share():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(800):
        a, b = rng.random(80) < 0.85, rng.random(80) < 0.75
        found = mcnemar_test(np.ones(80), a, b)
        covered.append(found.low <= 0.1 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.98


def calls(*, both: int, gained: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels that are all 1, and the calls of two models."""
    first = np.repeat([1, 1, 0, 0], [both, gained, lost, neither])
    second = np.repeat([1, 0, 1, 0], [both, gained, lost, neither])
    return np.ones(first.size, dtype=int), first, second


def test_mcnemar_interval_is_that_of_bonett_and_price():
    """Equation 4 by hand: one case added to either discordant cell."""
    found = mcnemar_test(*calls(both=20, gained=9, lost=3, neither=8))
    half = 1.959963984540054 * np.sqrt((10 / 42 + 4 / 42 - (6 / 42) ** 2) / 42)
    assert (found.low, found.high) == (pytest.approx(6 / 42 - half, rel=1e-9), pytest.approx(6 / 42 + half, rel=1e-9))


def test_mcnemar_of_single_patients_is_the_mean_of_what_moved():
    """Durkalski's test is then McNemar's own statistic, and the interval that of a mean."""
    labels, first, second = calls(both=20, gained=9, lost=3, neither=8)
    found = mcnemar_test(labels, first, second, clusters=np.arange(40))
    half = 1.959963984540054 * np.std(first - second, ddof=1) / np.sqrt(40)
    assert found.p_value == pytest.approx(2 * norm.sf(6 / np.sqrt(12)), rel=1e-9)
    assert (found.low, found.high) == (pytest.approx(0.15 - half, rel=1e-9), pytest.approx(0.15 + half, rel=1e-9))


def test_copies_by_patient_leave_mcnemar_where_it_was():
    labels, a, b = simulated(200, 1)
    calls = a >= 0.5, b >= 0.5
    once = mcnemar_test(labels, *calls, clusters=np.arange(200))
    again = mcnemar_test(*(np.repeat(x, 3) for x in (labels, *calls)), clusters=np.repeat(np.arange(200), 3))
    assert (again.difference, again.low, again.high, again.p_value) == pytest.approx(
        (once.difference, once.low, once.high, once.p_value)
    )
    assert once.p_value == pytest.approx(mcnemar_test(labels, *calls).p_value, abs=0.06)


def test_every_test_looks_the_same_way():
    labels, a, b = simulated(300, 2, gain=1.2)
    found = paired_tests(PairedCases(labels, a, b, a >= 0.5, b >= 0.5), EvaluationPlan())
    for name in ("auroc_delong", "auroc_bootstrap", "auroc_permutation", "auprc"):
        assert found[name].difference > 0 and found[name].p_value < 0.05, name
    for name in ("brier", "log_loss"):
        assert found[name].difference < 0 and found[name].p_value < 0.05, name
    assert found["accuracy"].difference > 0
    assert math.isnan(found["auroc_permutation"].low)


def test_nothing_is_resampled_above_the_plan_s_number_of_cases():
    labels, a, b = simulated(60, 3)
    cases = PairedCases(labels, a, b, a >= 0.5, b >= 0.5, np.arange(60) // 2)
    found = paired_tests(cases, EvaluationPlan(largest_resampled=59))
    assert "auroc_bootstrap" not in found and "auroc_permutation" not in found
    assert all("patient" in one.method for one in found.values())


def test_a_difference_of_the_detectable_size_is_found_with_the_stated_power():
    rng, found, stated = np.random.default_rng(4), [], []
    for _ in range(200):
        labels = np.arange(200) % 2
        common = rng.normal(size=200)
        a, b = (common + rng.normal(size=200) + shift * labels for shift in (1.68, 1.0))
        test = delong_test(labels, a, b)
        found.append((test.difference, test.p_value < 0.05))
        stated.append(detectable_difference(labels, a, b))
    true, power = np.mean(found, axis=0)
    assert true == pytest.approx(np.mean(stated), rel=0.1)
    assert power == pytest.approx(0.8, abs=0.1)


def test_more_cases_show_smaller_differences():
    small, large = (detectable_difference(*simulated(n, 5)) for n in (100, 400))
    assert small / large == pytest.approx(2, rel=0.25)
    assert math.isnan(detectable_difference([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.2], [0.1, 0.9, 0.8, 0.2]))


def test_calls_of_other_cases_are_refused():
    with pytest.raises(DataError, match="calls_b"):
        mcnemar_test([0, 1], [0, 1], [0, 1, 1])
