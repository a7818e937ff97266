from __future__ import annotations

import numpy as np
import pytest
import torch

from medfuse.errors import ConfigError
from medfuse.models.tensor_fusions import LowRankFusion, TensorFusion

NAMES = ("image", "text", "table")


def drawn(n_modalities: int, *, n: int = 3, size: int = 4) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(n_modalities)
    return {name: torch.randn(n, size, generator=draw, dtype=torch.float64) for name in NAMES[:n_modalities]}


def all_here(n_modalities: int, *, n: int = 3) -> torch.Tensor:
    return torch.ones(n, n_modalities, dtype=torch.bool)


def with_one(part: torch.Tensor) -> np.ndarray:
    return np.hstack([part.numpy(), np.ones((len(part), 1))])


@pytest.mark.parametrize("n_modalities", [1, 2, 3])
def test_the_tensor_is_the_outer_product_with_a_one_behind_each(n_modalities):
    given = drawn(n_modalities)
    fused = TensorFusion(NAMES[:n_modalities], 4, size=None).double()(given, all_here(n_modalities))
    letters = "ijk"[:n_modalities]
    equation = ",".join("b" + letter for letter in letters) + "->b" + letters
    expected = np.einsum(equation, *[with_one(part) for part in given.values()]).reshape(3, -1)
    np.testing.assert_allclose(fused.detach(), expected, rtol=1e-12)


def test_a_layer_first_makes_each_modality_smaller():
    fusion, given = TensorFusion(("image", "text"), 4, size=2).double(), drawn(2)
    small = [with_one(layer(part).detach()) for layer, part in zip(fusion.layers, given.values(), strict=True)]
    expected = np.einsum("bi,bj->bij", *small).reshape(3, 9)
    np.testing.assert_allclose(fusion(given, all_here(2)).detach(), expected, rtol=1e-12)


def test_a_tensor_too_large_to_learn_from_is_refused():
    with pytest.raises(ConfigError, match=r"found 64 for 3 modalities, which makes 274,625 products; .*low_rank"):
        TensorFusion(NAMES, 64, size=None)


def test_at_full_rank_it_is_any_linear_layer_on_the_full_tensor():
    draw = torch.Generator().manual_seed(9)
    weights = torch.randn(5, 5, 6, generator=draw, dtype=torch.float64)  # (E + 1, E + 1, F)
    fusion, given = LowRankFusion(("image", "text"), 4, rank=5, size=6).double(), drawn(2)
    # The image's factor of rank r picks its number r; the text's is that row of the weights.
    fusion.factors[0].data = torch.eye(5, dtype=torch.float64)[:, :, None].repeat(1, 1, 6)
    fusion.factors[1].data = weights
    full = np.einsum("bi,bj,ijf->bf", *[with_one(part) for part in given.values()], weights.numpy())
    np.testing.assert_allclose(fusion(given, all_here(2)).detach(), full, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_modalities", [1, 2, 3])
def test_it_equals_the_full_tensor_under_the_weights_that_its_factors_make(n_modalities):
    fusion, given = LowRankFusion(NAMES[:n_modalities], 4, rank=3, size=2).double(), drawn(n_modalities)
    fusion.bias.data.fill_(0.5)
    letters = "ijk"[:n_modalities]
    made = ",".join(f"r{letter}f" for letter in letters) + "->" + letters + "f"
    weights = np.einsum(made, *[factor.detach().numpy() for factor in fusion.factors])
    asked = ",".join("b" + letter for letter in letters) + f",{letters}f->bf"
    expected = np.einsum(asked, *[with_one(part) for part in given.values()], weights) + 0.5
    np.testing.assert_allclose(fusion(given, all_here(n_modalities)).detach(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("option", ["rank", "size"])
def test_options_that_are_not_positive_are_refused(option):
    with pytest.raises(ConfigError, match=rf"model\.fusion\.{option}: found 0; expected 1 or more"):
        LowRankFusion(("image", "text"), 4, **{option: 0})
