import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, norm

from medfuse.errors import ManifestError
from medfuse.evaluation import auroc
from medfuse.evaluation.subgroups import SubgroupCases, subgroup_factors


def simulated(n, seed, *, gain=1.0):
    rng = np.random.default_rng(seed)
    site = np.array(["a", "b"])[rng.integers(0, 2, n)]
    labels = rng.random(n) < 0.5
    p = 1 / (1 + np.exp(-rng.normal(size=n) - np.where(site == "b", 1.2 * gain, 1.2) * labels + 0.6))
    return SubgroupCases(labels, p, p >= 0.5, np.arange(n)), site


def factor_of(cases, column, **options):
    (found,) = subgroup_factors(cases, pd.DataFrame({"column": column}), condition="fused", **options)
    return found


def test_figures_of_a_group_are_those_of_its_cases():
    cases, site = simulated(300, 0)
    found = factor_of(cases, site)
    for group in found.groups:
        inside = site == group.name
        assert (group.n, group.n_positive, group.n_patients) == (
            inside.sum(),
            cases.positive[inside].sum(),
            inside.sum(),
        )
        assert group.figures["auroc"] == auroc(cases.positive[inside], cases.probabilities[inside])
    assert [group.name for group in found.groups] == ["a", "b"]


def test_interaction_of_areas_is_the_test_of_two_independent_logits():
    cases, site = simulated(400, 1)
    estimates = [auroc(cases.positive[site == name], cases.probabilities[site == name]) for name in "ab"]
    logits = [np.log(e.value / (1 - e.value)) for e in estimates]
    errors = [(np.log(e.high / (1 - e.high)) - np.log(e.low / (1 - e.low))) / (2 * norm.ppf(0.975)) for e in estimates]
    expected = 2 * norm.sf(abs(logits[0] - logits[1]) / np.hypot(*errors))
    assert factor_of(cases, site).interaction["auroc"] == pytest.approx(expected, abs=0.01)


def test_interaction_of_sensitivities_is_pearson_s_chi_squared():
    cases, site = simulated(400, 2)
    positive = cases.positive
    table = [[((site == name) & positive & (cases.calls == call)).sum() for call in (True, False)] for name in "ab"]
    expected = chi2_contingency(table, correction=False).pvalue
    assert factor_of(cases, site).interaction["sensitivity"] == pytest.approx(expected)


def test_a_planted_difference_is_found_and_none_where_there_is_none():
    cases, site = simulated(2000, 3, gain=3.0)
    assert factor_of(cases, site).interaction["auroc"] < 1e-6
    alike = [factor_of(*simulated(200, 100 + seed)).interaction["auroc"] for seed in range(80)]
    assert np.mean(np.array(alike) < 0.1) == pytest.approx(0.1, abs=0.08)


def test_p_values_are_corrected_for_every_column_and_figure_asked_of():
    cases, site = simulated(300, 4)
    rng = np.random.default_rng(5)
    columns = pd.DataFrame({"site": site, "sex": rng.choice(["F", "M"], 300), "coin": rng.integers(0, 2, 300)})
    found = subgroup_factors(cases, columns, condition="fused")
    raw = [p for factor in found for p in factor.interaction.values()]
    corrected = [p for factor in found for p in factor.p_holm.values()]
    assert len(raw) == 9
    assert min(corrected) == pytest.approx(min(1, 9 * min(raw)))
    assert all(c >= r for c, r in zip(corrected, raw, strict=True))


def test_a_number_is_cut_into_thirds_in_rising_order_and_few_values_are_groups():
    cases, _ = simulated(300, 6)
    age = np.random.default_rng(7).integers(20, 90, 300)
    found = factor_of(cases, age)
    assert len(found.cuts) == 2
    first, middle, last = (group.name for group in found.groups)
    assert first == f"< {found.cuts[0]:g}" and last == f">= {found.cuts[1]:g}"
    assert middle == f"{found.cuts[0]:g} to < {found.cuts[1]:g}"
    assert [g.n for g in found.groups] == [
        (age < found.cuts[0]).sum(), ((age >= found.cuts[0]) & (age < found.cuts[1])).sum(), (age >= found.cuts[1]).sum(),
    ]  # fmt: skip
    grades = factor_of(cases, np.resize([2.0, 10.0, 1.0], 300))
    assert ([g.name for g in grades.groups], grades.cuts) == (["1", "2", "10"], ())


def test_missing_values_are_a_group_of_their_own_that_no_test_sees():
    cases, site = simulated(300, 8)
    column = pd.Series(site, dtype=object)
    column[::10] = None
    column[1::10] = "  "
    found = factor_of(cases, column)
    assert [group.name for group in found.groups] == ["a", "b", ""]
    assert found.n_missing == found.groups[-1].n == 60
    known = column.isin(["a", "b"]).to_numpy()
    kept = SubgroupCases(cases.positive[known], cases.probabilities[known], cases.calls[known], np.arange(known.sum()))
    assert found.interaction == pytest.approx(factor_of(kept, column[known]).interaction)


def test_columns_that_make_no_groups_are_left_out():
    cases, _ = simulated(60, 9)
    columns = pd.DataFrame({"same": "x", "name": [f"n{i}" for i in range(60)], "none": [None] * 60})
    assert subgroup_factors(cases, columns, condition="fused") == ()


def test_a_group_of_one_class_or_one_case_has_no_area_and_is_in_no_test_of_areas():
    cases, site = simulated(200, 10)
    column = np.where(np.arange(200) == 0, "lonely", np.where(cases.positive & (site == "a"), "sick", "other"))
    found = factor_of(cases, column)
    by_name = {group.name: group for group in found.groups}
    assert "auroc" not in by_name["lonely"].figures and "auroc" not in by_name["sick"].figures
    assert math.isnan(found.interaction["auroc"]) and math.isnan(found.p_holm["auroc"])
    assert math.isnan(by_name["sick"].figures["specificity"].value)


def test_repeated_patients_weaken_the_evidence():
    cases, site = simulated(200, 11, gain=2.0)
    many = SubgroupCases(*(np.repeat(x, 4) for x in (cases.positive, cases.probabilities, cases.calls)), np.arange(800))
    honest = SubgroupCases(many.positive, many.probabilities, many.calls, np.repeat(np.arange(200), 4))
    once, clustered = factor_of(cases, site), factor_of(honest, np.repeat(site, 4))
    assert clustered.interaction["auroc"] == pytest.approx(once.interaction["auroc"], rel=0.05)
    assert clustered.interaction["sensitivity"] == pytest.approx(once.interaction["sensitivity"], abs=0.02)
    assert factor_of(many, np.repeat(site, 4)).interaction["auroc"] < clustered.interaction["auroc"]


def test_columns_of_other_cases_are_refused():
    cases, site = simulated(50, 12)
    with pytest.raises(ManifestError, match="found 49 rows"):
        subgroup_factors(cases, pd.DataFrame({"site": site[:-1]}), condition="fused")
