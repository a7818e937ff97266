from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lstsq, orthogonal_procrustes, subspace_angles
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LinearRegression, Ridge

from medfuse.errors import DataError
from medfuse.evaluation import fit_cca, fit_least_squares, fit_procrustes, fit_ridge

SIZES = {"n": st.integers(8, 40), "p": st.integers(1, 6), "q": st.integers(1, 6), "seed": st.integers(0, 2**30)}


def pair(n: int, p: int, q: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 2))
    return tuple(common @ rng.normal(size=(2, k)) + rng.normal(size=(n, k)) + 3 for k in (p, q))


@settings(max_examples=30, deadline=None)
@given(**SIZES)
def test_least_squares_equals_scipy_and_scikit_learn(n, p, q, seed):
    x, y = pair(n, p, q, seed)
    found = fit_least_squares(x, y)
    np.testing.assert_allclose(found, lstsq(x, y)[0], atol=1e-6)
    np.testing.assert_allclose(found, LinearRegression(fit_intercept=False).fit(x, y).coef_.T, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(**SIZES, penalty=st.floats(0.01, 100))
def test_ridge_equals_scikit_learn(n, p, q, seed, penalty):
    x, y = pair(n, p, q, seed)
    expected = Ridge(alpha=penalty, fit_intercept=False, solver="svd").fit(x, y).coef_.T
    np.testing.assert_allclose(fit_ridge(x, y, penalty=penalty), expected.reshape(p, q), atol=1e-6)


def test_a_small_ridge_is_least_squares():
    x, y = pair(30, 4, 3, 0)
    np.testing.assert_allclose(fit_ridge(x, y, penalty=1e-10), fit_least_squares(x, y), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(8, 40), p=st.integers(1, 6), seed=st.integers(0, 2**30))
def test_procrustes_equals_scipy_and_is_orthogonal(n, p, seed):
    x, y = pair(n, p, p, seed)
    found = fit_procrustes(x, y)
    np.testing.assert_allclose(found, orthogonal_procrustes(x, y)[0], atol=1e-6)
    np.testing.assert_allclose(found.T @ found, np.eye(p), atol=1e-9)


def test_procrustes_recovers_a_rotation():
    x, _ = pair(30, 5, 5, 0)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    np.testing.assert_allclose(fit_procrustes(x, x @ turn), turn, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_cca_equals_scikit_learn(seed):
    x, y = pair(200, 5, 3, seed)
    theirs = CCA(n_components=3, scale=False, max_iter=50_000, tol=1e-14).fit(x, y)
    ours = fit_cca(x, y, n_components=3)
    for mine, other in zip((ours.project_first(x), ours.project_second(y)), theirs.transform(x, y), strict=True):
        other = other / other.std(axis=0, ddof=1)
        signs = np.sign((mine * other).sum(axis=0))
        np.testing.assert_allclose(mine * signs, other, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(16, 60), p=st.integers(1, 6), q=st.integers(1, 6), seed=st.integers(0, 2**30))
def test_canonical_correlations_are_the_cosines_between_the_centred_spaces(n, p, q, seed):
    x, y = pair(n, p, q, seed)
    found = fit_cca(x, y, n_components=min(p, q))
    expected = np.cos(subspace_angles(x - x.mean(axis=0), y - y.mean(axis=0)))[::-1]
    np.testing.assert_allclose(found.correlations, expected, atol=1e-6)
    first, second = found.project_first(x), found.project_second(y)
    np.testing.assert_allclose(first.T @ first / (n - 1), np.eye(min(p, q)), atol=1e-9)
    np.testing.assert_allclose(first.T @ second / (n - 1), np.diag(found.correlations), atol=1e-9)


def test_the_ridge_is_a_share_of_the_mean_variance_so_that_units_do_not_matter():
    x, y = pair(10, 20, 15, 0)
    found = fit_cca(x, y, n_components=2, ridge=0.1)
    scaled = fit_cca(1000 * x, y / 50, n_components=2, ridge=0.1)
    assert 0 < found.correlations[1] <= found.correlations[0] < 1
    np.testing.assert_allclose(scaled.correlations, found.correlations, atol=1e-9)


def test_columns_that_depend_on_each_other_need_a_ridge():
    x, y = pair(10, 20, 3, 0)
    with pytest.raises(DataError, match="columns that depend on each other; expected a ridge above 0"):
        fit_cca(x, y, n_components=2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x, y: fit_cca(x, y, n_components=4), "found 4 components; expected 1 to 3"),
        (lambda x, y: fit_procrustes(x, y), "found vectors of 5 and 3 numbers; expected one size"),
        (lambda x, y: fit_ridge(x, y, penalty=0.0), "a penalty of 0.0; expected a number above 0"),
        (lambda x, y: fit_least_squares(x, y[1:]), r"found shapes \(20, 5\) and \(19, 3\)"),
        (lambda x, y: fit_least_squares(x * np.nan, y), "values that are not finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(call, said):
    with pytest.raises(DataError, match=said):
        call(*pair(20, 5, 3, 0))
