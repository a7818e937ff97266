"""Sets that leave little to say: a clear answer or a clear error, never a warning or a traceback."""

import math
import time

import numpy as np
import pandas as pd
import pytest

from medfuse.errors import DataError, LabelError, ManifestError, MedfuseError
from medfuse.evaluation import (
    auprc,
    auroc,
    bootstrap_auroc,
    brier,
    calibration_curve,
    calibration_intercept,
    calibration_slope,
    choose_threshold,
    decision_curve,
    delong_test,
    ece,
    evaluate,
    evaluate_targets,
    log_loss,
)

FIGURES = (auroc, auprc, brier, log_loss, ece, calibration_slope, calibration_intercept, bootstrap_auroc)


def table(labels, p, **columns):
    return pd.DataFrame({"case_id": range(len(labels)), "probability": p, "label": labels, **columns})


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused_with_both_counts(label):
    with pytest.raises(LabelError, match=rf"found {3 * label} positive and {3 - 3 * label} negative cases"):
        evaluate(table([label] * 3, [0.1, 0.5, 0.9]))
    for figure in (auroc, auprc, bootstrap_auroc, choose_threshold):
        with pytest.raises(LabelError, match="at least one of each"):
            figure([label] * 3, [0.1, 0.5, 0.9])


@pytest.mark.parametrize(
    ("labels", "p"),
    [
        ([0, 1, 1], [0.2, 0.6, 0.7]),  # three cases, told apart
        ([0, 1, 1], [0.9, 0.6, 0.7]),  # the wrong way round
        ([0, 1], [0.5, 0.5]),  # two cases, one score
        ([0, 0, 1, 1, 0, 1], [0.5] * 6),  # a constant
        ([0, 0, 1, 1, 0, 1], [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]),  # all ties at both ends
        ([1, 0, 0, 0, 0, 0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),  # one positive case, called with certainty
    ],
)
def test_few_cases_and_ties_give_an_answer_whose_intervals_hold_it(labels, p):
    found = evaluate(table(labels, p))
    for figures in (*found.metrics.values(), *found.baselines.values()):
        for name, one in figures.items():
            assert math.isnan(one.value) == one.method.startswith("undefined"), name
            assert math.isnan(one.value) or one.low <= one.value <= one.high, name
    for figure in FIGURES:
        assert figure(labels, p).n == len(labels)


def test_three_cases_under_three_conditions_are_compared():
    rows = [
        (c, k, p, label)
        for k, ps in {"image": (0.2, 0.6, 0.7), "text": (0.5, 0.5, 0.5), "fused": (0.1, 0.8, 0.9)}.items()
        for c, p, label in zip("abc", ps, (0, 1, 1), strict=True)
    ]
    found = evaluate(pd.DataFrame(rows, columns=["case_id", "condition", "probability", "label"]))
    assert found.comparisons["lift"].difference == 0
    assert found.paired["fused - text"]["accuracy"].p_value == 1
    assert found.comparisons["fused - text"].low < 0 < found.comparisons["fused - text"].high


def test_one_patient_of_many_cases_says_little():
    rng = np.random.default_rng(0)
    found = evaluate(table(np.arange(40) % 2, rng.random(40), patient_key="p"))
    area = found.metrics["model"]["auroc"]
    assert found.n_patients == 1
    assert area.method.startswith("Newcombe")
    assert math.isnan(found.metrics["model"]["calibration_slope"].value)


def test_what_is_no_number_is_refused_by_row_and_column():
    with pytest.raises(ManifestError, match="row 3, probability: found no finite number"):
        evaluate(table([0, 1, 1], [0.1, float("nan"), 0.3]))
    with pytest.raises(ManifestError, match="row 4, probability: found no finite number"):
        evaluate(table([0, 1, 1], [0.1, 0.2, float("inf")]))
    for figure in FIGURES:
        with pytest.raises(DataError, match="1 of 3"):
            figure([0, 1, 1], [0.1, float("nan"), 0.3])


def test_labels_that_are_all_unknown_are_refused():
    with pytest.raises(LabelError, match="no labelled case"):
        evaluate(table([None] * 3, [0.1, 0.2, 0.3]))


def test_an_empty_table_is_refused():
    with pytest.raises(ManifestError, match="found no row"):
        evaluate(table([], []))
    with pytest.raises(MedfuseError):
        evaluate_targets(table([], []))


@pytest.mark.slow
def test_ten_million_scores_are_answered():
    rng = np.random.default_rng(0)
    labels = rng.random(10_000_000) < 0.3
    scores = rng.random(10_000_000) * 0.5 + 0.4 * labels * rng.random(10_000_000)
    started = time.process_time()
    area = auroc(labels, scores)
    test = delong_test(labels, scores, scores**2 * 0.9 + 0.1 * scores)
    found = [figure(labels, scores) for figure in (auprc, brier, ece, calibration_slope)]
    curve, bins = decision_curve(labels, scores), calibration_curve(labels, scores)
    assert time.process_time() - started < 120
    assert area.high - area.low < 0.001
    assert test.difference == pytest.approx(0, abs=1e-12)
    assert all(one.low < one.value < one.high for one in found)
    assert curve.thresholds.size == 99 and len(bins) == 10
