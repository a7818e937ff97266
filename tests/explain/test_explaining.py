from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import DataError, UsageError
from medfuse.explain import CheckOptions, ExplainOptions, explain, held_against
from medfuse.explain.case_logit import CaseLogit
from medfuse.explanation_parts import TrustCheck
from medfuse.inference import Predictor, predict_logits, save_bundle
from medfuse.training import Fit, fit
from medfuse.training.parts import split_cases
from medfuse.types import Explanation, ReportText, Study

QUICK = ExplainOptions(checks=CheckOptions(n_random=2, n_models=1), withhold=False)
JOINT = replace(QUICK, text_method={"name": "integrated_gradients"})
"""One method for both inputs: they share one difference out."""


def explained(predictor: Predictor, study: Study, options: ExplainOptions = QUICK) -> Explanation:
    [lesion] = study.lesions
    sample = predictor.preprocessing(study, lesion)
    affine = predictor.preprocessing.box_affine(study, lesion)
    return explain(predictor, sample, text=lesion.text, affine=affine, options=options)


def trust(explanation: Explanation, name: str) -> TrustCheck:
    return next(check for check in explanation.trust if check.name == name)


@pytest.fixture(scope="module")
def explanations(toy_predictor: Predictor, toy_studies: list[Study]) -> list[Explanation]:
    return [explained(toy_predictor, study) for study in toy_studies]


@pytest.fixture(scope="module")
def positive(explanations: list[Explanation]) -> list[Explanation]:
    found = [e for e in explanations if "spiculated" in e.text]
    assert len(found) >= 2
    return found


def test_attributions_are_complete(explanations: list[Explanation]) -> None:
    for explanation in explanations:
        assert explanation.checks["completeness_delta"] < 0.05


def test_attributions_sum_to_the_difference_from_the_empty_case(
    toy_predictor: Predictor, toy_studies: list[Study]
) -> None:
    study = toy_studies[1]
    explanation = explained(toy_predictor, study, JOINT)
    logit = CaseLogit(toy_predictor, toy_predictor.preprocessing(study, study.lesions[0]), "malignancy")
    with torch.inference_mode():
        difference = float(logit(*logit.inputs()) - logit(*logit.baselines()))
    assert explanation.image_map is not None
    total = float(explanation.image_map.sum()) + sum(score for _, _, score in explanation.token_scores)
    assert total == pytest.approx(difference, rel=0.05)


def test_the_case_as_a_function_gives_the_model_s_own_logit(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    sample = toy_predictor.preprocessing(toy_studies[0], toy_studies[0].lesions[0])
    logit = CaseLogit(toy_predictor, sample, "malignancy")
    expected = predict_logits(toy_predictor.bundle, [sample])["fused"]["malignancy"][0]
    with torch.inference_mode():
        twice = logit(*(torch.cat([tensor, tensor]) for tensor in logit.inputs()))
    torch.testing.assert_close(twice, expected.expand(2), rtol=1e-5, atol=1e-6)


def test_the_word_that_speaks_for_the_class_has_the_top_score(positive: list[Explanation]) -> None:
    for explanation in positive:
        start, end, score = max(explanation.token_scores, key=lambda item: abs(item[2]))
        assert explanation.text[start:end] == "spiculated"
        assert score > 0


def test_the_word_in_its_place_in_the_other_class_speaks_far_less_for_it(explanations: list[Explanation]) -> None:
    scores = [{e.text[a:b]: score for a, b, score in e.token_scores} for e in explanations]
    negative = [found["smooth"] for found in scores if "smooth" in found]
    assert len(negative) >= 2
    assert max(negative) < 0.5 * min(found["spiculated"] for found in scores if "spiculated" in found)


def test_every_token_lies_in_the_section_that_the_model_reads(explanations: list[Explanation]) -> None:
    for explanation in explanations:
        words = [explanation.text[start:end] for start, end, _ in explanation.token_scores]
        assert words[0] == "A"
        assert "IMPRESSION" not in words
        assert all(word and word == word.strip() for word in words)


def test_the_ball_gets_more_of_the_map_than_its_share_of_the_voxels(
    positive: list[Explanation], toy_studies: list[Study], toy_predictor: Predictor
) -> None:
    for explanation in positive:
        image, found = explanation.image, explanation.image_map
        assert image is not None and found is not None
        ball = image > 300.0  # HU: noise of 30 about 0, the ball of 3.5 mm at 500
        assert 50 < ball.sum() < 400
        assert np.abs(found[ball]).sum() / np.abs(found).sum() > 2 * ball.mean()
        assert found[ball].sum() > 0


def test_deleting_what_scores_highest_moves_the_answer_more_than_chance(positive: list[Explanation]) -> None:
    for explanation in positive:
        for name in ("image", "text"):
            assert trust(explanation, f"deletion_{name}").passed
            assert trust(explanation, f"insertion_{name}").passed
            assert explanation.checks[f"deletion_{name}"] > 1


def test_the_map_lies_on_the_grid_of_the_prepared_image(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    study = toy_studies[0]
    explanation = explained(toy_predictor, study)
    sample = toy_predictor.preprocessing(study, study.lesions[0])
    assert explanation.image is not None and explanation.image_map is not None and sample.image is not None
    low, high = toy_predictor.preprocessing.shown_window
    assert np.allclose(explanation.image, sample.image[0].numpy() * (high - low) + low, rtol=0, atol=1e-3)
    assert explanation.affine is not None
    middle = explanation.affine @ [*(np.array(explanation.image.shape) - 1) / 2, 1.0]
    assert middle[:3] == pytest.approx(study.lesions[0].centre)


def test_the_explained_prediction_is_the_predictor_s(
    explanations: list[Explanation], toy_predictor: Predictor, toy_studies: list[Study]
) -> None:
    for explanation, study in zip(explanations, toy_studies, strict=True):
        assert [explanation.prediction] == toy_predictor.predict(study)


def test_without_a_report_the_image_alone_is_explained(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    sample = toy_predictor.preprocessing(toy_studies[1], toy_studies[1].lesions[0])
    explanation = explain(toy_predictor, replace(sample, token_ids=None), options=QUICK)
    assert explanation.image_map is not None
    assert explanation.token_scores == ()
    assert explanation.text == ""
    assert set(explanation.modality_shares) == {"image"}
    assert set(explanation.checks) == {"completeness_delta", "deletion_image"}
    assert explanation.interaction is None
    assert explanation.checks["completeness_delta"] < 0.05
    assert explanation.prediction.flags[0] == "missing report"


def test_without_an_image_the_report_alone_is_explained(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    [lesion] = toy_studies[1].lesions
    sample = replace(toy_predictor.preprocessing(toy_studies[1], lesion), image=None)
    explanation = explain(toy_predictor, sample, text=lesion.text, options=JOINT)
    assert explanation.image is None and explanation.image_map is None
    start, end, _ = max(explanation.token_scores, key=lambda item: abs(item[2]))
    assert explanation.text[start:end] == "spiculated"
    assert set(explanation.modality_shares) == {"text"}
    assert set(explanation.checks) == {"completeness_delta", "deletion_text"}


def test_a_text_that_the_tokens_do_not_come_from_is_refused(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    sample = toy_predictor.preprocessing(toy_studies[0], toy_studies[0].lesions[0])
    for other in ("A nodule.", "FINDINGS: A nodule with a spiky margin in the right upper lobe today."):
        with pytest.raises(UsageError, match="text"):
            explain(toy_predictor, sample, text=ReportText(other))


def test_an_unknown_target_is_refused_with_the_nearest_one(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    sample = toy_predictor.preprocessing(toy_studies[0], toy_studies[0].lesions[0])
    with pytest.raises(UsageError, match="did you mean 'malignancy'"):
        explain(toy_predictor, sample, target="malignncy")


def test_explaining_leaves_the_model_as_it_was(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    before = {name: tensor.clone() for name, tensor in toy_predictor.bundle.model.state_dict().items()}
    first, second = (explained(toy_predictor, toy_studies[0]) for _ in range(2))
    assert np.array_equal(first.image_map, second.image_map)  # type: ignore[arg-type]
    assert all(torch.equal(before[n], t) for n, t in toy_predictor.bundle.model.state_dict().items())
    assert all(parameter.grad is None for parameter in toy_predictor.bundle.model.parameters())


@pytest.fixture(scope="module")
def flagged(toy_config: RunConfig, toy_cases: Sequence[Case]) -> Predictor:
    text = toy_config.data.text.model_copy(update={"flags": "chest14"})
    config = toy_config.model_copy(
        update={
            "data": toy_config.data.model_copy(update={"text": text}),
            "optim": toy_config.optim.model_copy(update={"epochs": 2}),
        }
    )
    parts = split_cases(toy_cases, config.data, seed=0)
    return Predictor(fit(config, train=parts.train, validation=parts.validation).bundle)


def test_a_flag_s_part_goes_to_the_words_that_it_comes_from(flagged: Predictor, toy_studies: list[Study]) -> None:
    study = toy_studies[1]
    explanation = explained(flagged, study, JOINT)
    logit = CaseLogit(flagged, flagged.preprocessing(study, study.lesions[0]), "malignancy")
    assert logit.names == ("image", "text", "flags")
    with torch.inference_mode():
        difference = float(logit(*logit.inputs()) - logit(*logit.baselines()))
    assert explanation.image_map is not None
    total = float(explanation.image_map.sum()) + sum(score for _, _, score in explanation.token_scores)
    assert total == pytest.approx(difference, rel=0.1, abs=1e-3)


def test_flags_change_the_answer_and_survive_saving(
    flagged: Predictor, toy_studies: list[Study], tmp_path: Path
) -> None:
    study = toy_studies[1]
    sample = flagged.preprocessing(study, study.lesions[0])
    assert sample.flags is not None
    assert sample.flags.sum() > 0
    save_bundle(flagged.bundle, tmp_path / "model")
    loaded = Predictor.load(tmp_path / "model")
    [one], [two] = flagged.predict_samples([sample]), loaded.predict_samples([sample])
    assert one.probabilities == two.probabilities
    [other] = flagged.predict_samples([replace(sample, flags=torch.zeros_like(sample.flags))])
    assert other.probabilities["fused"] != one.probabilities["fused"]
    assert other.probabilities["image"] == one.probabilities["image"]


def test_tokens_of_a_pretrained_encoder_are_scored_where_they_stand(
    pretrained_fit: Fit, toy_studies: list[Study]
) -> None:
    explanation = explained(Predictor(pretrained_fit.bundle), toy_studies[1])
    words = [explanation.text[start:end] for start, end, _ in explanation.token_scores]
    assert words[:4] == ["A", "nodule", "with", "a"]
    assert words[-1] == "."
    assert all(score != 0.0 for _, _, score in explanation.token_scores)
    assert explanation.checks["completeness_delta"] < 0.05  # of the image: the words' method draws at random


def test_every_check_is_named_and_has_a_verdict(positive: list[Explanation]) -> None:
    names = {check.name for check in positive[0].trust}
    tested = ("faithfulness", "deletion", "insertion", "randomisation", "repeatability")
    assert {f"{test}_{part}" for test in tested for part in ("image", "text")} <= names
    assert {"completeness_image", "in_distribution", "prediction_set"} <= names
    assert all(check.passed is not None for check in positive[0].trust)


def test_scores_that_fail_a_test_are_withheld_and_the_test_is_named(
    toy_predictor: Predictor, toy_studies: list[Study]
) -> None:
    # Two gradients are too few for a path through a trained model.
    coarse = ExplainOptions(
        image_method={"name": "integrated_gradients", "n_steps": 2, "most_steps": 2},
        text_method={"name": "integrated_gradients", "n_steps": 2, "most_steps": 2},
        checks=CheckOptions(n_random=2, n_models=1),
    )
    positive = next(study for study in toy_studies if "spiculated" in (study.lesions[0].text or ReportText("")).text)
    explanation = explained(toy_predictor, positive, coarse)
    assert trust(explanation, "completeness").passed is False
    assert "completeness" in explanation.withheld["image"] and "completeness" in explanation.withheld["text"]
    assert explanation.image_map is None and explanation.token_scores == ()
    assert explanation.image is not None
    assert explanation.methods["image"].startswith("integrated gradients (n steps 2,")


def test_two_methods_divide_two_differences(toy_predictor: Predictor, toy_studies: list[Study]) -> None:
    options = replace(QUICK, image_method={"name": "occlusion", "edge": 6.0}, text_method={"name": "feature_ablation"})
    explanation = explained(toy_predictor, toy_studies[1], options)
    assert explanation.methods == {
        "image": "occlusion (edge 6.0, compactness 0.1, batch 16, precision float32)",
        "text": "feature ablation (edge 4, batch 16, precision float32)",
    }
    assert not any(check.name.startswith("completeness") for check in explanation.trust)
    assert explanation.image_map is not None and explanation.token_scores


def test_without_the_report_means_by_the_image_alone(positive: list[Explanation]) -> None:
    for explanation in positive:
        [without] = [one for one in explanation.counterfactuals if one.kind == "modality" and one.name == "text"]
        assert without.probability == explanation.prediction.probabilities["image"][1]
        assert without.change == pytest.approx(without.probability - explanation.prediction.probabilities["fused"][1])


def test_named_findings_are_taken_away(positive: list[Explanation]) -> None:
    for explanation in positive:
        found = {one.name: one for one in explanation.counterfactuals if one.kind == "finding"}
        assert {explanation.text[a:b] for a, b in found["spiculation"].spans} == {"spiculated"}


def test_a_finding_that_is_hidden_gives_the_answer_to_the_text_without_it(
    toy_predictor: Predictor, toy_studies: list[Study]
) -> None:
    study = next(study for study in toy_studies if "spiculated" in (study.lesions[0].text or ReportText("")).text)
    [lesion] = study.lesions
    sample = toy_predictor.preprocessing(study, lesion)
    assert sample.token_ids is not None and lesion.text is not None
    encoding = toy_predictor.preprocessing.encode(lesion.text)
    assert encoding is not None
    words = [lesion.text.text[a:b] for a, b in encoding.offsets]
    hidden = sample.token_ids.clone()
    hidden[words.index("spiculated")] = 1
    [expected] = toy_predictor.predict_samples([replace(sample, token_ids=hidden)])
    explanation = explained(toy_predictor, study)
    [found] = [one for one in explanation.counterfactuals if one.name == "spiculation"]
    assert found.probability == pytest.approx(expected.probabilities["fused"][1], abs=1e-6)


def test_the_one_sentence_owes_what_the_words_do(toy_predictor: Predictor, positive: list[Explanation]) -> None:
    for explanation in positive:
        [(start, end, score)] = explanation.sentence_scores
        assert "spiculated" in explanation.text[start:end]
        assert score > 0


def test_similar_cases_are_training_cases_with_their_labels(positive: list[Explanation]) -> None:
    for explanation in positive:
        assert 1 <= len(explanation.similar_cases) <= 5
        similarities = [one.similarity for one in explanation.similar_cases]
        assert similarities == sorted(similarities, reverse=True)
        assert {one.labels["malignancy"] for one in explanation.similar_cases} <= {"negative", "positive"}


def test_a_mask_tells_how_much_of_the_map_lies_in_the_lesion(positive: list[Explanation]) -> None:
    image = positive[0].image
    assert image is not None
    ball = image > 300.0
    explanation = held_against(positive[0], ball)
    mass = trust(explanation, "mass_inside")
    assert mass.details["volume_share"] == pytest.approx(ball.mean())
    assert mass.value > 2 * ball.mean() and mass.passed
    assert held_against(replace(positive[0], image_map=None), ball).trust == positive[0].trust
    with pytest.raises(DataError, match="mask"):
        held_against(positive[0], ball[2:])
