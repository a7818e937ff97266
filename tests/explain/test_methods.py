from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, LayerIntegratedGradients
from torch.nn import functional as F

from medfuse.config import RunConfig
from medfuse.data import Case
from medfuse.errors import ConfigError, UsageError
from medfuse.explain import METHODS, CaseLogit, build_method
from medfuse.explain.case_logit import members_of
from medfuse.explain.checks import completeness_check
from medfuse.explain.feature_maps import recorded_feature_maps
from medfuse.explain.gradients import agrees_in_bfloat16
from medfuse.explain.method import Method
from medfuse.inference import Predictor
from medfuse.models.precision import Conv3d
from medfuse.training import fit
from medfuse.training.parts import split_cases
from medfuse.types import Study

QUICK: dict[str, dict[str, object]] = {
    "integrated_gradients": {"n_steps": 8},
    "gradient_shap": {"n_samples": 4},
    "feature_ablation": {"edge": 8},
    "occlusion": {"edge": 8.0},
}


def toy_case(predictor: Predictor, studies: list[Study]) -> CaseLogit:
    study = next(study for study in studies if study.lesions[0].text and "spicul" in study.lesions[0].text.text)
    return CaseLogit(predictor, predictor.preprocessing(study, study.lesions[0]), "malignancy")


@pytest.fixture(scope="module")
def case(toy_predictor: Predictor, toy_studies: list[Study]) -> CaseLogit:
    return toy_case(toy_predictor, toy_studies)


def trained_with(config: RunConfig, cases: tuple[Case, ...], text_encoder: dict[str, object]) -> Predictor:
    model = config.model.model_copy(update={"text_encoder": text_encoder})
    optim = config.optim.model_copy(update={"epochs": 3})
    config = config.model_copy(update={"model": model, "optim": optim})
    parts = split_cases(cases, config.data, seed=0)
    return Predictor(fit(config, train=parts.train, validation=parts.validation).bundle)


@pytest.fixture(scope="module")
def bag_case(toy_config: RunConfig, toy_cases: tuple[Case, ...], toy_studies: list[Study]) -> CaseLogit:
    return toy_case(trained_with(toy_config, toy_cases, {"name": "bag", "token_size": 8}), toy_studies)


@pytest.fixture(scope="module")
def transformer_case(toy_config: RunConfig, toy_cases: tuple[Case, ...], toy_studies: list[Study]) -> CaseLogit:
    encoder: dict[str, object] = {"name": "transformer", "token_size": 8, "n_heads": 2, "n_layers": 2}
    return toy_case(trained_with(toy_config, toy_cases, encoder), toy_studies)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"deep_lift", "attention_rollout"}))
def test_scores_lie_on_the_grid_of_what_they_score_and_repeat(case: CaseLogit, name: str) -> None:
    method = build_method({"name": name, **QUICK.get(name, {})}, explains=METHODS[name].explains[0])
    before = {key: tensor.clone() for key, tensor in case.model.state_dict().items()}
    scores, again = method(case, seed=3), method(case, seed=3)
    assert set(scores) == set(method.explains) & set(case.names)
    for part, values in scores.items():
        assert values.shape == {"image": (16, 16, 16), "text": case.batch.token_ids.shape[1:]}[part]
        assert values.dtype == torch.float32 and values.isfinite().all() and values.any()
        assert torch.equal(values, again[part])
        assert method.draws is not torch.equal(values, method(case, seed=4)[part]) or part != "image"
    assert all(torch.equal(before[key], tensor) for key, tensor in case.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in case.model.parameters())


def test_integrated_gradients_of_words_are_captum_s_at_the_embedding(case: CaseLogit) -> None:
    moving = case.moving(("text",))
    method = build_method({"name": "integrated_gradients", "n_steps": 8, "most_steps": 8}, explains="text")
    [member] = members_of(case.model)
    embedding = member.encoders["text"].embedding

    def logit(token_ids: torch.Tensor) -> torch.Tensor:
        n = len(token_ids)
        inputs = member.encoders["text"].embed(token_ids)
        assert len(inputs) == n
        return moving(inputs)

    assert isinstance(embedding, torch.nn.Embedding)
    expected = LayerIntegratedGradients(logit, embedding).attribute(
        case.batch.token_ids, baselines=torch.ones_like(case.batch.token_ids), n_steps=8
    )
    torch.testing.assert_close(method(moving)["text"], expected[0].sum(dim=1), rtol=1e-4, atol=1e-6)


def test_points_are_added_while_the_scores_miss_much(case: CaseLogit) -> None:
    few, more = (
        completeness_check(
            case, build_method({"name": "integrated_gradients", "n_steps": 2, "most_steps": n}, explains="image")(case)
        )
        for n in (2, 64)
    )
    assert few.value > 0.05 >= more.value


def test_points_are_added_where_the_answer_changes() -> None:
    """Of a step at 0.8 of the way a rule over the whole way sees little; its halves find it, with few points."""
    places: list[float] = []

    class Step:
        names = ("image",)

        def inputs(self) -> tuple[torch.Tensor, ...]:
            return (torch.ones(1, 1, 2, 2, 2),)

        def baselines(self) -> tuple[torch.Tensor, ...]:
            return (torch.zeros(1, 1, 2, 2, 2),)

        def __call__(self, image: torch.Tensor) -> torch.Tensor:
            if image.requires_grad:
                places.extend(image.mean(dim=(1, 2, 3, 4)).tolist())
            return torch.sigmoid(100 * (image.mean(dim=(1, 2, 3, 4)) - 0.8))

        at = __call__

        @contextmanager
        def frozen(self, *, bfloat16: bool = False) -> Iterator[None]:
            yield

    method = build_method({"name": "integrated_gradients", "n_steps": 8, "most_steps": 64}, explains="image")
    scores = method(cast("CaseLogit", Step()))["image"]
    assert scores.sum().item() == pytest.approx(1, abs=0.05)
    assert 8 < len(places) <= 48 and np.mean(np.array(places[8:]) > 0.5) > 0.6
    coarse = build_method({"name": "integrated_gradients", "n_steps": 8, "most_steps": 8}, explains="image")
    assert abs(coarse(cast("CaseLogit", Step()))["image"].sum().item() - 1) > 0.05


def test_internal_batches_change_nothing(case: CaseLogit) -> None:
    moving = case.moving(("image",))
    options = {"name": "integrated_gradients", "n_steps": 8, "most_steps": 8}
    small, large = (build_method({**options, "internal_batch": n}, explains="image")(moving)["image"] for n in (1, 8))
    expected = IntegratedGradients(moving).attribute(moving.inputs(), baselines=moving.baselines(), n_steps=8)
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(small, expected[0][0, 0], rtol=1e-4, atol=1e-6)


def test_bfloat16_is_used_where_it_agrees(case: CaseLogit) -> None:
    moving = case.moving(("image",))
    assert agrees_in_bfloat16(moving)
    exact, rough = (
        build_method({"name": "integrated_gradients", "precision": one}, explains="image")(moving)["image"]
        for one in ("float32", "bfloat16")
    )
    assert not torch.equal(exact, rough)
    assert torch.corrcoef(torch.stack([exact.flatten(), rough.flatten()]))[0, 1] > 0.99
    convolutions = [part for part in case.model.modules() if isinstance(part, Conv3d)]
    assert convolutions and not any(part.training for part in convolutions)
    assert all(part.train_dtype == torch.float32 for part in convolutions)


def test_grad_cam_is_captum_s(case: CaseLogit) -> None:
    moving = case.moving(("image",))
    [image] = moving.inputs()
    with recorded_feature_maps(moving) as [tap]:
        expected = LayerGradCam(moving, tap).attribute(image.clone().requires_grad_(), relu_attributions=True)
    assert isinstance(expected, torch.Tensor)
    expected = F.interpolate(expected.detach(), size=(16, 16, 16), mode="trilinear")[0, 0]
    torch.testing.assert_close(build_method({"name": "grad_cam"}, explains="image")(case)["image"], expected)


def test_high_resolution_maps_keep_signs_and_layer_maps_do_not(case: CaseLogit) -> None:
    signed = build_method({"name": "hires_cam"}, explains="image")(case)["image"]
    unsigned = build_method({"name": "layer_cam"}, explains="image")(case)["image"]
    assert signed.min() < 0 < signed.max()
    assert unsigned.min() >= 0


def test_an_activation_map_takes_one_forward_pass(case: CaseLogit) -> None:
    [member] = members_of(case.model)
    passes: list[int] = []
    handle = member.encoders["image"].register_forward_pre_hook(lambda module, given: passes.append(len(given[0])))
    try:
        build_method({"name": "layer_cam"}, explains="image")(case)
    finally:
        handle.remove()
    assert passes == [1]


@pytest.mark.parametrize("moved", [("image", "text"), ("image",), ("text",)])
def test_deep_lift_divides_the_whole_difference(bag_case: CaseLogit, moved: tuple[str, ...]) -> None:
    moving = bag_case.moving(moved)
    scores = build_method({"name": "deep_lift"}, explains=moved[0])(moving)
    check = completeness_check(moving, scores)
    assert check.details["difference"] != 0
    assert check.details["total"] == pytest.approx(check.details["difference"], rel=1e-4, abs=1e-5)
    assert not any(hasattr(module, "input_ref") or hasattr(module, "output") for module in bag_case.model.modules())


def test_deep_lift_names_the_layer_that_has_no_rule(case: CaseLogit) -> None:
    with pytest.raises(UsageError, match="found GruEncoder at text_encoder, which has no rule"):
        build_method({"name": "deep_lift"}, explains="text")(case.moving(("text",)))


def test_rollout_shares_one_out_over_the_words(transformer_case: CaseLogit, case: CaseLogit) -> None:
    method = build_method({"name": "attention_rollout"}, explains="text")
    scores = method(transformer_case)["text"]
    assert scores.min() >= 0
    assert float(scores.sum()) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(UsageError, match="found the text encoder GruEncoder"):
        method(case)


def test_words_taken_away_one_by_one_score_what_the_answer_loses(case: CaseLogit) -> None:
    moving = case.moving(("text",))
    scores = build_method({"name": "feature_ablation"}, explains="text")(case)["text"]
    [given], [empty] = moving.inputs(), moving.baselines()
    full = float(moving.at(given)[0])
    for word in (0, 3):
        without = given.clone()
        without[:, word] = empty[:, word]
        assert float(scores[word]) == pytest.approx(full - float(moving.at(without)[0]), abs=1e-5)


def test_the_scores_of_one_supervoxel_sum_to_what_the_answer_loses(case: CaseLogit) -> None:
    moving = case.moving(("image",))
    method = build_method({"name": "occlusion", "edge": 16.0}, explains="image")
    scores = method(moving)["image"]
    full, empty = moving.ends()
    assert float(scores.sum()) == pytest.approx(full - empty, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "integrated_gradient"}, "did you mean 'integrated_gradients'"),
        ({"name": "integrated_gradients", "steps": 5}, "did you mean 'n_steps'"),
        ({"name": "integrated_gradients", "n_steps": 1}, "2 or more"),
        ({"name": "integrated_gradients", "precision": "float16"}, "float32 or bfloat16"),
        ({"name": "occlusion", "edge": 0.5}, "1.0 or more"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_method(options, explains="image")


def test_a_method_for_images_is_refused_for_text() -> None:
    with pytest.raises(UsageError, match="'grad_cam', which does not score text; expected one of 'attention_rollout'"):
        build_method({"name": "grad_cam"}, explains="text")


def test_every_method_has_a_source() -> None:
    for method in METHODS.values():
        assert issubclass(method, Method)
        assert "Source:" in (method.__doc__ or "")
