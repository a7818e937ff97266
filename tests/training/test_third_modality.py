"""Image, report and clinical table together: from the manifest to the answer, whatever is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from medfuse.config import RunConfig, load_config
from medfuse.data import Case, to_samples
from medfuse.errors import ConfigError, UsageError
from medfuse.explain import explain
from medfuse.inference import Predictor, load_bundle, save_bundle
from medfuse.inference.calibration import conditions_of
from medfuse.io import Pseudonymizer, read_study
from medfuse.scoring.rows import RowLayout
from medfuse.training.fitting import Fit, fit, make_preprocessing
from medfuse.training.parts import Parts, split_cases
from medfuse.training.predictions import prediction_table

ALL = {"fused", "image", "text", "table", "image+text", "image+table", "text+table"}


@pytest.fixture(scope="module")
def config(toy_config: RunConfig) -> RunConfig:
    content = toy_config.model_dump(mode="json")
    content["data"]["table"] = {"numeric": ["diameter_mm"], "categorical": ["site"]}
    content["model"]["modalities"] = ["image", "text", "table"]
    content["model"]["fusion"] = {"name": "weighted"}
    content["optim"]["epochs"] = 6
    return load_config(content)


@pytest.fixture(scope="module")
def parts(config: RunConfig, toy_cases: Sequence[Case]) -> Parts:
    """The toy cases, of which every fourth has no table."""
    blank = {"diameter_mm": "", "site": ""}
    cases = [replace(c, row={**c.row, **blank}) if n % 4 == 3 else c for n, c in enumerate(toy_cases)]
    return split_cases(cases, config.data, seed=config.seed)


@pytest.fixture(scope="module")
def fitted(config: RunConfig, parts: Parts) -> Fit:
    return fit(config, train=parts.train, validation=parts.validation)


def test_conditions_of_three_modalities_are_all_their_subsets() -> None:
    assert set(conditions_of(("image", "text", "table"))) == ALL


def test_a_case_is_answered_by_all_that_it_has(fitted: Fit, parts: Parts) -> None:
    cases = [case for case in (*parts.test, *parts.validation) if case.has_image and case.text]
    predictions = Predictor(fitted.bundle).predict_samples(to_samples(cases, fitted.bundle.preprocessing))
    for case, prediction in zip(cases, predictions, strict=True):
        if case.row["site"]:
            assert set(prediction.probabilities) == ALL
            assert prediction.condition == "fused"
            assert "missing table" not in prediction.flags
        else:
            assert set(prediction.probabilities) == {"image", "text", "image+text"}
            assert prediction.condition == "image+text"
            assert "missing table" in prediction.flags
            assert prediction.threshold == fitted.bundle.calibration["malignancy"]["image+text"].threshold
    assert {prediction.condition for prediction in predictions} == {"fused", "image+text"}


def test_the_table_survives_saving_and_is_the_training_cases_own(fitted: Fit, parts: Parts, tmp_path: Path) -> None:
    save_bundle(fitted.bundle, tmp_path / "model")
    loaded = load_bundle(tmp_path / "model")
    assert loaded.preprocessing.table == fitted.bundle.preprocessing.table is not None
    known = [float(case.row["diameter_mm"]) for case in parts.train if case.row["diameter_mm"]]
    assert loaded.preprocessing.table.numeric[0].mean == pytest.approx(sum(known) / len(known))
    samples = to_samples(parts.test, loaded.preprocessing)
    before, after = (Predictor(bundle).predict_samples(samples) for bundle in (fitted.bundle, loaded))
    assert [one.probabilities for one in before] == [one.probabilities for one in after]


def test_a_study_of_the_manifest_is_scored_with_its_table_and_one_without_columns_without(
    toy: object, names: Pseudonymizer, fitted: Fit, toy_cases: Sequence[Case]
) -> None:
    predictor = Predictor(fitted.bundle)
    study = read_study(toy.entries[0], pseudonymizer=names)  # type: ignore[attr-defined]
    [prediction] = predictor.predict(study)
    [expected] = predictor.predict_samples(to_samples(toy_cases[:1], predictor.preprocessing))
    assert prediction.probabilities == expected.probabilities
    bare = replace(study, lesions=tuple(replace(lesion, columns={}) for lesion in study.lesions))
    [without] = predictor.predict(bare)
    assert without.condition == "image+text"
    assert without.probabilities["image"] == prediction.probabilities["image"]
    layout = RowLayout.of(fitted.bundle)
    assert set(layout.scored([without])[0]) == set(layout.blank())


def test_predictions_have_rows_under_every_condition(fitted: Fit, parts: Parts) -> None:
    table = prediction_table(fitted.bundle, parts.test, split="test")
    assert set(table["condition"]) == ALL


def test_masked_answers_come_only_where_a_report_is_read(fitted: Fit, parts: Parts) -> None:
    preprocessing = fitted.bundle.preprocessing
    text = preprocessing.text.model_copy(update={"mask_terms": ("spiculated",)})
    bundle = replace(fitted.bundle, preprocessing=replace(preprocessing, text=text))
    table = prediction_table(bundle, parts.test, split="test")
    masked = {f"{name}_masked" for name in ("fused", "text", "image+text", "text+table")}
    assert set(table["condition"]) == ALL | masked


def test_an_explanation_shares_the_answer_out_and_marks_image_and_report(fitted: Fit, parts: Parts) -> None:
    predictor = Predictor(fitted.bundle)
    case = next(case for case in parts.test if case.has_image and case.text and case.row["site"])
    [sample] = to_samples([case], predictor.preprocessing)
    explanation = explain(predictor, sample)
    assert set(explanation.modality_shares) == {"image", "text", "table"}
    assert set(explanation.methods) == {"image", "text"}
    with pytest.raises(UsageError, match="found neither image nor report to explain"):
        explain(predictor, replace(sample, image=None, token_ids=None, flags=None))


def test_a_table_alone_is_learnt(config: RunConfig, parts: Parts) -> None:
    model = config.model.model_copy(update={"modalities": ("table",)})
    having = {
        name: [case for case in getattr(parts, name) if case.row["site"]] for name in ("train", "validation", "test")
    }
    done = fit(config.model_copy(update={"model": model}), train=having["train"], validation=having["validation"])
    predictions = Predictor(done.bundle).predict_samples(to_samples(having["test"], done.bundle.preprocessing))
    assert {one.condition for one in predictions} == {"table"}


def test_the_modality_needs_columns_and_those_need_training_cases(config: RunConfig, parts: Parts) -> None:
    content = config.model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"columns in data\.table for the modality table"):
        load_config({**content, "data": {**content["data"], "table": {}}})
    with pytest.raises(ConfigError, match="each modality once"):
        load_config({**content, "model": {**content["model"], "modalities": ["image", "image"]}})
    with pytest.raises(UsageError, match="found no columns of the table"):
        make_preprocessing(config).prepare_table(parts.train[0].row)


def test_an_explanation_states_how_the_fusion_weighed_what_was_there(fitted: Fit, parts: Parts) -> None:
    predictor = Predictor(fitted.bundle)
    cases = (*parts.test, *parts.validation)
    case = next(case for case in cases if case.has_image and case.text and not case.row["site"])
    [sample] = to_samples([case], predictor.preprocessing)
    weights = explain(predictor, sample).fusion_weights
    assert weights["table"] == 0
    assert sum(weights.values()) == pytest.approx(1.0)
