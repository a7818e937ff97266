import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse.errors import DataError, UsageError
from medfuse.evaluation import decision_curve


def simulated(n, seed, *, prevalence=0.3):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < prevalence
    return labels, 1 / (1 + np.exp(-rng.normal(size=n) - 1.5 * labels + 1.5))


def by_definition(labels, p, at):
    called = p >= at
    return (called & labels).mean() - (called & ~labels).mean() * at / (1 - at)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=40))
def test_net_benefit_is_its_definition_also_where_probabilities_meet_thresholds(rows):
    labels, p = np.array([r[0] for r in rows]), np.array([r[1] / 20 for r in rows])
    curve = decision_curve(labels, p, thresholds=[0.05, 0.1, 0.5, 0.9])
    expected = [by_definition(labels, p, at) for at in curve.thresholds]
    assert curve.net_benefit == pytest.approx(expected, abs=1e-12)
    everyone = [by_definition(labels, np.ones(labels.size), at) for at in curve.thresholds]
    assert curve.treat_all == pytest.approx(everyone, abs=1e-12)


def test_intervals_are_those_of_a_mean_and_agree_with_a_bootstrap():
    labels, p = simulated(300, 0)
    curve = decision_curve(labels, p, thresholds=[0.1, 0.4])
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(1500):
        i = rng.integers(0, 300, 300)
        drawn.append([by_definition(labels[i], p[i], at) for at in (0.1, 0.4)])
    assert (curve.high - curve.low) / 3.92 == pytest.approx(np.std(drawn, axis=0), rel=0.07)


def test_repeated_patients_widen_every_interval():
    labels, p = simulated(100, 2)
    labels, p, patients = np.repeat(labels, 4), np.repeat(p, 4), np.repeat(np.arange(100), 4)
    naive, honest = decision_curve(labels, p), decision_curve(labels, p, clusters=patients)
    inside = slice(20, 60)
    widths = [(curve.high - curve.low)[inside] for curve in (honest, naive)]
    assert widths[0] / widths[1] == pytest.approx(np.full(40, 2), rel=0.02)
    one_each = decision_curve(labels, p, clusters=np.arange(400))
    assert one_each.high == pytest.approx(naive.high, abs=1e-12)


def test_the_best_model_is_worth_the_prevalence():
    labels, _ = simulated(50, 3)
    assert decision_curve(labels, labels.astype(float)).net_benefit == pytest.approx(np.full(99, labels.mean()))


def test_a_single_case_is_an_answer():
    curve = decision_curve([1], [0.7], thresholds=[0.5])
    assert (curve.low[0], curve.net_benefit[0], curve.high[0]) == (1, 1, 1)


def test_what_is_no_threshold_and_no_probability_is_refused():
    for thresholds in ([0.0, 0.5], [0.5, 0.4], [], [0.5, 1.0]):
        with pytest.raises(UsageError, match="do not rise"):
            decision_curve([0, 1], [0.1, 0.9], thresholds=thresholds)
    with pytest.raises(DataError, match="outside"):
        decision_curve([0, 1], [0.1, 1.9])
