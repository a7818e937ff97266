import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse.errors import LabelError, UsageError
from medfuse.evaluation import choose_threshold, sensitivity, specificity
from medfuse.evaluation.plan import EvaluationPlan, OperatingRule

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=40).filter(
    lambda r: len({a for a, _ in r}) == 2
)


@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from([0.5, 0.9, 1.0]))
def test_a_fixed_sensitivity_is_reached_and_no_higher_cut_reaches_it(found, aim):
    labels, p = np.array([r[0] for r in found]), np.array([r[1] / 12 for r in found])
    cut = choose_threshold(labels, p, criterion="sensitivity", aim=aim)
    assert (p >= cut)[labels].mean() >= aim - 1e-12
    higher = [each for each in np.unique(p) if each > cut and (p >= each).sum() < (p >= cut).sum()]
    assert all((p >= each)[labels].mean() < aim for each in higher)


@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from([0.5, 0.9]))
def test_a_fixed_specificity_is_reached_and_no_lower_cut_reaches_it(found, aim):
    labels, p = np.array([r[0] for r in found]), np.array([min(r[1] / 13, 0.95) for r in found])
    cut = choose_threshold(labels, p, criterion="specificity", aim=aim)
    assert (p < cut)[~labels].mean() >= aim - 1e-12
    lower = [each for each in np.unique(p) if each <= cut and (p >= each).sum() > (p >= cut).sum()]
    assert all((p < each)[~labels].mean() < aim for each in lower)


@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from([0.05, 0.2, 0.5]))
def test_no_cut_has_more_net_benefit(found, aim):
    labels, p = np.array([r[0] for r in found]), np.array([r[1] / 12 for r in found])

    def benefit(cut):
        called = p >= cut
        return (called & labels).mean() - (called & ~labels).mean() * aim / (1 - aim)

    best = max(benefit(each) for each in np.unique(p))
    assert benefit(choose_threshold(labels, p, criterion="net_benefit", aim=aim)) == pytest.approx(best)


def test_of_calibrated_probabilities_the_best_net_benefit_lies_at_its_own_odds():
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    cut = choose_threshold(rng.random(100_000) < p, p, criterion="net_benefit", aim=0.2)
    assert cut == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("criterion", ["youden", "f1"])
def test_of_equally_good_cuts_the_one_nearest_a_half_is_taken(criterion):
    """Youden's index is equally great at 0.1 and at 0.75."""
    labels, p = (
        ([0, 1, 0, 1], [0.05, 0.15, 0.6, 0.9]) if criterion == "youden" else ([1, 0, 1, 1], [0.1, 0.2, 0.3, 0.6])
    )
    cut = choose_threshold(labels, p, criterion=criterion)
    assert cut == {"youden": 0.75, "f1": 0.1}[criterion]


def test_an_aim_of_nothing_is_reached_by_any_cut():
    labels, p = [0, 1, 0, 1], [0.125, 0.375, 0.625, 0.875]
    assert choose_threshold(labels, p, criterion="specificity", aim=0.0) == 0.125
    assert choose_threshold(labels, p, criterion="sensitivity", aim=0.0) == 0.75


def test_sensitivity_and_specificity_trade():
    rng = np.random.default_rng(1)
    labels = rng.random(500) < 0.4
    p = 1 / (1 + np.exp(-rng.normal(size=500) - labels))
    calls = [p >= choose_threshold(labels, p, criterion="sensitivity", aim=aim) for aim in (0.7, 0.95)]
    assert sensitivity(labels, calls[0]).value < sensitivity(labels, calls[1]).value
    assert specificity(labels, calls[0]).value > specificity(labels, calls[1]).value


def test_one_class_has_no_best_threshold():
    with pytest.raises(LabelError, match="0 positive"):
        choose_threshold([0, 0], [0.1, 0.2])


@pytest.mark.parametrize(
    ("criterion", "aim", "said"),
    [
        ("yuden", None, "did you mean 'youden'"),
        ("youden", 0.5, "expected no aim"),
        ("sensitivity", None, "a number in [0, 1]"),
        ("sensitivity", 90, "found the aim 90"),
        ("net_benefit", 1.0, "found the aim 1.0"),
        ("given", 0.5, "chosen on cases"),
    ],
)
def test_a_rule_that_is_none_is_refused(criterion, aim, said):
    with pytest.raises(UsageError) as refused:
        choose_threshold([0, 1], [0.1, 0.2], criterion=criterion, aim=aim)
    assert said in str(refused.value)


def test_a_plan_out_of_range_is_refused():
    with pytest.raises(UsageError, match="plan level: found 95"):
        EvaluationPlan(level=95)
    with pytest.raises(UsageError, match="plan rules"):
        EvaluationPlan(rules=())
    assert EvaluationPlan().rules[0] == OperatingRule("youden")
