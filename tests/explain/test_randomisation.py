import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from medfuse.explain import CaseLogit, build_method
from medfuse.explain.edges import EdgeDetector
from medfuse.explain.method import Method, Scores
from medfuse.explain.randomisation import (
    PARTS,
    forgetful_models,
    randomisation_checks,
    randomised,
    rank_correlation,
    repeatability_checks,
)
from medfuse.inference import Predictor
from medfuse.types import Study


@pytest.fixture(scope="module")
def case(toy_predictor: Predictor, toy_studies: list[Study]) -> CaseLogit:
    study = next(study for study in toy_studies if study.lesions[0].text and "spicul" in study.lesions[0].text.text)
    sample = toy_predictor.preprocessing(study, study.lesions[0])
    return CaseLogit(toy_predictor, sample, "malignancy").moving(("image",))


def test_a_planted_edge_detector_fails_where_integrated_gradients_pass(case: CaseLogit) -> None:
    edges = EdgeDetector()
    [check] = randomisation_checks(case, edges, edges(case), forgetful_models(case.model))
    assert check.name == "randomisation_image"
    assert check.value == pytest.approx(1.0) and check.passed is False
    gradients = build_method({"name": "integrated_gradients", "n_steps": 8}, explains="image")
    [check] = randomisation_checks(case, gradients, gradients(case), forgetful_models(case.model))
    assert check.value < 0.5 and check.passed


def test_noise_fails_the_repeat_and_integrated_gradients_pass(case: CaseLogit) -> None:
    class Noise(Method):
        explains = ("image",)

        def __call__(self, case: CaseLogit, *, seed: int = 0) -> Scores:
            return {"image": torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(seed))}

    [check] = repeatability_checks(case, Noise(), Noise()(case))
    assert abs(check.value) < 0.2 and check.passed is False
    gradients = build_method({"name": "integrated_gradients", "n_steps": 8}, explains="image")
    [check] = repeatability_checks(case, gradients, gradients(case))
    assert check.passed


@pytest.mark.parametrize("parts", [PARTS, ("heads",), ("encoders", "projections")])
def test_only_the_named_parts_forget_and_keep_their_numbers(toy_predictor: Predictor, parts: tuple[str, ...]) -> None:
    model = toy_predictor.bundle.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    forgetful = dict(randomised(model, parts=parts).named_parameters())
    for name, parameter in model.named_parameters():
        same = torch.equal(parameter, forgetful[name])
        assert same or name.split(".")[0] in parts
        assert torch.equal(parameter.flatten().sort().values, forgetful[name].flatten().sort().values)
        if name.split(".")[0] in parts and parameter.numel() > 20 and parameter.std() > 0:
            assert not same
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_rank_correlation_is_spearman_s() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 6, (2, 50)).astype(float)
    expected = spearmanr(one, other).statistic
    assert rank_correlation(torch.from_numpy(one), torch.from_numpy(other)) == pytest.approx(expected)
    assert rank_correlation(torch.from_numpy(one), torch.ones(50)) == 0.0
