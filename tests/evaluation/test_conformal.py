import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from medfuse.errors import DataError, LabelError, UsageError
from medfuse.evaluation import ConformalRule, conformal_sets, fit_conformal


class GivenProbabilities(ClassifierMixin, BaseEstimator):
    """A model whose input is its answer, so that the other library conformalises the same numbers."""

    def __init__(self, n_classes: int = 3) -> None:
        self.n_classes = n_classes

    def fit(self, x, y):
        self.classes_ = np.arange(self.n_classes)
        return self

    def predict_proba(self, x):
        return np.asarray(x)

    def predict(self, x):
        return np.asarray(x).argmax(axis=1)


def draw(rng, n, *, n_classes=3, sharpness=1.5):
    p = softmax(rng.normal(scale=sharpness, size=(n, n_classes)), axis=1)
    return (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, n_classes - 1), p


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_equal_those_of_mapie(coverage):
    rng = np.random.default_rng(0)
    labels, p = draw(rng, 150)
    _, new = draw(rng, 300)
    peer = SplitConformalClassifier(
        GivenProbabilities().fit(None, None), confidence_level=coverage, conformity_score="lac", prefit=True
    )
    _, expected = peer.conformalize(p, labels).predict_set(new)
    found = conformal_sets(new, fit_conformal(labels, p, coverage=coverage))
    assert (found == expected[:, :, 0]).all()


def test_the_promise_is_kept_within_each_class_where_it_is_made_by_class():
    rng = np.random.default_rng(1)
    shares = {False: [], True: []}
    for _ in range(200):
        labels, p = draw(rng, 300, n_classes=2, sharpness=1.0)
        rare = (labels == 0) | (rng.random(300) < 0.25)
        labels, p = labels[rare], p[rare] * [1, 0.25]
        p /= p.sum(axis=1, keepdims=True)
        half = len(labels) // 2
        for by_class, found in shares.items():
            sets = conformal_sets(p[half:], fit_conformal(labels[:half], p[:half], by_class=by_class))
            positive = labels[half:] == 1
            found.append(sets[positive, 1].mean())
    assert np.mean(shares[True]) == pytest.approx(0.91, abs=0.02)
    assert np.mean(shares[False]) < 0.8  # of all cases 0.9, at the cost of the rare class


def test_each_patient_counts_once_however_many_cases_he_has():
    rng = np.random.default_rng(2)
    labels, p = draw(rng, 60)
    often = np.repeat(np.arange(60), rng.integers(1, 6, size=60))
    assert fit_conformal(labels[often], p[often], clusters=often) == fit_conformal(labels, p)


def test_one_case_a_patient_is_no_cluster():
    labels, p = draw(np.random.default_rng(3), 80)
    assert fit_conformal(labels, p, clusters=np.arange(80)) == fit_conformal(labels, p)


def test_too_few_cases_for_the_promise_give_sets_of_every_class():
    rule = fit_conformal([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], coverage=0.95)
    assert rule.cutoffs == (1.0, 1.0)
    assert conformal_sets([[1.0, 0.0]], rule).all()


def test_a_class_that_validation_lacks_is_in_every_set():
    rule = fit_conformal(np.zeros(50, int), np.tile([0.8, 0.1, 0.1], (50, 1)), by_class=True)
    assert rule.n == (50, 0, 0)
    assert rule.cutoffs[1:] == (1.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 80), st.sampled_from([0.5, 0.8, 0.9]))
def test_a_greater_promise_never_removes_a_class_and_calibration_cases_are_covered(seed, n, coverage):
    labels, p = draw(np.random.default_rng(seed), n)
    sets = conformal_sets(p, fit_conformal(labels, p, coverage=coverage))
    assert (sets <= conformal_sets(p, fit_conformal(labels, p, coverage=0.95))).all()
    assert sets[np.arange(n), labels].mean() >= coverage


@pytest.mark.parametrize(
    ("labels", "probabilities", "options", "error", "said"),
    [
        ([0, 2], [[0.5, 0.5]] * 2, {}, LabelError, "found 1 of 2 that are no class index"),
        ([0, 1], [[0.5, 0.5]], {}, LabelError, "found 2; expected 1, one a case"),
        ([0, 1], [[0.5, 0.6]] * 2, {}, DataError, "2 of 2 rows that are no probabilities"),
        ([0, 1], [[0.5, np.nan]] * 2, {}, DataError, "2 of 2 rows that are no probabilities"),
        ([0, 1], [0.5, 0.6], {}, DataError, "shape (2,)"),
        ([0, 1], [[0.5, 0.5]] * 2, {"coverage": 90}, UsageError, "found 90"),
    ],
)
def test_what_is_no_calibration_set_is_refused(labels, probabilities, options, error, said):
    with pytest.raises(error) as refused:
        fit_conformal(labels, probabilities, **options)
    assert said in str(refused.value)


def test_probabilities_of_other_classes_are_refused():
    with pytest.raises(DataError, match="found 3 classes; expected 2"):
        conformal_sets([[0.2, 0.3, 0.5]], ConformalRule(0.9, (0.5, 0.5), (9, 9)))


@pytest.mark.parametrize(
    ("coverage", "cutoffs", "n"),
    [
        (0.9, (0.5, 1.5), (9, 9)), (0.9, (-0.5, 0.5), (9, 9)), (0.0, (0.5, 0.5), (9, 9)), (1.0, (0.5, 0.5), (9, 9)),
        (0.9, (0.5,), (9,)), (0.9, (0.5, 0.5), (9,)), (0.9, (0.5, 0.5), (9, 9, 9)),
    ],
)  # fmt: skip
def test_a_rule_out_of_range_is_refused(coverage, cutoffs, n):
    with pytest.raises(DataError, match="out of range"):
        ConformalRule(coverage, cutoffs, n)
