import numpy as np
import pytest
import torch

from medfuse.explain import CaseLogit, build_method
from medfuse.explain.auditing import audit, bypass_share, cascade, chance_of, mean_estimate
from medfuse.explain.randomisation import PARTS
from medfuse.inference import Predictor
from medfuse.types import Study


@pytest.fixture(scope="module")
def case(toy_predictor: Predictor, toy_studies: list[Study]) -> CaseLogit:
    study = next(study for study in toy_studies if study.lesions[0].text and "spicul" in study.lesions[0].text.text)
    return CaseLogit(toy_predictor, toy_predictor.preprocessing(study, study.lesions[0]), "malignancy")


def test_a_method_s_figures_hold_it_against_chance_and_mask(case: CaseLogit) -> None:
    moving = case.moving(("image",))
    method = build_method({"name": "integrated_gradients", "n_steps": 16}, explains="image")
    ball = (case.batch.image[0, 0] > 0.6).numpy()
    found = audit(moving, method, chance_of(moving, n_random=3), mask=ball, n_models=1)
    assert found["gain"] > found["gain_by_chance"] and found["beats_best"] == 1.0
    assert found["mass_inside"] > 2 * found["volume_share"] == pytest.approx(2 * ball.mean())
    assert found["completeness"] < 0.05 and found["repeatability"] > 0.7
    words = audit(case.moving(("text",)), method, chance_of(case.moving(("text",)), n_random=2), mask=None, n_models=0)
    assert "randomisation" not in words and "mass_inside" not in words


def test_the_cascade_goes_through_all_parts(case: CaseLogit) -> None:
    method = build_method({"name": "hires_cam"}, explains="image")
    found = cascade(case.moving(("image",)), method)
    assert tuple(found) == PARTS
    assert all(0 <= value <= 1 for value in found.values())


def test_all_of_a_plain_cnn_s_answer_passes_the_feature_map(case: CaseLogit) -> None:
    assert bypass_share(case.moving(("image",))) == pytest.approx(0.0, abs=1e-5)
    [encoder] = [m.encoders["image"] for m in case.model.modules() if hasattr(m, "encoders")]
    assert "feature_map" not in encoder.__dict__


def test_intervals_draw_whole_patients() -> None:
    values, apart = [0.0, 0.0, 1.0, 1.0] * 5, [str(n) for n in range(20)]
    together = [str(n // 4) for n in range(20)]
    wide, none = mean_estimate("x", values, apart), mean_estimate("x", values, together)
    assert wide.high - wide.low > 0.3 and none.high - none.low == pytest.approx(0.0, abs=1e-9)
    assert np.isclose(wide.value, 0.5) and torch.tensor(values).mean() == 0.5
