from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA
from torch.nn import functional as F

from medfuse.errors import ConfigError
from medfuse.models.aligners import DeepCca
from medfuse.models.correlation import total_correlation


def views(n: int, sizes: tuple[int, int], *, shared: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, shared))
    made = [common @ rng.normal(size=(shared, size)) + rng.normal(size=(n, size)) for size in sizes]
    return torch.from_numpy(made[0]), torch.from_numpy(made[1])


def root(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse square root."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def andrew(a: np.ndarray, b: np.ndarray, ridge: float) -> tuple[float, np.ndarray]:
    """Andrew et al. 2013: the trace norm of T (equation 10) and its gradient by the first view (11 to 13)."""
    n = len(a) - 1
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    left = root(a.T @ a / n + ridge * np.eye(a.shape[1]))
    right = root(b.T @ b / n + ridge * np.eye(b.shape[1]))
    u, d, v = np.linalg.svd(left @ (a.T @ b / n) @ right, full_matrices=False)
    across = left @ u @ v @ right
    own = -0.5 * left @ u @ np.diag(d) @ u.T @ left
    return float(d.sum()), (2 * a @ own + b @ across.T) / n


@settings(max_examples=20, deadline=None)
@given(n=st.integers(4, 30), p=st.integers(1, 6), q=st.integers(1, 6), seed=st.integers(0, 2**30))
def test_it_equals_the_published_trace_norm_and_its_published_gradient(n, p, q, seed):
    first, second = views(n, (p, q), shared=2, seed=seed)
    total, gradient = andrew(first.numpy(), second.numpy(), 0.3)
    first.requires_grad_()
    found = total_correlation(first, second, ridge=0.3)
    found.backward()
    assert float(found.detach()) == pytest.approx(total, abs=1e-8)
    if n > max(p, q) + 1:  # else a correlation may be zero, whose direction is anyone's
        np.testing.assert_allclose(first.grad.numpy(), gradient, atol=1e-7)


def test_without_ridge_it_is_the_sum_of_scikit_learns_canonical_correlations():
    first, second = views(200, (4, 3), shared=2, seed=0)
    scores = CCA(n_components=3, scale=False, max_iter=20_000, tol=1e-12).fit_transform(first.numpy(), second.numpy())
    expected = [np.corrcoef(scores[0][:, k], scores[1][:, k])[0, 1] for k in range(3)]
    assert float(total_correlation(first, second)) == pytest.approx(sum(expected), abs=1e-6)
    assert float(total_correlation(first, second, n_components=2)) == pytest.approx(sum(expected[:2]), abs=1e-6)


def test_the_loss_is_one_less_the_mean_correlation():
    pair = {"image": F.normalize(views(50, (5, 5), shared=3, seed=1)[0], dim=1)}
    pair["text"] = F.normalize(views(50, (5, 5), shared=3, seed=1)[1], dim=1)
    total, _ = andrew(pair["image"].numpy() * 5**0.5, pair["text"].numpy() * 5**0.5, 0.2)
    found = DeepCca(("image", "text"), 5, ridge=0.2)(pair, torch.ones(50, 2).bool())
    assert float(found) == pytest.approx(1 - total / 5, abs=1e-9)


def test_fewer_cases_than_numbers_have_a_finite_gradient():
    image, text = (F.normalize(view.float(), dim=1).requires_grad_() for view in views(4, (16, 16), shared=2, seed=0))
    DeepCca(("image", "text"), 16)({"image": image, "text": text}, torch.ones(4, 2).bool()).backward()
    assert torch.isfinite(image.grad).all() and image.grad.any()


def test_training_makes_two_views_correlate_that_do_not_at_first():
    torch.manual_seed(0)
    common = torch.randn(128, 2)
    first = torch.cat([torch.randn(128, 4) * 2, common], dim=1)
    second = torch.cat([common.exp(), torch.randn(128, 4) * 2], dim=1)
    networks = [torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)) for _ in range(2)]
    aligner = DeepCca(("image", "text"), 2, ridge=1e-3)
    optimizer = torch.optim.Adam([p for net in networks for p in net.parameters()], lr=0.01)
    course = []
    for _ in range(150):
        optimizer.zero_grad()
        image, text = (F.normalize(net(x), dim=1) for net, x in zip(networks, (first, second), strict=True))
        loss = aligner({"image": image, "text": text}, torch.ones(128, 2).bool())
        loss.backward()
        optimizer.step()
        course.append(float(loss.detach()))
    assert course[0] > 0.5 and course[-1] < 0.25


@pytest.mark.parametrize("options", [{"ridge": 0.0}, {"n_components": 9}, {"n_components": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=r"model\.aligner\."):
        DeepCca(("image", "text"), 8, **options)
