import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from medfuse.errors import DataError, LabelError
from medfuse.evaluation import VennAbersRule, fit_venn_abers, venn_abers_interval


def by_definition(labels, scores, new):
    """Two isotonic regressions a case: the definition, one case at a time."""
    ends = []
    for taken_as in (0, 1):
        x, y = np.append(scores, new), np.append(labels, taken_as)
        ends.append(float(IsotonicRegression().fit(x, y).predict([new])[0]))
    return ends


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 8))
def test_ends_are_two_isotonic_regressions_with_the_case_among_the_others(seed, n, n_distinct):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, n_distinct, size=n) / n_distinct
    labels = np.concatenate([[0, 1], rng.integers(0, 2, size=n - 2)])
    rule = fit_venn_abers(labels, scores)
    new = np.concatenate([np.unique(scores), [-0.5, 0.33, 0.51, 1.7]])
    low, high = venn_abers_interval(new, rule)
    expected = np.array([by_definition(labels, scores, each) for each in new])
    assert low == pytest.approx(expected[:, 0], abs=1e-9)
    assert high == pytest.approx(expected[:, 1], abs=1e-9)
    assert (low <= high).all()


def test_interval_narrows_with_cases_and_holds_the_true_probability():
    rng = np.random.default_rng(0)
    widths = []
    for n in (100, 1000, 10_000):
        logits = rng.normal(size=n)
        rule = fit_venn_abers(rng.random(n) < expit(logits), expit(3 * logits))  # far too sure
        low, high = venn_abers_interval(expit(3 * np.linspace(-1, 1, 9)), rule)
        widths.append(float((high - low).mean()))
    assert widths[0] > widths[1] > widths[2]
    middle = high / (1 - low + high)
    assert middle == pytest.approx(expit(np.linspace(-1, 1, 9)), abs=0.05)


def test_intervals_equal_those_of_the_package_venn_abers():
    with np.errstate():  # the package sets numpy's handling of errors for everyone as it is imported
        from venn_abers import VennAbers
    rng = np.random.default_rng(1)
    p = rng.random(500).round(2)
    labels, new = (rng.random(500) < p**2).astype(int), rng.random(300)
    peer = VennAbers()
    with np.errstate(divide="ignore", invalid="ignore"):
        peer.fit(np.stack([1 - p, p], axis=1), labels)
        merged, ends = peer.predict_proba(np.stack([1 - new, new], axis=1))
    low, high = venn_abers_interval(new, fit_venn_abers(labels, p))
    assert np.stack([low, high], axis=1) == pytest.approx(ends, abs=1e-12)
    assert high / (1 - low + high) == pytest.approx(merged[:, 1], abs=1e-12)


def test_a_hundred_thousand_cases_take_no_quadratic_time():
    rng = np.random.default_rng(2)
    p = rng.random(100_000)
    rule = fit_venn_abers(rng.random(100_000) < p, p)
    assert len(rule.scores) < 5_000  # only where an end steps


def test_a_rule_survives_json():
    import json
    from dataclasses import asdict

    rule = fit_venn_abers([0, 0, 1, 1, 0], [0.1, 0.2, 0.3, 0.4, 0.35])
    content = json.loads(json.dumps(asdict(rule)))
    again = VennAbersRule(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})
    assert again == rule


def test_one_class_is_refused():
    with pytest.raises(LabelError, match="2 positive and 0 negative"):
        fit_venn_abers([1, 1], [0.2, 0.8])


def test_a_constant_score_gives_one_interval_about_the_prevalence():
    rule = fit_venn_abers([0, 1, 0, 0], [0.5] * 4)
    low, high = venn_abers_interval([0.5], rule)
    assert (low[0], high[0]) == (pytest.approx(0.2), pytest.approx(0.4))


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="not finite"):
        venn_abers_interval([0.5, float("nan")], fit_venn_abers([0, 1], [0.2, 0.8]))


def test_values_that_are_no_steps_are_refused():
    with pytest.raises(DataError, match="no steps"):
        VennAbersRule((0.5,), (0.5, 0.2), (0.6, 0.9), 4, 2)
