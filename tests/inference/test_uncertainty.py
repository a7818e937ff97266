from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medfuse.errors import BundleError
from medfuse.evaluation import conformal_sets, venn_abers_interval
from medfuse.inference import Uncertainty, fit_uncertainty
from medfuse.inference.uncertainty import COVERAGE, INTERVAL_KIND, with_uncertainty
from medfuse.types import UNCERTAIN, CaseId, Prediction, Target

BINARY = Target("malignancy", "binary", ("no", "yes"))
THREE = Target("kind", "multiclass", ("a", "b", "c"))


def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    positive = rng.beta(0.8, 0.8, n)
    return (rng.random(n) < positive).astype(int), np.stack([1 - positive, positive], axis=1)


def fitted(n: int = 300, *, seed: int = 0) -> Uncertainty:
    labels, table = drawn(np.random.default_rng(seed), n)
    return fit_uncertainty(BINARY, labels.tolist(), table, [str(i) for i in range(n)])


def prediction(values: tuple[float, ...], target: Target = BINARY, **other: tuple[float, ...]) -> Prediction:
    probabilities = {"fused": values, **other}
    return Prediction(CaseId("S1", "1"), target.name, target.classes, probabilities, 0.5, ("image",), "m")


@given(seed=st.integers(0, 10), p=st.floats(0, 1))
def test_an_interval_holds_the_probability_and_both_classes_say_the_same(seed: int, p: float) -> None:
    [(no, yes)] = fitted(60, seed=seed).intervals_of(np.array([[1 - p, p]]))
    assert 0 <= yes[0] <= round(p, 6) <= yes[1] <= 1
    assert no == pytest.approx((1 - yes[1], 1 - yes[0]))


def test_an_interval_is_the_venn_abers_one_where_that_holds_the_probability() -> None:
    rule = fitted()
    table = drawn(np.random.default_rng(1), 200)[1]
    low, high = venn_abers_interval(table[:, 1].round(6), rule.intervals[0])
    inside = (low <= table[:, 1]) & (table[:, 1] <= high)
    found = np.array([row[1] for row in rule.intervals_of(table)])
    assert inside.mean() > 0.2
    assert found[inside] == pytest.approx(np.stack([low, high], axis=1)[inside])


def test_sets_hold_the_true_class_of_each_class_s_cases_as_often_as_promised() -> None:
    held: list[list[bool]] = [[], []]
    for seed in range(60):
        labels, table = drawn(np.random.default_rng(100 + seed), 100)
        for label, names in zip(labels, fitted(150, seed=seed).sets_of(table, BINARY.classes), strict=True):
            held[label].append(BINARY.classes[label] in names)
    for each in held:
        assert np.mean(each) == pytest.approx(COVERAGE, abs=0.02)


def test_a_rounding_error_changes_neither_interval_nor_set() -> None:
    labels, table = drawn(np.random.default_rng(3), 200)
    rule = fit_uncertainty(BINARY, labels.tolist(), table, [str(i) for i in range(200)])
    shaken = table.round(6) + np.random.default_rng(4).uniform(-1, 1, (200, 1)) * [[-1e-8, 1e-8]]
    assert rule.intervals_of(shaken) == rule.intervals_of(table.round(6))
    assert rule.sets_of(shaken, BINARY.classes) == rule.sets_of(table.round(6), BINARY.classes)


def test_several_classes_have_an_interval_each_and_a_set() -> None:
    rng = np.random.default_rng(0)
    table = rng.dirichlet([1, 1, 1], 200)
    labels = [int(rng.choice(3, p=row)) for row in table]
    rule = fit_uncertainty(THREE, labels, table, [str(i) for i in range(200)])
    assert len(rule.intervals) == 3
    for row, sides in zip(table, rule.intervals_of(table), strict=True):
        assert all(low <= round(p, 6) <= high for p, (low, high) in zip(row, sides, strict=True))
    expected = [tuple(np.array(THREE.classes)[row]) for row in conformal_sets(table.round(6), rule.sets)]
    assert rule.sets_of(table, THREE.classes) == expected


def test_validation_cases_that_lack_a_class_give_sets_but_no_interval() -> None:
    table = np.full((30, 2), 0.5)
    rule = fit_uncertainty(BINARY, [0] * 30, table, [str(i) for i in range(30)])
    assert rule.intervals == ()
    assert rule.intervals_of(table) == []
    [found] = with_uncertainty([prediction((0.4, 0.6))], BINARY, {"fused": rule})
    assert (found.interval, found.interval_kind, found.flags) == (None, "", ())
    assert found.prediction_set is not None
    assert "yes" in found.prediction_set


def test_predictions_get_the_rules_of_their_own_conditions() -> None:
    rules = {"fused": fitted(), "image": fitted(seed=1)}
    both, alone = prediction((0.3, 0.7), image=(0.45, 0.55), text=(0.5, 0.5)), prediction((0.9, 0.1))
    first, second = with_uncertainty([both, alone], BINARY, rules)
    assert set(first.intervals) == set(first.sets) == {"fused", "image"}
    assert set(second.intervals) == {"fused"}
    assert first.intervals["image"] == rules["image"].intervals_of(np.array([[0.45, 0.55]]))[0]
    assert (first.interval_kind, first.set_level) == (INTERVAL_KIND, COVERAGE)
    assert [with_uncertainty([one], BINARY, rules)[0] for one in (both, alone)] == [first, second]


def test_an_interval_that_reaches_over_the_threshold_is_flagged() -> None:
    rule = fitted()
    for p in np.linspace(0.01, 0.99, 50):
        [found] = with_uncertainty([prediction((1 - p, p))], BINARY, {"fused": rule})
        assert found.interval is not None
        low, high = found.interval
        assert (UNCERTAIN in found.flags) == (low < 0.5 <= high)


def test_an_answer_among_several_classes_is_flagged_where_another_may_be_as_probable() -> None:
    rng = np.random.default_rng(0)
    table = rng.dirichlet([1, 1, 1], 400)
    labels = [int(rng.choice(3, p=row)) for row in table]
    rule = fit_uncertainty(THREE, labels, table, [str(i) for i in range(400)])
    sure, open_one = with_uncertainty(
        [prediction((0.97, 0.02, 0.01), THREE), prediction((0.34, 0.33, 0.33), THREE)], THREE, {"fused": rule}
    )
    assert UNCERTAIN not in sure.flags
    assert UNCERTAIN in open_one.flags


def test_without_rules_a_prediction_is_left_as_it_is() -> None:
    one = prediction((0.3, 0.7))
    assert with_uncertainty([one], BINARY, {}) == [one]


def test_rules_of_some_classes_only_are_refused() -> None:
    rule = fitted()
    with pytest.raises(BundleError, match="rules of 2 classes"):
        Uncertainty((*rule.intervals, *rule.intervals), rule.sets)
