import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from medfuse.errors import DataError, LabelError
from medfuse.evaluation import IsotonicRule, apply_isotonic, auroc, ece, fit_isotonic


def test_calibration_equals_scikit_learn_s_isotonic():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=400)
    labels = (rng.random(400) < expit(logits / 2 + 0.5)).astype(int)
    as_given = LogisticRegression().fit(logits[:, None], logits > 0)
    as_given.coef_, as_given.intercept_ = np.ones((1, 1)), np.zeros(1)  # its decision function is the logit
    peer = CalibratedClassifierCV(FrozenEstimator(as_given), method="isotonic").fit(logits[:, None], labels)
    new = rng.normal(scale=2.5, size=300)
    found = apply_isotonic(new, fit_isotonic(labels, logits))
    assert found == pytest.approx(peer.predict_proba(new[:, None])[:, 1], abs=1e-12)


def test_probabilities_far_too_sure_become_calibrated_on_new_cases():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 4000))
    labels = rng.random((2, 4000)) < expit(logits)
    sure = expit(4 * logits)
    found = apply_isotonic(sure[1], fit_isotonic(labels[0], sure[0]))
    assert ece(labels[1], found).value < 0.03 < ece(labels[1], sure[1]).value
    assert auroc(labels[1], found).value == pytest.approx(auroc(labels[1], sure[1]).value, abs=0.005)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 9))
def test_a_curve_never_falls_and_keeps_the_mean(seed, n, n_distinct):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, n_distinct, n) / n_distinct
    labels = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
    rule = fit_isotonic(labels, scores)
    found = apply_isotonic(np.linspace(-1, 2, 50), rule)
    assert (np.diff(found) >= 0).all() and found.min() >= 0 and found.max() <= 1
    assert apply_isotonic(scores, rule).mean() == pytest.approx(labels.mean())


def test_what_is_no_calibration_set_is_refused():
    with pytest.raises(LabelError, match="0 positive"):
        fit_isotonic([0, 0], [0.1, 0.2])
    with pytest.raises(DataError, match="not finite"):
        apply_isotonic([np.nan], IsotonicRule((0.0,), (0.5,)))
    for scores, probabilities in [((0.0, 0.0), (0.1, 0.2)), ((0.0, 1.0), (0.2, 0.1)), ((), ()), ((0.0,), (1.2,))]:
        with pytest.raises(DataError, match="isotonic rule"):
            IsotonicRule(scores, probabilities)
