"""Figures against scikit-learn, their intervals against scipy's bootstrap and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap
from sklearn import metrics as reference

from medfuse.errors import DataError, LabelError
from medfuse.evaluation import accuracy, auprc, brier, f1, sensitivity, specificity
from medfuse.evaluation.metrics import wilson_interval


def simulated(n, seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(int)
    labels[:2] = 0, 1
    return labels, 1 / (1 + np.exp(-rng.normal(size=n) - 1.5 * labels + 1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=3, max_size=40))
def test_values_equal_sklearn_and_lie_in_their_intervals(rows):
    labels, p = np.array([r[0] for r in rows]), np.array([r[1] / 8 for r in rows])
    if labels.all() or not labels.any():
        with pytest.raises(LabelError):
            auprc(labels, p)
        return
    calls = p >= 0.5
    pairs = [
        (auprc(labels, p), reference.average_precision_score(labels, p)),
        (brier(labels, p), reference.brier_score_loss(labels, p)),
        (f1(labels, calls), reference.f1_score(labels, calls, zero_division=0)),
        (accuracy(labels, calls), reference.accuracy_score(labels, calls)),
        (sensitivity(labels, calls), reference.recall_score(labels, calls)),
        (specificity(labels, calls), reference.recall_score(~labels, ~calls)),
    ]
    for ours, theirs in pairs:
        assert ours.value == pytest.approx(theirs, abs=1e-12), ours.name
        assert ours.low <= ours.value <= ours.high


def test_wilson_equals_scipy():
    for hits in (0, 3, 17, 20):
        theirs = binomtest(hits, 20).proportion_ci(0.9, method="wilson")
        assert wilson_interval(hits / 20, 20, level=0.9) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_brier_interval_equals_scipys_bootstrap_within_its_noise():
    labels, p = simulated(300, 0)
    ours = brier(labels, p)
    theirs = bootstrap(
        ((labels - p) ** 2,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_average_precision_interval_equals_a_plain_loop_over_resamples():
    labels, p = simulated(200, 3)
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(1500):
        i = rng.integers(0, 200, 200)
        drawn.append(reference.average_precision_score(labels[i], p[i]))
    ours = auprc(labels, p)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.012)


def test_repeated_patients_widen_every_interval():
    labels, p = simulated(100, 1)
    labels, p, patients = np.repeat(labels, 4), np.repeat(p, 4), np.repeat(np.arange(100), 4)
    calls = p >= 0.5
    for metric, values in [
        (auprc, p),
        (brier, p),
        (f1, calls),
        (accuracy, calls),
        (sensitivity, calls),
        (specificity, calls),
    ]:
        naive, honest = metric(labels, values), metric(labels, values, clusters=patients)
        assert (honest.high - honest.low) / (naive.high - naive.low) == pytest.approx(2, rel=0.12), metric
        assert "patient" in honest.method


def test_copies_of_cases_leave_a_wilson_interval_where_it_was():
    labels, p = simulated(80, 2)
    once = sensitivity(labels, p >= 0.5)
    four = sensitivity(np.repeat(labels, 4), np.repeat(p, 4) >= 0.5, clusters=np.repeat(np.arange(80), 4))
    assert (four.low, four.high) == pytest.approx((once.low, once.high), abs=0.005)


def test_a_perfect_score_is_not_called_certain():
    perfect = sensitivity([0, 1, 1, 1], [0, 1, 1, 1])
    assert perfect.value == perfect.high == 1
    assert perfect.low < 0.5
    assert perfect.n == perfect.n_positive == 3


def test_wilson_interval_covers_its_nominal_share():
    rng = np.random.default_rng(0)
    covered = [low <= 0.85 <= high for low, high in (wilson_interval(k / 60, 60) for k in rng.binomial(60, 0.85, 2000))]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_same_input_gives_the_same_interval():
    labels, p = simulated(60, 4)
    assert auprc(labels, p) == auprc(labels, p)


def test_f1_is_zero_where_nothing_is_called():
    assert f1([0, 1, 1], [0, 0, 0]).value == 0


def test_what_is_no_probability_is_refused():
    with pytest.raises(DataError, match="1 of 2 outside"):
        brier([0, 1], [0.2, 1.2])
