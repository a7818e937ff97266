"""Targets of more than two classes, and several at once, from labels to the table of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medfuse.config import RunConfig, load_config
from medfuse.data import Case, to_samples
from medfuse.errors import ManifestError
from medfuse.evaluation import evaluate
from medfuse.explain import explain
from medfuse.explain.shares import modality_shares
from medfuse.inference import Predictor, load_bundle, predict_logits, save_bundle
from medfuse.models.answers import last_class_logit
from medfuse.scoring.rows import RowLayout
from medfuse.training.fitting import Fit, fit
from medfuse.training.parts import Parts, split_cases
from medfuse.training.predictions import baseline_tables, prediction_table
from medfuse.training.runs import test_figures as figures_of_test

SIZES = ("small", "middle", "large")


@pytest.fixture(scope="module")
def config(toy_config: RunConfig) -> RunConfig:
    content = toy_config.model_dump(mode="json")
    content["targets"] = [
        {"name": "size", "kind": "ordinal", "classes": list(SIZES)},
        {"name": "place", "kind": "multiclass", "classes": ["upper", "middle", "lower"]},
        {"name": "sign", "kind": "multilabel", "classes": ["spiculated", "left"]},
    ]
    content["optim"]["epochs"] = 4
    return load_config(content)


@pytest.fixture(scope="module")
def parts(config: RunConfig, toy_cases: Sequence[Case]) -> Parts:
    """Cases labelled from what they are; every fifth has blanks."""
    cuts = np.quantile([float(case.row["diameter_mm"]) for case in toy_cases], [1 / 3, 2 / 3])
    labelled = []
    for number, case in enumerate(toy_cases):
        words = case.text.text if case.text else ""
        targets = {"size": int(np.searchsorted(cuts, float(case.row["diameter_mm"])))}
        if words and number % 5:
            targets["place"] = number % 3
            targets["sign_spiculated"] = int("spiculated" in words)
            targets["sign_left"] = (number // 4) % 2
        labelled.append(replace(case, targets=targets))
    return split_cases(labelled, config.data, seed=config.seed)


@pytest.fixture(scope="module")
def fitted(config: RunConfig, parts: Parts) -> Fit:
    return fit(config, train=parts.train, validation=parts.validation)


def test_probabilities_of_every_kind_sum_to_one_and_survive_saving(fitted: Fit, parts: Parts, tmp_path: Path) -> None:
    save_bundle(fitted.bundle, tmp_path / "model")
    loaded = load_bundle(tmp_path / "model")
    assert [(t.name, t.kind) for t in loaded.targets] == [
        ("size", "ordinal"), ("place", "multiclass"), ("sign_spiculated", "binary"), ("sign_left", "binary"),
    ]  # fmt: skip
    samples = to_samples(parts.test, loaded.preprocessing)
    before, after = (Predictor(bundle).predict_samples(samples) for bundle in (fitted.bundle, loaded))
    assert [one.probabilities for one in before] == [one.probabilities for one in after]
    assert {one.target: len(one.classes) for one in after} == {
        "size": 3, "place": 3, "sign_spiculated": 2, "sign_left": 2,
    }  # fmt: skip


def test_the_table_has_a_row_a_class_and_leaves_blanks_out(fitted: Fit, parts: Parts) -> None:
    table = prediction_table(fitted.bundle, parts.test, split="test")
    for target in fitted.bundle.targets:
        rows = table[(table["target"] == target.name) & (table["condition"] == "fused")]
        known = {str(case.id) for case in parts.test if target.name in case.targets}
        assert set(rows["case_id"]) <= known
        sums = rows.groupby("case_id")[["probability", "label"]].sum()
        np.testing.assert_allclose(sums["probability"], 1.0, atol=1e-9)
        assert (sums["label"] == 1).all()
        assert list(dict.fromkeys(rows["class"])) == list(target.classes)


def test_a_baseline_answers_every_class(config: RunConfig, parts: Parts) -> None:
    tables = {table["target"].iloc[0]: table for table in baseline_tables(config, parts)}
    size = tables["size"]
    np.testing.assert_allclose(size.groupby("case_id")["probability"].sum(), 1.0, atol=1e-9)
    best = size.loc[size.groupby("case_id")["probability"].idxmax()]
    assert best["label"].mean() > 0.8  # the diameter tells it


def test_evaluation_takes_binary_targets_and_says_so(fitted: Fit, parts: Parts) -> None:
    table = prediction_table(fitted.bundle, parts.test, split="test")
    assert {name.split("/")[0] for name in figures_of_test(table)} == {"sign_spiculated", "sign_left"}
    with pytest.raises(ManifestError, match="found 3 classes of one target; expected a binary target, or one class"):
        evaluate(table, target="size")
    assert evaluate(table, target="sign_left").positive == "1"


def test_scores_have_a_column_a_class(fitted: Fit, parts: Parts) -> None:
    predictor = Predictor(fitted.bundle)
    [sample] = to_samples(parts.test[:1], fitted.bundle.preprocessing)
    layout = RowLayout.of(fitted.bundle)
    [row] = layout.scored(predictor.predict_samples([sample]))
    assert set(row) == set(layout.blank())
    total = sum(row[f"probability_size_{name}"] for name in SIZES)
    assert total == pytest.approx(1.0)
    assert 0 < row["probability_sign_left"] < 1
    assert 0 < row["probability_image_place_upper"] < 1


@pytest.mark.parametrize("target", ["size", "place"])
def test_shares_sum_to_the_log_odds_of_the_last_class(fitted: Fit, parts: Parts, target: str) -> None:
    predictor = Predictor(fitted.bundle)
    [sample] = to_samples(parts.test[:1], fitted.bundle.preprocessing)
    asked = next(one for one in fitted.bundle.targets if one.name == target)
    logits = predict_logits(fitted.bundle, [sample])["fused"][target]
    prior = fitted.bundle.prevalence[target]
    expected = float(last_class_logit(logits, asked)[0]) - float(np.log(prior / (1 - prior)))
    assert sum(modality_shares(predictor, sample, target=target).values()) == pytest.approx(expected, abs=1e-4)
    assert "image" in explain(predictor, sample, target=target).methods
