import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_curve

from medfuse.errors import DataError, LabelError, UsageError
from medfuse.evaluation import calibration_curve, choose_threshold, fit_calibration
from medfuse.evaluation.calibration import LARGEST_BIAS, TEMPERATURE_RANGE


def test_temperature_and_bias_recover_those_that_were_planted():
    rng = np.random.default_rng(0)
    true_logits = rng.normal(scale=2, size=20_000)
    labels = rng.random(20_000) < expit(true_logits)
    temperature, biases = fit_calibration(labels, 3.0 * (true_logits - 0.7))
    assert temperature == pytest.approx(3.0, rel=0.05)
    assert biases == (pytest.approx(0.7, abs=0.05),)


def test_binary_calibration_equals_scikit_learn_s_sigmoid():
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=3, size=500)
    labels = (rng.random(500) < expit(logits / 2 + 1)).astype(int)
    slope_only = LogisticRegression().fit(logits[:, None], logits > 0)
    slope_only.coef_, slope_only.intercept_ = np.ones((1, 1)), np.zeros(1)  # its decision function is the logit
    peer = CalibratedClassifierCV(FrozenEstimator(slope_only), method="sigmoid").fit(logits[:, None], labels)
    temperature, (bias,) = fit_calibration(labels, logits)
    found, expected = expit(logits / temperature + bias), peer.predict_proba(logits[:, None])[:, 1]
    assert found == pytest.approx(expected, abs=2e-4)


def test_two_class_columns_give_the_binary_calibration():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=400)
    labels = (rng.random(400) < expit(logits / 1.5 - 0.5)).astype(int)
    columns = np.stack([np.zeros(400), logits], axis=1)
    temperature, biases = fit_calibration(labels, columns)
    expected, (bias,) = fit_calibration(labels, logits)
    assert temperature == pytest.approx(expected, rel=1e-4)
    assert biases == (pytest.approx(-bias / 2, abs=1e-4), pytest.approx(bias / 2, abs=1e-4))


def test_calibrated_classes_have_the_frequency_that_their_probabilities_say():
    # Known answer: at the minimum of the log loss with a free bias a class, mean probability equals frequency, but
    # for one case's weight a class in Platt's targets.
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=2, size=(300, 3))
    labels = np.array([rng.choice(3, p=softmax(row / 2 + [0.5, 0, -1])) for row in logits])
    temperature, biases = fit_calibration(labels, logits)
    assert sum(biases) == pytest.approx(0, abs=1e-12)
    found = softmax(logits / temperature + np.array(biases), axis=1).mean(axis=0)
    assert found == pytest.approx(np.bincount(labels) / 300, abs=1 / 300)


def test_a_few_cases_that_are_all_called_right_give_no_certainty():
    # Known answer (Platt): one case of two is never surer than 2 / 3.
    temperature, (bias,) = fit_calibration([0, 1], [-1.0, 1.0])
    assert expit([-1 / temperature + bias, 1 / temperature + bias]) == pytest.approx([1 / 3, 2 / 3], abs=1e-4)
    temperature, (bias,) = fit_calibration([0] * 9 + [1] * 9, [-1.0] * 9 + [1.0] * 9)
    assert expit(1 / temperature + bias) == pytest.approx(10 / 11, abs=1e-4)


def test_calibration_stays_within_the_stated_range():
    temperature, (bias,) = fit_calibration([0, 1], [1.0, 3.0])
    assert TEMPERATURE_RANGE[0] <= temperature
    assert abs(bias) <= 2 * LARGEST_BIAS


def test_unusable_logits_are_refused():
    with pytest.raises(DataError, match="logits"):
        fit_calibration([0, 1], [np.nan, 1.0])
    with pytest.raises(LabelError, match="class index 3"):
        fit_calibration([0, 3], np.zeros((2, 3)))
    with pytest.raises(LabelError, match="expected 2"):
        fit_calibration([0, 1, 1], [0.0, 1.0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 16)), min_size=2, max_size=30))
def test_threshold_reaches_the_best_that_any_cut_can(rows):
    labels, p = np.array([r[0] for r in rows]), np.array([r[1] / 16 for r in rows])
    if labels.all() or not labels.any():
        return
    false_positive, true_positive, _ = roc_curve(labels, p)
    calls = p >= choose_threshold(labels, p)
    youden = calls[labels].mean() - calls[~labels].mean()
    assert youden == pytest.approx((true_positive - false_positive).max(), abs=1e-12)
    best = max(f1_score(labels, p >= t, zero_division=0) for t in np.unique(p))
    assert f1_score(labels, p >= choose_threshold(labels, p, criterion="f1")) == pytest.approx(best)


def test_threshold_criterion_is_checked():
    with pytest.raises(UsageError, match="criterion"):
        choose_threshold([0, 1], [0.1, 0.9], criterion="best")


def test_curve_of_true_probabilities_lies_on_the_diagonal():
    rng = np.random.default_rng(4)
    p = rng.random(20_000)
    bins = calibration_curve(rng.random(20_000) < p, p, level=0.999)
    assert [b.observed.n for b in bins] == [2000] * 10
    assert all(b.observed.low <= b.predicted <= b.observed.high for b in bins)


def test_constant_probability_gives_one_bin_with_all_cases():
    (only,) = calibration_curve([0, 1, 1], [0.5, 0.5, 0.5])
    assert (only.predicted, only.observed.n, only.observed.n_positive) == (0.5, 3, 2)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, -1], "found shape (3,), type int64; expected class indices"),
        ([0.0, 1.0, 1.0], "type float64; expected class indices"),
        ([0, 1], "found shape (2,)"),
        ([0, 1, 4], "found class index 4; expected below 4"),
    ],
)
def test_labels_that_are_no_class_indices_are_refused_by_what_they_are(labels, said):
    with pytest.raises(LabelError) as refused:
        fit_calibration(labels, np.zeros((3, 4)))
    assert said in str(refused.value)


def test_the_curve_counts_each_patient_where_patients_repeat():
    labels, p = np.tile([0, 1, 1, 0], 10), np.tile([0.2, 0.3, 0.8, 0.7], 10)
    alone = calibration_curve(labels, p, n_bins=2)
    repeated = calibration_curve(np.repeat(labels, 3), np.repeat(p, 3), n_bins=2, clusters=np.repeat(np.arange(40), 3))
    naive = calibration_curve(np.repeat(labels, 3), np.repeat(p, 3), n_bins=2)
    for one, same, narrow in zip(alone, repeated, naive, strict=True):
        width, honest, wrong = (found.observed.high - found.observed.low for found in (one, same, narrow))
        assert honest == pytest.approx(width, rel=0.15) and wrong < 0.7 * width
