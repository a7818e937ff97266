"""Figures against scikit-learn, their intervals against scipy's bootstrap and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn import metrics as reference

from medfuse.errors import DataError, LabelError
from medfuse.evaluation import auprc, brier
from medfuse.evaluation.metrics import log_loss, score_steps


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
    pairs = [
        (auprc(labels, p), reference.average_precision_score(labels, p)),
        (brier(labels, p), reference.brier_score_loss(labels, p)),
        (log_loss(labels, p), reference.log_loss(labels, p)),
    ]
    for ours, theirs in pairs:
        assert ours.value == pytest.approx(theirs, abs=1e-12), ours.name
        assert ours.low <= ours.value <= ours.high


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
    for metric, values in [(auprc, p), (brier, p), (log_loss, p)]:
        naive, honest = metric(labels, values), metric(labels, values, clusters=patients)
        assert (honest.high - honest.low) / (naive.high - naive.low) == pytest.approx(2, rel=0.12), metric
        assert "patient" in honest.method


def test_same_input_gives_the_same_interval():
    labels, p = simulated(60, 4)
    assert auprc(labels, p) == auprc(labels, p)


def test_how_an_interval_was_found_says_its_level():
    assert auprc([0, 1], [0.1, 0.9], level=0.9).method == "Wilson on positive cases 90%"


def test_a_perfect_ranking_is_not_called_certain():
    found = auprc([0, 0, 1, 1, 1], [0.1, 0.2, 0.7, 0.8, 0.9])
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.4385, abs=1e-3)  # Wilson of 3 of 3
    copies = auprc([0, 1] * 6, [0.1, 0.9] * 6, clusters=np.repeat([1, 2, 3], 4))
    assert copies.low == pytest.approx(found.low)


def test_average_precision_interval_covers_its_nominal_share_where_positives_are_few():
    rng = np.random.default_rng(6)
    many = rng.random(400_000) < 0.2
    true = reference.average_precision_score(many, rng.normal(size=400_000) + 1.2 * many)
    covered = []
    for _ in range(600):
        labels = rng.random(100) < 0.2
        found = auprc(labels, rng.normal(size=100) + 1.2 * labels)
        covered.append(found.low <= true <= found.high)
    assert 0.91 <= np.mean(covered) <= 0.98  # a bootstrap's percentiles: 0.83 to 0.92


def test_score_steps_give_sklearn_s_curves():
    labels, p = simulated(60, 7)
    hits, called = score_steps(labels.astype(bool), p.round(1))
    theirs = reference.precision_recall_curve(labels, p.round(1))
    assert hits / labels.sum() == pytest.approx(theirs[1][-2::-1])
    assert hits / called == pytest.approx(theirs[0][-2::-1])
    false_rate, true_rate, _ = reference.roc_curve(labels, p.round(1), drop_intermediate=False)
    assert (called - hits) / (1 - labels).sum() == pytest.approx(false_rate[1:])
    assert hits / labels.sum() == pytest.approx(true_rate[1:])


def test_a_certain_wrong_probability_costs_no_infinite_loss():
    assert log_loss([0, 1], [1.0, 1.0]).value == pytest.approx(reference.log_loss([0, 1], [1.0, 1.0]))


def test_what_is_no_probability_is_refused():
    with pytest.raises(DataError, match="1 of 2 outside"):
        brier([0, 1], [0.2, 1.2])
