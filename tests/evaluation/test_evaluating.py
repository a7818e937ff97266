"""What an evaluation holds beside its metrics: operating points, tests, promises, subgroups."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from medfuse.errors import LabelError, ManifestError
from medfuse.evaluation import (
    EvaluationPlan,
    OperatingRule,
    conformal_sets,
    delong_test,
    evaluate,
    fit_conformal,
    fit_venn_abers,
    holm,
    read_free_columns,
    venn_abers_interval,
)
from medfuse.evaluation.calls import call_figures
from medfuse.evaluation.evaluation import METRICS


def predictions(n=160, *, seed=0, folds=2, validation=True):
    rng = np.random.default_rng(seed)
    rows = []
    for split in ("test", "validation") if validation else ("test",):
        labels = rng.random(n) < 0.4
        image, text = rng.normal(size=n) + 0.8 * labels, rng.normal(size=n) + 1.4 * labels
        for condition, x in {"image": image, "text": text, "fused": image + text}.items():
            p = 1 / (1 + np.exp(-x + 1))
            rows += [
                (f"{split}{i}", f"{split}P{i // 2}", split, (i // 2) % folds, condition, "yes", p[i], int(labels[i]))
                for i in range(n)
            ]
    names = ["case_id", "patient_key", "split", "fold", "condition", "class", "probability", "label"]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture(scope="module")
def table():
    return predictions()


@pytest.fixture(scope="module")
def found(table):
    columns = pd.DataFrame({"site": ["north", "south"] * 80}, index=[f"test{i}" for i in range(160)])
    return evaluate(table, columns=columns)


def rows_of(table, condition, split="test"):
    rows = table[(table.condition == condition) & (table.split == split)]
    return rows.label.to_numpy(), rows.probability.to_numpy(), rows.patient_key.to_numpy()


def test_every_condition_and_baseline_has_every_metric(found):
    for figures in (*found.metrics.values(), *found.baselines.values()):
        assert tuple(figures) == METRICS
    assert math.isnan(found.baselines["prevalence"]["calibration_slope"].value)


def test_the_first_operating_point_is_the_locked_one_that_the_metrics_use(found, table):
    for condition, points in found.operating_points.items():
        assert [point.rule.name for point in points] == ["youden", "sensitivity_0.9", "net_benefit_0.1"]
        assert found.thresholds[condition] == points[0].words
        assert len(points[0].thresholds) == 2  # one a fold
        for name, figure in points[0].figures.items():
            assert found.metrics[condition][name] == figure
        counts = points[0].confusion
        assert counts.true_positive + counts.false_negative == found.n_positive
    sensitive = found.operating_points["fused"][1].figures["sensitivity"].value
    assert sensitive > 0.8 and sensitive >= found.metrics["fused"]["sensitivity"].value


def test_a_given_threshold_is_locked_and_the_rules_still_follow(table):
    found = evaluate(table, plan=EvaluationPlan(thresholds={"fused": 0.3}, rules=(OperatingRule("f1"),)))
    points = found.operating_points["fused"]
    assert [point.rule.name for point in points] == ["given_0.3", "f1"]
    labels, p, patients = rows_of(table, "fused")
    assert points[0].figures == call_figures(labels, p >= 0.3, clusters=patients)
    assert [point.rule.name for point in found.operating_points["image"]] == ["f1"]


def test_curves_are_sklearn_s(found, table):
    labels, p, _ = rows_of(table, "fused")
    curves = found.curves["fused"]
    theirs = roc_curve(labels, p, drop_intermediate=False)
    assert curves.false_positive_rate == pytest.approx(theirs[0])
    assert curves.true_positive_rate == pytest.approx(theirs[1])
    precision, recall, _ = precision_recall_curve(labels, p)
    assert curves.recall == pytest.approx(recall[-2::-1])
    assert curves.precision == pytest.approx(precision[-2::-1])
    assert curves.decision.net_benefit.shape == (99,)
    error = 1 - found.metrics["fused"]["accuracy"].value
    assert curves.abstention.error[0] == pytest.approx(error)


def test_long_curves_are_thinned_and_keep_their_ends():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 9000)
    curves = evaluate(pd.DataFrame({"case_id": range(9000), "probability": rng.random(9000), "label": labels})).curves
    found = curves["model"]
    assert found.recall.size == found.false_positive_rate.size == 2000
    assert (found.false_positive_rate[0], found.true_positive_rate[-1], found.recall[-1]) == (0, 1, 1)


def test_differences_are_tested_in_every_way_and_corrected_for_their_number(found):
    rivals = [name for name in found.comparisons if name != "lift"]
    assert set(found.paired) == set(found.p_holm) == set(found.detectable) == set(rivals)
    assert list(found.p_holm.values()) == holm([found.comparisons[name].p_value for name in rivals])
    for name in rivals:
        assert found.paired[name]["auroc_delong"] == found.comparisons[name]
        assert 0 < found.detectable[name] < 0.5


def test_sets_and_intervals_are_fitted_on_the_validation_cases_of_the_same_fold(found, table):
    held, ends = [], []
    for fold in (0, 1):
        inside = table[table.fold == fold]
        labels, p, patients = rows_of(inside, "fused", "validation")
        new_labels, new, _ = rows_of(inside, "fused")
        rule = fit_conformal(labels, np.stack([1 - p, p], 1), coverage=0.9, by_class=True, clusters=patients)
        sets = conformal_sets(np.stack([1 - new, new], 1), rule)
        held += list(sets[np.arange(len(new)), new_labels])
        ends += list(np.stack(venn_abers_interval(new, fit_venn_abers(labels, p)), axis=1))
    assert found.sets["fused"].coverage.value == pytest.approx(np.mean(held))
    assert found.sets["fused"].by_class and found.sets["fused"].n_calibration == 80
    assert set(found.sets["fused"].class_coverage) == {"not yes", "yes"}
    mean_low, mean_high = np.mean(ends, axis=0)
    assert (found.intervals["fused"].mean_low, found.intervals["fused"].mean_high) == pytest.approx(
        (mean_low, mean_high)
    )
    assert mean_low < found.intervals["fused"].observed.value < mean_high


def test_without_validation_cases_nothing_is_promised():
    found = evaluate(predictions(validation=False))
    assert found.sets == {} and found.intervals == {}
    assert found.operating_points["fused"][0].rule == OperatingRule("fixed", 0.5)


def test_a_fold_whose_validation_cases_are_of_one_class_is_named(table):
    poor = table.copy()
    poor.loc[(poor.split == "validation") & (poor.fold == 1), "label"] = 0
    with pytest.raises(LabelError, match="validation cases of 'image' in fold 1: found one class only"):
        evaluate(poor)


def test_missing_modalities_lead_from_fused_to_the_other_alone(found, table):
    assert set(found.missing) == {"image", "text"}
    labels, fused, patients = rows_of(table, "fused")
    image = rows_of(table, "image")[1]
    curve = found.missing["text"]
    assert curve[0].area.value == pytest.approx(found.metrics["fused"]["auroc"].value)
    assert curve[-1].area.value == pytest.approx(found.metrics["image"]["auroc"].value)
    expected = delong_test(labels, fused, image, clusters=patients)
    assert (curve[0].against.low, curve[0].against.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_subgroups_are_of_the_main_condition(found):
    (factor,) = found.subgroups
    assert (factor.column, factor.condition) == ("site", "fused")
    assert [group.name for group in factor.groups] == ["north", "south"]
    assert sum(group.n for group in factor.groups) == found.n


def test_columns_unknown_of_a_case_are_missing_and_twice_known_are_refused(table):
    columns = pd.DataFrame({"site": ["north", "south"] * 40}, index=[f"test{i}" for i in range(80)])
    (factor,) = evaluate(table, columns=columns).subgroups
    assert (factor.n_missing, factor.groups[-1].name) == (80, "")
    with pytest.raises(ManifestError, match="a case twice"):
        evaluate(table, columns=pd.concat([columns, columns]))


def test_free_columns_of_a_file_make_subgroups(tmp_path, table):
    wide = table.assign(site=np.where(table.case_id.str[-1] < "5", "north", "south"))
    wide.to_csv(tmp_path / "p.csv", index=False)
    columns = read_free_columns(tmp_path / "p.csv")
    assert columns.columns.tolist() == ["site"]
    assert evaluate(wide, columns=columns).subgroups[0].column == "site"
    table.to_csv(tmp_path / "q.csv", index=False)
    assert read_free_columns(tmp_path / "q.csv").columns.tolist() == []


def test_what_was_left_out_is_counted_by_reason(table):
    gaps = table.astype({"label": object})
    gaps.loc[gaps.case_id.isin(["test0", "test1"]), "label"] = None
    gaps = gaps[~((gaps.case_id == "test2") & (gaps.condition == "text"))]
    half = pd.Series(0.5, index=[f"test{i}" for i in range(100)])
    found = evaluate(gaps, baselines={"diameter": half})
    assert found.left_out == {"no_label": 2, "not_under_every_condition": 1, "unknown_to_baseline": 60}
    assert found.n == 97 and found.n_folds == 2
    assert sum("left out" in note for note in found.notes) == 3


def test_json_names_every_part_and_holds_only_finite_numbers(found):
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["prevalence"]["calibration_slope"]["value"] is None
    assert content["paired"]["fused - image"]["accuracy"]["p_value"] > 0
    assert content["operating_points"]["fused"][0]["rule"] == {"criterion": "youden", "aim": None}
    assert content["subgroups"][0]["groups"][0]["figures"]["auroc"]["value"] > 0.5
    assert "curves" not in content and content["lift"]["value"] == content["comparisons"]["fused - text"]["value"]


def test_any_condition_may_be_the_one_that_others_are_compared_with(table):
    models = table.replace({"condition": {"fused": "ours", "image": "theirs", "text": "oldest"}})
    assert evaluate(models).comparisons == {}
    found = evaluate(models, plan=EvaluationPlan(reference="ours"))
    assert set(found.comparisons) == set(found.paired) == {"ours - theirs", "ours - oldest"}
    labels, ours, patients = rows_of(models, "ours")
    expected = delong_test(labels, ours, rows_of(models, "theirs")[1], clusters=patients)
    assert found.comparisons["ours - theirs"].p_value == pytest.approx(expected.p_value)
    assert found.better_single == "" and "lift" not in found.comparisons
