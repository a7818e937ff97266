import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import bootstrap, norm, ttest_rel
from sklearn.metrics import average_precision_score, roc_auc_score

from medfuse.errors import DataError
from medfuse.evaluation.delong import auroc_influence, clustered_areas
from medfuse.evaluation.influence import Influence, clustered_error, compare, estimate, interval, mean_of
from medfuse.evaluation.metrics import auprc_influence


def simulated(n, seed, *, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    labels[:2] = False, True
    scores = rng.normal(size=n) + labels
    return labels, scores.round(0 if ties else 12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("figure", "reference"), [(auprc_influence, average_precision_score), (auroc_influence, roc_auc_score)]
)
def test_influence_is_the_slope_of_the_figure_in_a_case_s_weight(figure, reference, ties):
    labels, scores = simulated(50, 0, ties=ties)
    found, step = figure(labels, scores), 1e-6
    assert found.value == pytest.approx(reference(labels, scores), abs=1e-12)
    for case in range(50):
        weights = np.ones(50)
        weights[case] += step
        moved = reference(labels, scores, sample_weight=weights)
        assert (moved - found.value) / step == pytest.approx(found.by_case[case], abs=1e-6)


def test_error_of_a_mean_is_that_of_the_textbook_and_of_a_bootstrap():
    x = np.random.default_rng(1).normal(size=200)
    error = clustered_error((x - x.mean()) / 200, np.arange(200))
    assert error == pytest.approx(x.std(ddof=1) / np.sqrt(200))
    theirs = bootstrap((x,), np.mean, n_resamples=4000, rng=np.random.default_rng(2)).standard_error
    assert error == pytest.approx(theirs, rel=0.04)


def test_error_of_an_area_is_nearly_delong_s():
    labels, scores = simulated(400, 3)
    error = clustered_error(auroc_influence(labels, scores).by_case, np.arange(400))
    _, covariance = clustered_areas(labels, scores[None], None)
    assert error**2 == pytest.approx(covariance[0, 0], rel=0.005)


def test_a_paired_difference_of_means_is_the_paired_t_test_of_many():
    rng = np.random.default_rng(4)
    a = rng.normal(size=3000)
    b = a + rng.normal(size=3000) * 0.5 + 0.02
    first, second = (Influence("x", x.mean(), (x - x.mean()) / 3000) for x in (a, b))
    found = compare(first, second, np.arange(3000), level=0.95)
    assert found.p_value == pytest.approx(ttest_rel(a, b).pvalue, rel=0.02)
    assert found.low <= found.difference <= found.high


def test_copies_by_patient_leave_a_difference_where_it_was():
    labels, a = simulated(100, 5)
    b = a + np.random.default_rng(6).normal(size=100)
    once = compare(auroc_influence(labels, a), auroc_influence(labels, b), np.arange(100), level=0.95)
    many = [np.repeat(x, 3) for x in (labels, a, b)]
    again = compare(
        auroc_influence(many[0], many[1]), auroc_influence(many[0], many[2]), np.repeat(np.arange(100), 3), level=0.95
    )
    assert (again.low, again.high, again.p_value) == pytest.approx((once.low, once.high, once.p_value))


def test_equal_models_differ_by_nothing():
    labels, a = simulated(40, 7)
    found = compare(auroc_influence(labels, a), auroc_influence(labels, a), np.arange(40), level=0.95)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_models_on_other_cases_are_refused():
    figures = [auroc_influence(*simulated(n, 8)) for n in (30, 40)]
    with pytest.raises(DataError, match="other cases"):
        compare(*figures, np.arange(30), level=0.95)


def test_a_mean_of_areas_has_the_error_of_the_mean_and_not_the_mean_error():
    labels, a = simulated(300, 9)
    b = -a  # its area errs the other way, by as much
    mean = mean_of([auroc_influence(labels, a), auroc_influence(labels, b)], name="macro_auroc")
    assert mean.value == pytest.approx(0.5)
    assert clustered_error(mean.by_case, np.arange(300)) == pytest.approx(0, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.floats(0.01, 0.99), st.floats(1e-4, 0.3), st.sampled_from(["logit", "log", "fisher"]))
def test_an_interval_stays_in_the_range_of_its_scale_and_holds_the_value(value, error, scale):
    low, high = interval(value, error, scale=scale, level=0.95)
    assert low <= value <= high
    assert {"logit": low >= 0 and high <= 1, "log": low >= 0, "fisher": low >= -1 and high <= 1}[scale]


def test_the_logit_interval_is_the_delta_method_s():
    low, high = interval(0.8, 0.04, scale="logit", level=0.9)
    half = norm.ppf(0.95) * 0.04 / (0.8 * 0.2)
    assert (logit(low), logit(high)) == (pytest.approx(logit(0.8) - half), pytest.approx(logit(0.8) + half))


def test_one_patient_says_nothing_of_others():
    labels, a = simulated(10, 10)
    found = estimate(auroc_influence(labels, a), np.zeros(10, dtype=np.intp), n_positive=4, level=0.95)
    assert (found.low, found.high) == (0, 1)
