"""Targets of every kind against scikit-learn."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn import metrics as reference

from medfuse.errors import ManifestError
from medfuse.evaluation import EvaluationPlan, evaluate, evaluate_targets
from medfuse.types import Target

CLASSES = ("small", "middle", "large")


def exclusive(n=240, *, seed=0, conditions=("image", "text", "fused"), validation=False):
    rng = np.random.default_rng(seed)
    rows, truth, answers = [], {}, {}
    for split in ("test", "validation") if validation else ("test",):
        truth[split] = rng.integers(0, 3, n)
        for strength, condition in enumerate(conditions, start=1):
            logits = rng.normal(size=(n, 3)) + 0.8 * strength * np.eye(3)[truth[split]]
            p = answers[split, condition] = softmax(logits, axis=1)
            rows += [
                (f"{split}{i}", f"{split}P{i // 2}", split, condition, "size", name, p[i, k], int(truth[split][i] == k))
                for i in range(n)
                for k, name in enumerate(CLASSES)
            ]
    names = ["case_id", "patient_key", "split", "condition", "target", "class", "probability", "label"]
    return pd.DataFrame(rows, columns=names), truth["test"], answers


def labels_table(n=200, *, seed=1, blank=0.2):
    rng = np.random.default_rng(seed)
    rows = []
    for name, rate in (("effusion", 0.4), ("nodule", 0.2), ("edema", 0.3)):
        truth = rng.random(n) < rate
        p = 1 / (1 + np.exp(-rng.normal(size=n) - 1.3 * truth + 1))
        known = rng.random(n) >= blank
        rows += [(f"c{i}", name, p[i], int(truth[i]) if known[i] else None) for i in range(n)]
    return pd.DataFrame(rows, columns=["case_id", "class", "probability", "label"])


def test_figures_of_exclusive_classes_equal_sklearn_s():
    table, truth, answers = exclusive()
    found = evaluate_targets(table)["size"]
    assert (found.kind, found.classes, found.n, found.n_patients) == ("multiclass", CLASSES, 240, 120)
    for condition in ("image", "text", "fused"):
        p = answers["test", condition]
        called = p.argmax(axis=1)
        expected = {
            "macro_auroc": reference.roc_auc_score(truth, p, multi_class="ovr", average="macro"),
            "macro_auprc": reference.average_precision_score(np.eye(3)[truth], p, average="macro"),
            "accuracy": reference.accuracy_score(truth, called),
            "balanced_accuracy": reference.balanced_accuracy_score(truth, called),
            "macro_f1": reference.f1_score(truth, called, average="macro"),
            "mcc": reference.matthews_corrcoef(truth, called),
            "log_loss": reference.log_loss(truth, p),
            "brier": ((p - np.eye(3)[truth]) ** 2).sum(axis=1).mean(),
        }
        figures = found.overall[condition]
        assert set(figures) == set(expected)
        for name, value in expected.items():
            assert figures[name].value == pytest.approx(value, abs=1e-9), name
            assert figures[name].low < value < figures[name].high
            assert "patient" in figures[name].method
        assert found.confusion[condition].tolist() == reference.confusion_matrix(truth, called).tolist()


def test_ordinal_classes_have_figures_of_their_order_and_keep_the_order_given():
    table, truth, answers = exclusive(conditions=("model",))
    shuffled = table.sample(frac=1, random_state=0)
    target = Target("size", "ordinal", CLASSES)
    found = evaluate_targets(shuffled, targets=[target])["size"]
    assert (found.kind, found.classes) == ("ordinal", CLASSES)
    p = answers["test", "model"]
    figures, called = found.overall["model"], p.argmax(axis=1)
    assert figures["quadratic_kappa"].value == pytest.approx(
        reference.cohen_kappa_score(truth, called, weights="quadratic")
    )
    assert figures["mean_absolute_error"].value == pytest.approx(np.abs(truth - called).mean())
    steps = (p - np.eye(3)[truth]).cumsum(axis=1)[:, :2]
    assert figures["ranked_probability_score"].value == pytest.approx((steps**2).mean())


def test_each_class_against_the_rest_has_the_nouns_of_a_binary_target():
    table, truth, answers = exclusive()
    found = evaluate_targets(table)["size"]
    assert tuple(found.by_class) == CLASSES
    for k, name in enumerate(CLASSES):
        one = found.by_class[name]
        expected = reference.roc_auc_score(truth == k, answers["test", "fused"][:, k])
        assert one.metrics["fused"]["auroc"].value == pytest.approx(expected)
        assert (one.positive, one.n_positive) == (name, (truth == k).sum())


def test_macro_lift_is_paired_and_narrower_than_two_intervals_apart():
    table, _, _ = exclusive()
    found = evaluate_targets(table)["size"]
    assert found.better_single == "text"
    lift = found.comparisons["lift"]
    areas = [found.overall[name]["macro_auroc"] for name in ("fused", "text")]
    assert lift.difference == pytest.approx(areas[0].value - areas[1].value)
    assert lift.low < lift.difference < lift.high
    assert set(found.comparisons) == {"lift", "fused - image", "fused - text"}


def test_labels_are_each_evaluated_where_they_are_known_and_their_mean_over_all():
    table = labels_table()
    found = evaluate_targets(table)[""]
    assert found.kind == "multilabel"
    areas = []
    for name in ("effusion", "nodule", "edema"):
        rows = table[(table["class"] == name) & table.label.notna()]
        areas.append(reference.roc_auc_score(rows.label.astype(int), rows.probability))
        assert found.by_class[name].metrics["model"]["auroc"].value == pytest.approx(areas[-1])
        assert found.by_class[name].n == len(rows)
        assert found.by_class[name].left_out == {"no_label": 200 - len(rows)}
    macro = found.overall["model"]["macro_auroc"]
    assert macro.value == pytest.approx(np.mean(areas))
    assert macro.high - macro.low < found.by_class["nodule"].metrics["model"]["auroc"].high - areas[1] + 0.1
    assert found.confusion == {}


def test_macro_interval_agrees_with_a_bootstrap_of_cases():
    table = labels_table(blank=0)
    wide = table.pivot(index="case_id", columns="class", values=["probability", "label"])
    p, labels = (wide[name].to_numpy(dtype=float) for name in ("probability", "label"))
    rng, drawn = np.random.default_rng(0), []
    for _ in range(400):
        i = rng.integers(0, 200, 200)
        drawn.append(reference.roc_auc_score(labels[i], p[i], average="macro"))
    macro = evaluate_targets(table)[""].overall["model"]["macro_auroc"]
    assert (macro.high - macro.low) / 3.92 == pytest.approx(np.std(drawn), rel=0.12)


def test_a_label_that_cannot_be_evaluated_is_named_and_leaves_the_others():
    table = labels_table()
    table.loc[table["class"] == "edema", "label"] = 0
    found = evaluate_targets(table)[""]
    assert set(found.by_class) == {"effusion", "nodule"}
    assert "0 positive" in found.refused["edema"]
    assert found.overall["model"]["macro_auroc"].value > 0.5


def test_a_binary_target_is_what_evaluate_gives():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 60)
    table = pd.DataFrame({"case_id": range(60), "probability": rng.random(60) / 2 + labels / 3, "label": labels})
    found = evaluate_targets(table)[""]
    assert found.kind == "binary"
    assert found.overall == {}
    assert next(iter(found.by_class.values())).to_json() == evaluate(table).to_json()


def test_a_target_of_one_class_only_is_refused_by_name_and_leaves_the_others():
    table = pd.concat(
        [
            pd.DataFrame({"case_id": range(9), "target": "a", "probability": 0.5, "label": 0}),
            pd.DataFrame(
                {"case_id": range(9), "target": "b", "probability": np.linspace(0, 1, 9), "label": [0, 1, 0] * 3}
            ),
        ]
    )
    found = evaluate_targets(table)
    assert found["a"].by_class == {} and "positive" in next(iter(found["a"].refused.values()))
    assert found["b"].by_class[""].n == 9


def test_sets_of_exclusive_classes_keep_their_promise_on_test_cases():
    table, _, _ = exclusive(600, validation=True)
    sets = evaluate_targets(table, plan=EvaluationPlan(coverage=0.8))["size"].sets["fused"]
    assert (sets.promised, sets.by_class, sets.n_calibration) == (0.8, False, 600)
    assert sets.coverage.value == pytest.approx(0.8, abs=0.05)
    assert 0.6 < sets.mean_size < 3
    assert sets.share_single + sets.share_empty + sets.share_all <= 1


def test_labels_given_as_class_names_mean_the_same():
    table, truth, _ = exclusive(conditions=("model",))
    names = {f"test{i}": CLASSES[k] for i, k in enumerate(truth)}
    named = table.assign(label=table.case_id.map(names))
    assert evaluate_targets(named)["size"].to_json() == evaluate_targets(table)["size"].to_json()


def test_classes_called_by_numbers_mean_the_same_whether_labels_are_marks_or_names():
    table, truth, _ = exclusive(conditions=("model",))
    numbered = table.replace({"class": {name: str(k) for k, name in enumerate(CLASSES)}})
    named = numbered.assign(label=numbered.case_id.map({f"test{i}": str(k) for i, k in enumerate(truth)}))
    assert evaluate_targets(named)["size"].confusion["model"].tolist() == (
        evaluate_targets(numbered)["size"].confusion["model"].tolist()
    )


def test_cases_of_two_classes_are_refused_where_classes_exclude_each_other():
    table, _, _ = exclusive(conditions=("model",))
    with pytest.raises(ManifestError, match="no class or of several"):
        evaluate_targets(table.assign(label=1 - table.label))


def test_a_perfect_answer_is_not_called_certain():
    truth = np.arange(30) % 3
    rows = [(i, name, float(truth[i] == k), int(truth[i] == k)) for i in range(30) for k, name in enumerate(CLASSES)]
    table = pd.DataFrame(rows, columns=["case_id", "class", "probability", "label"])
    figures = evaluate_targets(table)[""].overall["model"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "macro_auroc"):
        assert figures[name].value == 1
        assert figures[name].low < 0.95, name


def test_json_holds_no_number_that_is_not_finite():
    table, _, _ = exclusive(60)
    content = json.dumps({name: one.to_json() for name, one in evaluate_targets(table).items()}, allow_nan=False)
    assert math.isfinite(json.loads(content)["size"]["overall"]["fused"]["macro_auroc"]["value"])


def test_a_class_that_validation_cases_lack_is_evaluated_at_a_fixed_threshold():
    table, _, _ = exclusive(120, validation=True, conditions=("model",))
    rare = table.copy()
    rare.loc[(rare.split == "validation") & (rare["class"] == "large"), "label"] = 0
    found = evaluate_targets(rare)["size"]
    assert tuple(found.by_class) == CLASSES
    assert found.by_class["large"].operating_points["model"][0].rule.criterion == "fixed"
    assert found.by_class["small"].operating_points["model"][0].rule.criterion == "youden"
    assert any("lack a class" in note for note in found.by_class["large"].notes)
