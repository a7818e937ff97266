from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from medfuse.config import BaselineConfig
from medfuse.data import Case, to_samples
from medfuse.errors import ConfigError
from medfuse.evaluation import auroc
from medfuse.evaluation.predictions import check_predictions
from medfuse.inference import Predictor
from medfuse.training import Fit
from medfuse.training.predictions import baseline_table, prediction_table
from medfuse.types import Target

COLUMNS = ["case_id", "patient_key", "split", "fold", "condition", "target", "class", "probability", "label"]
TARGET = Target("malignancy", "binary", ("negative", "positive"))


def test_the_table_holds_the_predictor_s_answers(toy_fit: Fit, toy_cases: Sequence[Case]) -> None:
    table = prediction_table(toy_fit.bundle, toy_cases, split="test")
    assert list(table.columns) == COLUMNS
    rows = table.set_index(["case_id", "condition", "class"])["probability"]
    samples = to_samples(toy_cases, toy_fit.bundle.preprocessing)
    predictions = Predictor(toy_fit.bundle).predict_samples(samples)
    assert len(table) == 2 * sum(len(p.probabilities) for p in predictions)
    for p in predictions:
        for condition, values in p.probabilities.items():
            for name, value in zip(p.classes, values, strict=True):
                assert rows[str(p.case), condition, name] == value
    check_predictions(table)


def test_label_terms_are_answered_with_and_without(toy_fit: Fit, toy_cases: Sequence[Case]) -> None:
    bundle = toy_fit.bundle
    text = bundle.preprocessing.text.model_copy(update={"mask_terms": ("spiculation", "smooth")})
    named = replace(bundle, preprocessing=replace(bundle.preprocessing, text=text))
    table = prediction_table(named, toy_cases, split="test")
    plain = prediction_table(bundle, toy_cases, split="test")
    assert set(table["condition"]) - set(plain["condition"]) == {"fused_masked", "text_masked"}
    without = table[~table["condition"].str.endswith("_masked")].reset_index(drop=True)
    pd.testing.assert_frame_equal(without, plain)
    # The margin is all that tells the classes apart in these texts: without its words no answer is left.
    positive = table[table["class"] == "positive"].pivot(index="case_id", columns="condition", values="probability")
    labels = table[table["class"] == "positive"].groupby("case_id")["label"].first()
    known = positive.dropna().index
    assert auroc(labels[known], positive.loc[known, "text"]).value > 0.8
    assert abs(auroc(labels[known], positive.loc[known, "text_masked"]).value - 0.5) < 0.25


def test_a_model_that_never_reads_the_terms_has_nothing_to_compare(toy_fit: Fit, toy_cases: Sequence[Case]) -> None:
    bundle = toy_fit.bundle
    text = bundle.preprocessing.text.model_copy(update={"mask_terms": ("smooth",), "mask": "always"})
    table = prediction_table(
        replace(bundle, preprocessing=replace(bundle.preprocessing, text=text)), toy_cases, split="test"
    )
    assert not table["condition"].str.endswith("_masked").any()


def test_labels_folds_and_pseudonyms_are_the_case_s(toy_fit: Fit, toy_cases: Sequence[Case]) -> None:
    table = prediction_table(toy_fit.bundle, toy_cases, split="validation")
    positive = table[table["class"] == "positive"].drop_duplicates("case_id").set_index("case_id")
    for case in toy_cases:
        row = positive.loc[str(case.id)]
        assert (row["label"], row["fold"]) == (case.targets["malignancy"], int(case.row["fold"]))
        assert (row["patient_key"], row["split"]) == (case.patient_key, "validation")


def test_the_fold_that_a_model_tests_can_be_named(toy_fit: Fit, toy_cases: Sequence[Case]) -> None:
    table = prediction_table(toy_fit.bundle, toy_cases, split="validation", fold=7)
    assert set(table["fold"]) == {7}


def test_a_case_without_a_label_or_a_fold(toy_fit: Fit, toy_cases: Sequence[Case]) -> None:
    unlabelled, foldless = replace(toy_cases[0], targets={}), replace(toy_cases[1], row={"fold": ""})
    table = prediction_table(toy_fit.bundle, [unlabelled, foldless], split="test")
    assert set(table["case_id"]) == {str(foldless.id)}
    assert set(table["fold"]) == {-1}


def test_a_baseline_ranks_by_its_column(toy_cases: Sequence[Case]) -> None:
    train, test = toy_cases[:24], toy_cases[24:]
    table = baseline_table(
        BaselineConfig(name="size", numeric=("diameter_mm",)), TARGET, train=train, test=test, split="test"
    )
    assert list(table.columns) == COLUMNS
    assert set(table["condition"]) == {"baseline_size"}
    positive = table[table["class"] == "positive"]
    diameters = [float(case.row["diameter_mm"]) for case in test]
    assert np.array_equal(np.argsort(diameters), np.argsort(positive["probability"].to_numpy()))
    assert table.groupby("case_id")["probability"].sum().to_numpy() == pytest.approx(1.0)


def test_a_baseline_equals_plain_logistic_regression(toy_cases: Sequence[Case]) -> None:
    from sklearn.linear_model import LogisticRegression

    train, test = toy_cases[:24], toy_cases[24:]

    def features(cases: Sequence[Case]) -> NDArray[np.float64]:
        return np.array(
            [(float(c.row["diameter_mm"]), c.row["site"] == "north", c.row["site"] == "south") for c in cases]
        )

    x, y = features(train), features(test)
    mean, std = x.mean(axis=0), x.std(axis=0)
    expected = LogisticRegression(max_iter=2000).fit((x - mean) / std, [c.targets["malignancy"] for c in train])
    table = baseline_table(
        BaselineConfig(name="both", numeric=("diameter_mm",), categorical=("site",)),
        TARGET, train=train, test=test, split="test",
    )  # fmt: skip
    found = table[table["class"] == "positive"]["probability"].to_numpy()
    assert found == pytest.approx(expected.predict_proba((y - mean) / std)[:, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (BaselineConfig(name="b", numeric=("diamter_mm",)), "did you mean 'diameter_mm'"),
        (BaselineConfig(name="b", numeric=("site",)), "found a value that is no number"),
        (BaselineConfig(name="b", numeric=("hole",)), "found a value that is no number"),
        (BaselineConfig(name="b"), "found no column"),
    ],
)
def test_a_wrong_baseline_is_refused_by_name(toy_cases: Sequence[Case], baseline: BaselineConfig, message: str) -> None:
    cases = [replace(case, row={**case.row, "hole": "nan"}) for case in toy_cases]
    with pytest.raises(ConfigError, match=message):
        baseline_table(baseline, TARGET, train=cases[:24], test=cases[24:], split="test")
