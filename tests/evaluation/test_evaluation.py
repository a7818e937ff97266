import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medfuse.errors import DataError, LabelError, ManifestError, UsageError
from medfuse.evaluation import EvaluationPlan, choose_threshold, delong_test, evaluate


def predictions(n=200, *, seed=0, folds=2, validation=False):
    rng = np.random.default_rng(seed)
    rows = []
    for split in ("test", "validation") if validation else ("test",):
        for i in range(n):
            label = int(rng.random() < 0.4)
            image, text = rng.normal() + 0.8 * label, rng.normal() + 1.4 * label
            for condition, x in {"image": image, "text": text, "fused": image + text}.items():
                p = 1 / (1 + np.exp(-x + 1))
                rows.append(
                    (
                        f"{split}{i}",
                        f"{split}P{i // 2}",
                        split,
                        (i // 2) % folds,
                        condition,
                        "malignancy",
                        "yes",
                        p,
                        label,
                    )
                )
    names = [
        "case_id",
        "patient_key",
        "split",
        "fold",
        "condition",
        "target",
        "class",
        "probability",
        "label",
    ]
    return pd.DataFrame(rows, columns=names)


def column(table, condition, split="test"):
    rows = table[(table.condition == condition) & (table.split == split)]
    return rows.label.to_numpy(), rows.probability.to_numpy(), rows.patient_key.to_numpy()


def test_lift_is_fused_minus_the_better_single_modality_paired_by_patient():
    table = predictions()
    result = evaluate(table)
    labels, fused, patients = column(table, "fused")
    text = column(table, "text")[1]
    assert result.better_single == "text"
    lift, expected = result.comparisons["lift"], delong_test(labels, fused, text, clusters=patients)
    figures = (lift.difference, lift.low, lift.high, lift.p_value)
    assert figures == pytest.approx((expected.difference, expected.low, expected.high, expected.p_value))
    assert result.comparisons["fused - image"].difference > result.comparisons["lift"].difference > 0
    assert result.metrics["image"]["auroc"].value == pytest.approx(roc_auc_score(*column(table, "image")[:2]))
    assert (result.n, result.n_positive, result.n_patients) == (200, labels.sum(), 100)


def test_json_has_the_shape_of_the_results_of_record():
    table = predictions()
    diameter = pd.Series(np.linspace(0, 1, 200), index=[f"test{i}" for i in range(200)])
    written = json.loads(json.dumps(evaluate(table, baselines={"diameter": diameter}).to_json(), allow_nan=False))
    for condition in ("image", "text", "fused", "diameter"):
        figure = written[condition]["auroc"]
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert written["lift"]["low"] <= written["lift"]["value"] <= written["lift"]["high"]
    assert (written["n"], written["prevalence"]["auroc"]["value"]) == (200, 0.5)
    assert "fused - diameter" in written["comparisons"]


def test_row_order_changes_nothing():
    table = predictions()
    shuffled = table.sample(frac=1, random_state=1)
    assert evaluate(table).to_json() == evaluate(shuffled).to_json()


def test_thresholds_come_from_the_validation_cases_of_the_same_fold_and_never_from_test_cases():
    table = predictions(validation=True)
    result = evaluate(table)
    right = []
    for fold in (0, 1):
        inside = table[table.fold == fold]
        cut = choose_threshold(*column(inside, "fused", "validation")[:2])
        labels, p, _ = column(inside, "fused")
        right += list((p >= cut) == labels)
    assert result.metrics["fused"]["accuracy"].value == pytest.approx(np.mean(right))
    assert "validation" in result.thresholds["fused"]
    assert result.n == 200


def test_a_patient_in_validation_and_test_of_one_fold_is_refused():
    table = predictions(validation=True)
    leaked = table.assign(patient_key=table.patient_key.str.replace("validation", "test"))
    with pytest.raises(DataError, match="validation / test: found 50 patients in both"):
        evaluate(leaked)


def test_without_validation_cases_the_threshold_is_the_given_one_or_a_half():
    table = predictions()
    labels, p, _ = column(table, "fused")
    result = evaluate(table, plan=EvaluationPlan(thresholds={"fused": 0.3}))
    assert result.metrics["fused"]["sensitivity"].value == pytest.approx((p >= 0.3)[labels == 1].mean())
    assert result.thresholds == {
        "fused": "0.300, given",
        "image": "0.5, fixed in advance",
        "text": "0.5, fixed in advance",
    }


def test_cases_unknown_to_a_baseline_leave_every_figure():
    half = pd.Series(0.5, index=[f"test{i}" for i in range(150)])
    result = evaluate(predictions(), baselines={"diameter": half})
    assert result.n == result.metrics["image"]["auroc"].n == 150
    assert "50 cases left out: unknown to a baseline." in result.notes


def test_baselines_among_the_conditions_are_baselines_and_never_conditions():
    table = predictions()
    noise = table[table.condition == "image"].assign(condition="baseline_diameter", probability=0.5)
    result = evaluate(pd.concat([table, noise]))
    assert set(result.metrics) == {"image", "text", "fused"}
    assert result.to_json()["diameter"]["auroc"]["value"] == 0.5
    assert "fused - diameter" in result.comparisons


def test_rows_of_both_classes_give_the_figures_of_the_positive_one():
    table = predictions()
    other = table.assign(**{"class": "no", "probability": 1 - table.probability, "label": 1 - table.label})
    both = pd.concat([other, table])
    assert evaluate(both).metrics == evaluate(table).metrics
    assert evaluate(both).positive == "yes"


def test_any_models_least_table_is_evaluated():
    table = pd.DataFrame(
        {
            "case_id": list("abcdef"),
            "probability": [0.1, 0.6, 0.3, 0.4, 0.8, 0.9],
            "label": [0, 0, 0, 1, 1, 1],
        }
    )
    result = evaluate(table)
    assert result.comparisons == {} and result.better_single == ""
    assert result.metrics["model"]["auroc"].method == "logit-DeLong 95%"


def test_one_class_or_no_test_split_is_refused():
    table = predictions()
    with pytest.raises(LabelError, match="200 positive and 0 negative"):
        evaluate(table.assign(label=1))
    with pytest.raises(ManifestError, match="none 'test'"):
        evaluate(table.assign(split="train"))


def test_names_that_cannot_be_used_are_refused():
    table = predictions()
    with pytest.raises(UsageError, match="thresholds"):
        evaluate(table, plan=EvaluationPlan(thresholds={"fuse": 0.5}))
    with pytest.raises(UsageError, match="'lift'"):
        evaluate(table.replace({"condition": {"text": "lift"}}))
    with pytest.raises(UsageError, match="baselines"):
        evaluate(table, baselines={"image": pd.Series(dtype=float)})


def test_a_control_condition_is_reported_but_never_the_better_single_modality():
    table = predictions()
    control = table[table.condition == "fused"].assign(condition="fused_shuffled")
    result = evaluate(pd.concat([table, control]))
    assert result.better_single == "text"
    assert result.comparisons["fused - fused_shuffled"].difference == 0
