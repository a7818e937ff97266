import numpy as np
import pytest

from medfuse.errors import UsageError
from medfuse.evaluation import abstention_curve


def test_leaving_unsure_cases_out_lowers_the_error_of_a_model_that_knows_when_it_does_not():
    rng = np.random.default_rng(0)
    p = rng.random(4000)
    curve = abstention_curve(rng.random(4000) < p, p)
    assert curve.answered[0] == 1
    assert (np.diff(curve.answered) < 0).all()
    assert curve.error[0] == pytest.approx(0.25, abs=0.02)
    assert curve.error[curve.answered == 0.5][0] == pytest.approx(0.125, abs=0.02)
    assert (curve.low <= curve.error).all() and (curve.error <= curve.high).all()


def test_sureness_is_the_share_of_the_way_from_the_threshold():
    # At 0.2, a probability of 0.1 is as sure a no as 0.6 is a yes; 0.15 is the least sure, and wrong.
    curve = abstention_curve([1, 0, 1, 0], [0.15, 0.08, 0.7, 0.05], threshold=0.2)
    assert curve.error[:2].tolist() == [0.25, 0.0]


def test_thresholds_may_differ_between_folds():
    p = np.array([0.3, 0.3, 0.9, 0.1])
    labels = [1, 0, 1, 0]
    assert abstention_curve(labels, p, threshold=[0.2, 0.4, 0.5, 0.5]).error[0] == 0
    assert abstention_curve(labels, p, threshold=0.2).error[0] == 0.25


def test_a_threshold_at_an_end_is_an_answer():
    for threshold in (0.0, 1.0):
        assert np.isfinite(abstention_curve([0, 1, 1], [0.0, 1.0, 0.5], threshold=threshold).error).all()


def test_repeated_patients_widen_the_interval():
    rng = np.random.default_rng(1)
    p = np.repeat(rng.random(100), 4)
    labels = np.repeat(rng.random(100) < p[::4], 4)
    naive, honest = abstention_curve(labels, p), abstention_curve(labels, p, clusters=np.repeat(np.arange(100), 4))
    assert honest.high[0] - honest.low[0] > 1.7 * (naive.high[0] - naive.low[0])


def test_three_cases_and_a_wrong_threshold():
    assert abstention_curve([0, 1, 1], [0.1, 0.6, 0.9]).answered.tolist() == [
        1.0,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
    ]
    with pytest.raises(UsageError, match="outside"):
        abstention_curve([0, 1], [0.1, 0.9], threshold=2)
