import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from medfuse.errors import BundleError
from medfuse.inference import Calibration
from medfuse.inference.calibration import conditions_of
from medfuse.types import Target

BINARY = Target("malignancy", "binary", ("negative", "positive"))
THREE = Target("texture", "multiclass", ("solid", "part-solid", "ground glass"))
logit = st.floats(-1e4, 1e4)
temperature = st.floats(0.01, 100)


@given(rows=st.lists(logit, min_size=1, max_size=5), temperature=temperature)
def test_binary_probabilities_are_the_sigmoid_and_sum_to_one(rows: list[float], temperature: float) -> None:
    found = Calibration(temperature).probabilities(torch.tensor(rows, dtype=torch.float64)[:, None], BINARY)
    assert torch.allclose(found.sum(dim=1), torch.ones(len(rows), dtype=torch.float64), atol=1e-12)
    for value, row in zip(rows, found.tolist(), strict=True):
        x = value / temperature
        expected = 1 / (1 + math.exp(-x)) if x > -700 else 0.0
        assert row[1] == pytest.approx(expected, abs=1e-12)


@given(rows=st.lists(st.tuples(logit, logit, logit), min_size=1, max_size=5), temperature=temperature)
def test_multiclass_probabilities_are_the_softmax_and_sum_to_one(
    rows: list[tuple[float, float, float]], temperature: float
) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)
    found = Calibration(temperature).probabilities(logits, THREE)
    assert found.shape == (len(rows), 3)
    assert torch.allclose(found.sum(dim=1), torch.ones(len(rows), dtype=torch.float64), atol=1e-12)
    assert np.allclose(found.numpy(), softmax(logits.numpy() / temperature, axis=1), rtol=0, atol=1e-12)


def test_float32_logits_give_sums_in_double_precision() -> None:
    found = Calibration(0.3).probabilities(torch.linspace(-20, 20, 101)[:, None], BINARY)
    assert found.dtype == torch.float64
    assert float((found.sum(dim=1) - 1).abs().max()) < 1e-15


def test_biases_are_added_after_the_temperature() -> None:
    logits = torch.tensor([[2.0]], dtype=torch.float64)
    found = Calibration(2.0, biases=(0.5,)).probabilities(logits, BINARY)
    assert found[0, 1].item() == pytest.approx(1 / (1 + math.exp(-1.5)), abs=1e-12)
    rows, biases = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64), (0.5, 0.0, -0.5)
    found = Calibration(2.0, biases=biases).probabilities(rows, THREE)
    assert np.allclose(found.numpy(), softmax([[1.0, 0.0, -1.0]], axis=1), rtol=0, atol=1e-12)


def test_a_higher_temperature_moves_towards_a_half_and_keeps_the_order() -> None:
    logits = torch.tensor([[-3.0], [-1.0], [2.0], [4.0]])
    sure, unsure = (Calibration(t).probabilities(logits, BINARY)[:, 1] for t in (0.5, 5.0))
    assert bool(((unsure - 0.5).abs() < (sure - 0.5).abs()).all())
    assert torch.equal(sure.argsort(), unsure.argsort())


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_out_of_range_is_refused(temperature: float) -> None:
    with pytest.raises(BundleError, match="out of range"):
        Calibration(temperature=temperature)


@pytest.mark.parametrize("threshold", [-0.01, 1.01, math.nan])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(BundleError, match="out of range"):
        Calibration(threshold=threshold)


@given(temperature=temperature, threshold=st.floats(0, 1), biases=st.lists(st.floats(-5, 5), max_size=3))
def test_to_dict_and_back_changes_nothing(temperature: float, threshold: float, biases: list[float]) -> None:
    calibration = Calibration(temperature, threshold, tuple(biases))
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize("content", [{}, {"temperature": 1.0}, {"temperature": "hot", "threshold": 0.5}, None, 3])
def test_a_wrong_value_is_refused_by_name(content: object) -> None:
    with pytest.raises(BundleError, match="missing or wrong value"):
        Calibration.from_dict(content)  # type: ignore[arg-type]


def test_a_model_of_one_modality_has_no_fused_condition() -> None:
    assert conditions_of(("text",)) == {"text": ("text",)}
    assert list(conditions_of(("image", "text"))) == ["fused", "image", "text"]
