from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from medfuse.data import Case, to_samples
from medfuse.errors import LesionPositionError
from medfuse.inference import Calibration, Predictor, predict_logits
from medfuse.tensors import Sample
from medfuse.types import UNCERTAIN, Prediction, Study


@pytest.fixture
def study(toy_studies: list[Study]) -> Study:
    return toy_studies[1]


def without_image(study: Study) -> Study:
    return replace(study, volumes={}, lesions=(replace(study.lesions[0], channels={}),))


def without_report(study: Study) -> Study:
    return replace(study, report=None, lesions=(replace(study.lesions[0], text=None),))


def settled(prediction: Prediction) -> tuple[str, ...]:
    """Return the flags but for `UNCERTAIN`: a few of the toy's labels are wrong, so that many answers are."""
    return tuple(flag for flag in prediction.flags if flag != UNCERTAIN)


def same(found: Prediction, expected: Prediction, *, tolerance: float = 0.0) -> bool:
    assert found.probabilities.keys() == expected.probabilities.keys()
    pairs = [(found.probabilities[c], expected.probabilities[c]) for c in found.probabilities]
    assert found.case == expected.case
    return all(np.allclose(a, b, rtol=0, atol=tolerance) for a, b in pairs)


def test_predicting_a_study_equals_predicting_its_samples(toy_predictor: Predictor, study: Study) -> None:
    [sample] = [toy_predictor.preprocessing(study, lesion) for lesion in study.lesions]
    assert toy_predictor.predict(study) == toy_predictor.predict_samples([sample])


def test_predict_many_predicts_each_in_turn(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    assert list(toy_predictor.predict_many(toy_studies)) == [toy_predictor.predict(study) for study in toy_studies]


def test_a_case_alone_is_answered_as_in_a_batch(toy_predictor: Predictor, toy_cases: Sequence[Case]) -> None:
    samples = to_samples(toy_cases, toy_predictor.preprocessing)
    assert len(samples) > 32  # more than one batch
    for sample, together in zip(samples, toy_predictor.predict_samples(samples), strict=True):
        assert same(toy_predictor.predict_samples([sample])[0], together, tolerance=1e-6)


def test_preparing_for_training_and_for_a_study_is_one(
    toy_predictor: Predictor, toy_studies: list[Study], toy_cases: Sequence[Case]
) -> None:
    by_id = {case.id: case for case in toy_cases}
    predictions = [p for study in toy_studies for p in toy_predictor.predict(study)]
    samples = to_samples([by_id[p.case] for p in predictions], toy_predictor.preprocessing)
    for found, expected in zip(predictions, toy_predictor.predict_samples(samples), strict=True):
        assert same(found, expected, tolerance=1e-6)


def test_the_trained_model_tells_unseen_cases_apart(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    for study in toy_studies:
        text = study.lesions[0].text
        assert text is not None
        [prediction] = toy_predictor.predict(study)
        for condition in ("image", "text", "fused"):
            assert (prediction.probabilities[condition][1] > 0.5) == ("spiculated" in text.text), condition


def test_a_missing_report_is_flagged_and_the_image_answers(toy_predictor: Predictor, study: Study) -> None:
    [whole], [part] = toy_predictor.predict(study), toy_predictor.predict(without_report(study))
    assert settled(part) == ("missing report",)
    assert part.modalities_used == ("image",)
    assert part.condition == "image"
    assert set(part.probabilities) == {"image"}
    assert part.probabilities["image"] == pytest.approx(whole.probabilities["image"], abs=1e-6)
    assert part.threshold == toy_predictor.bundle.calibration["malignancy"]["image"].threshold


def test_a_missing_image_is_flagged_and_the_report_answers(toy_predictor: Predictor, study: Study) -> None:
    [whole], [part] = toy_predictor.predict(study), toy_predictor.predict(without_image(study))
    assert settled(part) == ("missing image",)
    assert part.modalities_used == ("text",)
    assert set(part.probabilities) == {"text"}
    assert part.probabilities["text"] == pytest.approx(whole.probabilities["text"], abs=1e-6)


def test_a_case_with_both_is_not_flagged(toy_predictor: Predictor, study: Study) -> None:
    [prediction] = toy_predictor.predict(study)
    assert settled(prediction) == ()
    assert prediction.condition == "fused"
    assert prediction.model_id == toy_predictor.bundle.model_id


def test_an_absent_modality_in_a_batch_changes_no_other_row(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    mixed = [toy_studies[0], without_report(toy_studies[1]), without_image(toy_studies[2])]
    samples = [toy_predictor.preprocessing(study, study.lesions[0]) for study in mixed]
    for sample, found in zip(samples, toy_predictor.predict_samples(samples), strict=True):
        assert same(found, toy_predictor.predict_samples([sample])[0], tolerance=1e-6)


def test_calibration_is_applied(toy_predictor: Predictor, study: Study) -> None:
    sample = toy_predictor.preprocessing(study, study.lesions[0])
    table = {c: Calibration(temperature=3.0, threshold=0.2) for c in ("fused", "image", "text")}
    [prediction] = Predictor(replace(toy_predictor.bundle, calibration={"malignancy": table})).predict_samples([sample])
    logit = predict_logits(toy_predictor.bundle, [sample])["fused"]["malignancy"][0, 0].double()
    assert prediction.probabilities["fused"][1] == pytest.approx(float(torch.sigmoid(logit / 3)), abs=1e-12)
    assert prediction.threshold == 0.2


def test_no_sample_gives_no_prediction(toy_predictor: Predictor) -> None:
    assert toy_predictor.predict_samples([]) == []


def test_a_study_without_lesions_is_a_case_of_its_own(toy_predictor: Predictor, study: Study) -> None:
    report = replace(without_image(study), report=study.lesions[0].text, lesions=())
    [prediction] = toy_predictor.predict(report)
    assert prediction.case.lesion_id == "whole"


def test_a_study_without_a_lesion_position_is_refused(toy_predictor: Predictor, study: Study) -> None:
    with pytest.raises(LesionPositionError, match="no lesion position"):
        toy_predictor.predict(replace(study, lesions=()))
    with pytest.raises(LesionPositionError, match="no lesion position"):
        toy_predictor.predict(replace(study, lesions=(replace(study.lesions[0], centre=None),)))


def test_a_position_outside_the_image_is_refused(toy_predictor: Predictor, study: Study) -> None:
    lesion = replace(study.lesions[0], centre=(500.0, 0.0, 0.0))
    with pytest.raises(LesionPositionError, match="outside the image"):
        toy_predictor.predict(replace(study, lesions=(lesion,)))


def test_an_image_of_another_unit_is_answered_with_a_flag(toy_predictor: Predictor, study: Study) -> None:
    other = replace(study, volumes={name: replace(v, unit="arbitrary") for name, v in study.volumes.items()})
    [prediction] = toy_predictor.predict(other)
    assert prediction.probabilities
    assert any("unit 'arbitrary', unlike" in flag for flag in prediction.flags)
    [plain] = toy_predictor.predict(study)
    assert settled(plain) == ()


def test_predicting_twice_gives_the_same(toy_predictor: Predictor, study: Study) -> None:
    assert toy_predictor.predict(study) == toy_predictor.predict(study)


def test_a_row_keeps_its_sample(toy_predictor: Predictor, toy_cases: Sequence[Case]) -> None:
    samples: list[Sample] = to_samples(toy_cases, toy_predictor.preprocessing)[::-1]
    assert [p.case for p in toy_predictor.predict_samples(samples)] == [s.case for s in samples]
