"""AUROC and the paired test, against pROC, scikit-learn, a brute-force DeLong and the bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from medfuse.errors import DataError, LabelError, UsageError
from medfuse.evaluation import auroc, delong_test
from medfuse.evaluation.delong import newcombe_interval, square_and_add

# aSAH data of the R package pROC: WFNS grade 1 to 5 by outcome (72 good, 41 poor), as counts.
GOOD, POOR = [37, 20, 3, 8, 4], [2, 12, 1, 8, 18]


def simulated(n, seed, *, shift=1.0, prevalence=0.4):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < prevalence).astype(int)
    labels[:2] = 0, 1
    return labels, rng.normal(size=n) + shift * labels


def brute_force_covariance(labels, *scores):
    """DeLong's structural components straight from their definition, O(n^2)."""
    v10, v01 = [], []
    for s in scores:
        positive, negative = s[labels == 1], s[labels == 0]
        psi = (positive[:, None] > negative[None]) + 0.5 * (positive[:, None] == negative[None])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    return np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])


def test_area_and_interval_equal_proc_on_its_own_example():
    labels = np.r_[np.zeros(72, int), np.ones(41, int)]
    grade = np.r_[np.repeat(range(1, 6), GOOD), np.repeat(range(1, 6), POOR)]
    area = auroc(labels, grade, method="delong")
    half = 1.959963984540054 * np.sqrt(0.00146991470882363)  # variance as pROC's own tests state it
    assert area.value == pytest.approx(0.8236789, abs=5e-8)
    assert (area.low, area.high) == pytest.approx((area.value - half, area.value + half), abs=1e-12)
    assert (area.n, area.n_positive, area.method) == (113, 41, "DeLong 95%")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=60))
def test_area_equals_sklearn_with_any_ties(rows):
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    if labels.all() or not labels.any():
        with pytest.raises(LabelError, match=f"{labels.sum()} positive"):
            auroc(labels, scores)
        return
    area = auroc(labels, scores)
    assert area.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert 0 <= area.low <= area.value <= area.high <= 1
    assert area.high > area.low
    mirrored = auroc(labels, -scores)
    assert (mirrored.value, mirrored.low) == pytest.approx((1 - area.value, 1 - area.high), abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_variance_and_paired_test_equal_brute_force(seed):
    labels, a = simulated(150, seed)
    b = np.round(a + np.random.default_rng(seed + 100).normal(size=150), 1)
    covariance = brute_force_covariance(labels, a, b)
    plain = auroc(labels, a, method="delong")
    assert plain.high - plain.value == pytest.approx(1.959963984540054 * np.sqrt(covariance[0, 0]), rel=1e-9)
    test = delong_test(labels, a, b)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert test.difference == pytest.approx(roc_auc_score(labels, a) - roc_auc_score(labels, b), abs=1e-12)
    assert test.high - test.difference == pytest.approx(1.959963984540054 * error, rel=1e-9)
    turned = delong_test(labels, b, a)
    assert (turned.difference, turned.p_value) == pytest.approx((-test.difference, test.p_value))


def test_logit_interval_covers_where_plain_falls_short():
    rng = np.random.default_rng(7)
    n, truth, shift = 50, 0.95, np.sqrt(2) * 1.6448536269514722  # binormal area 0.95
    hits = {"delong": 0, "logit-delong": 0}
    labels = np.r_[np.zeros(25, int), np.ones(25, int)]
    for _ in range(800):
        scores = rng.normal(size=n) + shift * labels
        for method in hits:
            area = auroc(labels, scores, method=method)
            hits[method] += area.low <= truth <= area.high
    assert hits["delong"] / 800 < 0.92
    assert 0.93 <= hits["logit-delong"] / 800 <= 0.99


def test_clustered_interval_agrees_with_a_bootstrap_of_patients_who_have_cases_of_both_classes():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(150), 4)
    effect = rng.normal(size=150)
    labels = (rng.random(600) < 1 / (1 + np.exp(-2 * effect[patients]))).astype(int)
    scores = rng.normal(size=600) + labels + 1.5 * effect[patients]
    clustered = auroc(labels, scores, method="delong", clusters=patients)
    rows = np.arange(600).reshape(150, 4)
    drawn = [rows[rng.integers(0, 150, 150)].ravel() for _ in range(500)]
    spread = np.std([roc_auc_score(labels[i], scores[i]) for i in drawn], ddof=1)
    assert (clustered.high - clustered.low) / (2 * 1.96) == pytest.approx(spread, rel=0.1)
    assert clustered.method == "DeLong 95%, clustered by patient"


def test_copies_of_cases_leave_the_clustered_interval_where_it_was_and_halve_the_naive_one():
    labels, scores = simulated(200, 5)
    once = auroc(labels, scores)
    copies = np.repeat(labels, 4), np.repeat(scores, 4)
    four = auroc(*copies, clusters=np.repeat(np.arange(200), 4))
    naive = auroc(*copies)
    assert (four.low, four.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert naive.high - naive.low == pytest.approx((once.high - once.low) / 2, rel=0.02)


def test_one_case_a_patient_gives_the_unclustered_interval():
    labels, scores = simulated(80, 1)
    alone = auroc(labels, scores, clusters=[f"p{i}" for i in range(80)])
    plain = auroc(labels, scores)
    assert (alone.low, alone.high) == pytest.approx((plain.low, plain.high), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "value"),
    [
        ([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], 1.0),
        ([0, 0, 0, 1, 1, 1], [4, 5, 6, 1, 2, 3], 0.0),
        ([0, 0, 0, 1, 1, 1], [2, 2, 2, 2, 2, 2], 0.5),
        ([0, 0, 1], [1, 3, 2], 0.5),
    ],
)
def test_where_delong_has_no_variance_newcombe_gives_a_real_interval(labels, scores, value):
    area = auroc(labels, scores)
    assert area.value == value
    assert area.method == "Newcombe score 95%"
    assert 0 <= area.low <= value <= area.high <= 1
    assert area.high - area.low > 0.3


def test_newcombe_interval_solves_its_own_equation():
    low, high = newcombe_interval(0.8, n_positive=30, n_negative=50)
    for theta in (low, high):
        q = 39 * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        variance = theta * (1 - theta) * (1 + q) / (30 * 50)
        assert abs(0.8 - theta) == pytest.approx(1.959963984540054 * np.sqrt(variance), rel=1e-6)


def test_newcombe_interval_widens_with_its_level():
    lows, highs = zip(
        *(newcombe_interval(0.8, n_positive=30, n_negative=50, level=at) for at in (0.3, 0.6, 0.9)), strict=True
    )
    assert sorted(lows, reverse=True) == list(lows) and sorted(highs) == list(highs)


@pytest.mark.parametrize(("areas", "toward"), [((1.0, 0.7), "low"), ((0.7, 1.0), "high"), ((0.9, 0.6), "low")])
def test_square_and_add_measures_significance_by_the_arm_that_reaches_for_zero(areas, toward):
    found = square_and_add(np.array(areas), n_positive=12, n=30, level=0.95)
    arm = abs(getattr(found, toward) - found.difference)
    assert norm.isf(found.p_value / 2) == pytest.approx(1.959963984540054 * abs(found.difference) / arm, rel=1e-9)


def test_how_an_interval_was_found_says_its_level():
    labels, scores = simulated(40, 2)
    assert delong_test(labels, scores, scores + scores**2, level=0.9).method == "paired DeLong 90%"


def test_equal_scores_differ_by_nothing():
    labels, scores = simulated(40, 2)
    test = delong_test(labels, scores, scores)
    assert (test.difference, test.low, test.high, test.p_value) == (0, 0, 0, 1)


def test_perfect_against_constant_is_not_called_certain():
    test = delong_test([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], [1] * 6)
    assert test.difference == 0.5
    assert test.low < 0 < test.p_value
    assert "square-and-add" in test.method


def test_paired_test_keeps_its_level_under_no_difference():
    rng = np.random.default_rng(11)
    rejected = 0
    for _ in range(400):
        labels = np.r_[np.zeros(60, int), np.ones(40, int)]
        shared = rng.normal(size=100) + labels
        a, b = shared + rng.normal(size=100), shared + rng.normal(size=100)
        rejected += delong_test(labels, a, b).p_value < 0.05
    assert 0.02 <= rejected / 400 <= 0.09


@pytest.mark.parametrize(
    ("labels", "scores", "error", "words"),
    [
        ([1, 1, 1], [1, 2, 3], LabelError, "3 positive and 0 negative"),
        ([0, 1, 2], [1, 2, 3], LabelError, "1 of 3 that are neither 0 nor 1"),
        ([0, 1, np.nan], [1, 2, 3], LabelError, "neither"),
        ([0, 1, 1], [1, np.nan, 3], DataError, "1 of 3 that are not finite"),
        ([0, 1, 1], [1, 2], DataError, r"shape \(2,\)"),
        ([], [], LabelError, "at least one"),
    ],
)
def test_unusable_input_is_refused_with_counts(labels, scores, error, words):
    with pytest.raises(error, match=words):
        auroc(labels, scores)


def test_unknown_method_and_level_are_usage_errors():
    with pytest.raises(UsageError, match="method"):
        auroc([0, 1], [0, 1], method="hanley")
    with pytest.raises(UsageError, match="level"):
        delong_test([0, 1], [0, 1], [1, 0], level=95)


def test_a_million_scores_take_no_quadratic_time_or_memory():
    labels, scores = simulated(1_000_000, 0)
    area = auroc(labels, scores)
    assert area.value == pytest.approx(0.7602, abs=0.003)  # Phi(1 / sqrt 2)
    assert area.high - area.low < 0.003
