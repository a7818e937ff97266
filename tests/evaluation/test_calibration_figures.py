import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from medfuse.errors import DataError, UsageError
from medfuse.evaluation.calibration_figures import calibration_intercept, calibration_slope, ece


def simulated(n, seed, *, slope=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    logits = 1.3 * rng.normal(size=n) - 0.5
    return rng.random(n) < expit(logits), expit(slope * logits + shift), expit(logits)


def test_slope_is_that_of_sklearn_s_logistic_regression():
    labels, p, _ = simulated(400, 0, slope=1.7, shift=0.4)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(p)[:, None], labels)
    assert calibration_slope(labels, p).value == pytest.approx(theirs.coef_[0, 0], abs=1e-5)


def test_slope_and_intercept_recover_what_was_planted():
    labels, p, _ = simulated(60_000, 1, slope=2.0)
    assert calibration_slope(labels, p).value == pytest.approx(0.5, abs=0.02)
    labels, p, _ = simulated(60_000, 2, shift=-0.7)
    assert calibration_intercept(labels, p).value == pytest.approx(0.7, abs=0.03)


def test_at_the_intercept_as_many_cases_are_expected_as_are_seen():
    labels, p, _ = simulated(300, 3, shift=1.0)
    found = calibration_intercept(labels, p).value
    assert expit(logit(p) + found).sum() == pytest.approx(labels.sum(), abs=1e-6)


def test_ece_is_the_mean_distance_over_bins():
    labels, p, _ = simulated(100, 4)
    order = np.argsort(p)
    expected = np.mean([abs(p[part].mean() - labels[part].mean()) for part in np.split(order, 10)])
    found = ece(labels, p)
    assert found.value == pytest.approx(expected)
    assert found.method.startswith("10 bins of equal counts")


@pytest.mark.parametrize(("n", "slope"), [(80, 1.0), (400, 1.6)])
def test_intervals_cover_their_nominal_share(n, slope):
    labels, p, _ = simulated(400_000, 5, slope=slope)
    true = calibration_intercept(labels, p).value, calibration_slope(labels, p).value
    covered = []
    for seed in range(250):
        labels, p, really = simulated(n, 100 + seed, slope=slope)
        which = np.argsort(np.argsort(p)) * 10 // n
        error = np.abs(np.bincount(which, weights=p - really)).sum() / n
        found = calibration_intercept(labels, p), calibration_slope(labels, p), ece(labels, p)
        covered.append([one.low <= value <= one.high for one, value in zip(found, (*true, error), strict=True)])
    assert (np.mean(covered, axis=0) > 0.9).all()


def test_repeated_patients_widen_every_interval():
    labels, p, _ = simulated(150, 6, slope=1.5)
    labels, p, patients = np.repeat(labels, 4), np.repeat(p, 4), np.repeat(np.arange(150), 4)
    for figure in (calibration_intercept, calibration_slope):
        naive, honest = figure(labels, p), figure(labels, p, clusters=patients)
        assert (honest.high - honest.low) / (naive.high - naive.low) == pytest.approx(2, rel=0.02)
    assert ece(labels, p, clusters=patients).high > ece(labels, p).high


@pytest.mark.parametrize(
    ("labels", "p", "why"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3], "a class is absent"),
        ([0, 1, 0], [0.3, 0.3, 0.3], "constant"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "one cut separates"),
    ],
)
def test_a_slope_that_the_cases_leave_undefined_is_said_to_be(labels, p, why):
    found = calibration_slope(labels, p)
    assert math.isnan(found.value)
    assert why in found.method


def test_certain_probabilities_are_no_infinite_logits():
    found = calibration_slope([0, 1, 0, 1, 1, 0], [0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    assert 0 < found.value < 1


def test_ece_of_three_cases_is_an_answer():
    found = ece([0, 1, 1], [0.2, 0.9, 0.4])
    assert (found.low, found.high) == (0.0, pytest.approx(1.0, abs=0.3))


def test_what_is_no_probability_and_no_bin_is_refused():
    with pytest.raises(DataError, match="1 of 2 outside"):
        ece([0, 1], [0.2, 1.2])
    with pytest.raises(UsageError, match="n_bins"):
        ece([0, 1], [0.2, 0.8], n_bins=0)


def test_the_error_says_whether_patients_repeat():
    labels, p = [0, 1, 1, 0], [0.2, 0.6, 0.8, 0.4]
    assert "by patient" in ece(labels, p, n_bins=2, clusters=[1, 1, 2, 2]).method
    assert "by patient" not in ece(labels, p, n_bins=2, clusters=[1, 2, 3, 4]).method
