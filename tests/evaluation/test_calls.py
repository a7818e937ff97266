"""Figures of calls against scikit-learn, scipy and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as reference

from medfuse.evaluation import accuracy, f1, sensitivity, specificity
from medfuse.evaluation.calls import CALL_FIGURES, call_figures, confusion_of, mcc_influence
from medfuse.evaluation.proportions import wilson_interval

cases = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(cases)
def test_values_equal_sklearn_and_lie_in_their_intervals(rows):
    labels, calls = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = call_figures(labels, calls)
    nan = float("nan")
    both = labels.any() and not labels.all()
    expected = {
        "accuracy": reference.accuracy_score(labels, calls),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, calls) if both else nan,
        "sensitivity": reference.recall_score(labels, calls, zero_division=nan),
        "specificity": reference.recall_score(~labels, ~calls, zero_division=nan),
        "ppv": reference.precision_score(labels, calls, zero_division=nan),
        "npv": reference.precision_score(~labels, ~calls, zero_division=nan),
        "f1": reference.f1_score(labels, calls, zero_division=nan),
        "mcc": reference.matthews_corrcoef(labels, calls) if both and 0 < calls.sum() < calls.size else nan,
    }
    assert set(found) == set(CALL_FIGURES) == set(expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12, nan_ok=True), name
        assert math.isnan(value) or found[name].low <= found[name].value <= found[name].high
        assert math.isnan(value) == found[name].method.startswith("undefined")


@settings(max_examples=60, deadline=None)
@given(cases)
def test_cells_sum_to_the_cases_as_sklearn_counts_them(rows):
    labels, calls = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    (tn, fp), (fn, tp) = reference.confusion_matrix(labels, calls, labels=[False, True])
    found = confusion_of(labels, calls)
    assert (found.true_positive, found.false_positive, found.false_negative, found.true_negative) == (tp, fp, fn, tn)


def test_wilson_equals_scipy():
    for hits in (0, 3, 17, 20):
        theirs = binomtest(hits, 20).proportion_ci(0.9, method="wilson")
        assert wilson_interval(hits / 20, 20, level=0.9) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_influence_of_mcc_is_its_slope_in_a_case_s_weight():
    rng = np.random.default_rng(0)
    labels = rng.random(40) < 0.4
    calls = rng.random(40) < np.where(labels, 0.8, 0.3)
    figure, step = mcc_influence(labels, calls), 1e-6
    for case in range(40):
        weights = np.ones(40)
        weights[case] += step
        moved = reference.matthews_corrcoef(labels, calls, sample_weight=weights)
        assert (moved - figure.value) / step == pytest.approx(figure.by_case[case], abs=1e-6)


@pytest.mark.parametrize(("n", "prevalence"), [(60, 0.3), (150, 0.2)])
def test_every_interval_covers_its_nominal_share(n, prevalence):
    rng = np.random.default_rng(1)
    found, tp, fp = {name: [] for name in CALL_FIGURES}, 0.75 * prevalence, 0.15 * (1 - prevalence)
    big_labels = np.repeat(
        [1, 1, 0, 0], np.rint(1e5 * np.array([tp, prevalence - tp, fp, 1 - prevalence - fp])).astype(int)
    )
    big_calls = np.repeat(
        [1, 0, 1, 0], np.rint(1e5 * np.array([tp, prevalence - tp, fp, 1 - prevalence - fp])).astype(int)
    )
    true = call_figures(big_labels, big_calls)
    for _ in range(600):
        labels = rng.random(n) < prevalence
        calls = rng.random(n) < np.where(labels, 0.75, 0.15)
        for name, one in call_figures(labels, calls).items():
            if not math.isnan(one.value):
                found[name].append(one.low <= true[name].value <= one.high)
    for name, covered in found.items():
        assert 0.92 <= np.mean(covered) <= 0.985, name


def test_copies_of_cases_leave_a_wilson_interval_where_it_was():
    rng = np.random.default_rng(2)
    labels = rng.random(80) < 0.4
    calls = rng.random(80) < np.where(labels, 0.8, 0.3)
    once = sensitivity(labels, calls)
    four = sensitivity(np.repeat(labels, 4), np.repeat(calls, 4), clusters=np.repeat(np.arange(80), 4))
    assert (four.low, four.high) == pytest.approx((once.low, once.high), abs=0.005)


def test_repeated_patients_widen_every_interval():
    rng = np.random.default_rng(3)
    labels = rng.random(100) < 0.4
    calls = rng.random(100) < np.where(labels, 0.8, 0.3)
    labels, calls, patients = np.repeat(labels, 4), np.repeat(calls, 4), np.repeat(np.arange(100), 4)
    naive, honest = call_figures(labels, calls), call_figures(labels, calls, clusters=patients)
    for name in CALL_FIGURES:
        assert (honest[name].high - honest[name].low) / (naive[name].high - naive[name].low) == pytest.approx(
            2, rel=0.13
        )
        assert "patient" in honest[name].method, name


@pytest.mark.parametrize("name", CALL_FIGURES)
def test_a_perfect_answer_is_not_called_certain(name):
    found = call_figures([0, 1, 1, 1, 0], [0, 1, 1, 1, 0])[name]
    assert found.value == found.high == 1
    assert found.low < 0.65


def test_a_worst_answer_is_not_called_certain():
    found = call_figures([0, 1, 0, 1], [1, 0, 1, 0])
    assert (found["mcc"].value, found["mcc"].low) == (-1, -1)
    assert found["mcc"].high > 0
    assert found["balanced_accuracy"].high > 0.3


@pytest.mark.parametrize(
    ("labels", "calls", "name", "why"),
    [
        ([0, 1, 1], [0, 0, 0], "ppv", "no such case"),
        ([0, 1, 1], [1, 1, 1], "npv", "no such case"),
        ([1, 1, 1], [1, 0, 1], "specificity", "no such case"),
        ([1, 1, 1], [1, 0, 1], "balanced_accuracy", "a class is absent"),
        ([1, 1, 1], [1, 0, 1], "mcc", "a class is absent"),
        ([0, 1, 1], [0, 0, 0], "mcc", "every case is called alike"),
        ([0, 0], [0, 0], "f1", "no such case"),
    ],
)
def test_what_the_cases_leave_undefined_is_said_to_be(labels, calls, name, why):
    found = call_figures(labels, calls)[name]
    assert math.isnan(found.value)
    assert why in found.method


def test_f1_is_zero_where_nothing_is_found():
    assert f1([0, 1, 1], [0, 0, 0]).value == 0
    assert f1([0, 1, 1], [0, 0, 0]).high > 0.3


def test_n_counts_the_cases_a_share_is_taken_of():
    assert (sensitivity([0, 1, 1, 1], [0, 1, 1, 0]).n, specificity([0, 1, 1, 1], [0, 1, 1, 0]).n) == (3, 1)
    assert accuracy([0, 1, 1, 1], [0, 1, 1, 0]).n_positive == 3
