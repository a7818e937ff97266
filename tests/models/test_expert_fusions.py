from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from medfuse.models.expert_fusions import MixtureOfExperts, ProductOfExperts, product_of_gaussians

NAMES = ("image", "text", "table")


def drawn(*, n: int = 4, size: int = 4) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {name: torch.randn(n, size, generator=draw) for name in NAMES}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), here=st.lists(st.booleans(), min_size=3, max_size=3))
def test_the_product_is_the_density_that_multiplying_on_a_grid_gives(seed, here):
    draw = np.random.default_rng(seed)
    means, log_variances = draw.normal(0, 1.5, 3), draw.uniform(-2, 2, 3)
    grid = np.linspace(-15, 15, 30001)
    log_density = norm.logpdf(grid)
    for mean, log_variance, is_here in zip(means, log_variances, here, strict=True):
        log_density = log_density + is_here * norm.logpdf(grid, mean, np.exp(log_variance / 2))
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = (grid * density).sum()
    variance = ((grid - mean) ** 2 * density).sum()
    found = product_of_gaussians(
        torch.tensor(means)[None, :, None], torch.tensor(log_variances)[None, :, None], torch.tensor([here])
    )
    assert found[0].item() == pytest.approx(mean, abs=1e-6)
    assert found[1].exp().item() == pytest.approx(variance, rel=1e-6)


def test_without_an_expert_the_product_is_the_prior():
    mean, log_variance = product_of_gaussians(
        torch.full((1, 2, 3), torch.nan), torch.zeros(1, 2, 3), torch.zeros(1, 2).bool()
    )
    assert mean.tolist() == log_variance.tolist() == [[0.0, 0.0, 0.0]]


def test_the_fused_vector_is_the_mean_of_the_product_and_weights_are_shares_of_its_precision():
    fusion, parts = ProductOfExperts(NAMES, 4, latent_size=5), drawn()
    said = [expert(part).detach().double() for expert, part in zip(fusion.experts, parts.values(), strict=True)]
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False] * 3])
    for row, here in enumerate(present.tolist()):
        experts = [one[row] for one, is_here in zip(said, here, strict=True) if is_here]
        precisions = [np.exp(-one[5:].numpy()) for one in experts]
        total = 1 + sum(precisions, start=np.zeros(5))
        mean = sum((p * one[:5].numpy() for p, one in zip(precisions, experts, strict=True)), start=np.zeros(5)) / total
        np.testing.assert_allclose(fusion(parts, present)[row].detach(), mean, rtol=1e-4, atol=1e-6)
    weights = fusion.weigh(parts, present).detach()
    np.testing.assert_allclose(weights[2:], [[0, 1, 0], [0, 0, 0]], atol=1e-6)


def test_an_expert_that_is_unsure_is_hardly_heard():
    fusion, parts = ProductOfExperts(NAMES, 4, latent_size=2), drawn()
    for expert, log_variance in zip(fusion.experts, (-2.0, 2.0, 2.0), strict=True):
        expert.weight.data.zero_()
        expert.bias.data = torch.tensor([1.0, 1.0, log_variance, log_variance])
    weights = fusion.weigh(parts, torch.ones(4, 3, dtype=torch.bool))[0].detach()
    np.testing.assert_allclose(weights[0] / weights[1], np.exp(4.0), rtol=1e-4)


def test_the_mixture_is_a_softmax_over_the_experts_that_are_there():
    fusion, parts = MixtureOfExperts(NAMES, 4, hidden_size=6), drawn()
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [True] * 3])
    seen = torch.stack(list(parts.values()), dim=1) * present[..., None]
    gate = (seen.flatten(start_dim=1) @ fusion.gate.weight.T + fusion.gate.bias).detach().numpy()
    shares = np.exp(gate) * present.numpy()
    shares /= shares.sum(axis=1, keepdims=True)
    said = np.stack(
        [expert(part).detach().numpy() for expert, part in zip(fusion.experts, parts.values(), strict=True)]
    )
    np.testing.assert_allclose(fusion.weigh(parts, present).detach(), shares, rtol=1e-5, atol=1e-7)
    expected = np.einsum("bm,mbe->be", shares, said)
    np.testing.assert_allclose(fusion(parts, present).detach(), expected, rtol=1e-4, atol=1e-6)
