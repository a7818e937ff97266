"""Closed forms that carry one set of vectors to another: least squares, ridge, Procrustes, and canonical correlation.

They are fitted once, on vectors that no longer change (features, or a trained model's embeddings of the training
cases), and then applied to others. Cases are rows; a map M is used as ``source @ M``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medfuse.errors import DataError
from medfuse.types import Array

__all__ = ["Cca", "fit_cca", "fit_least_squares", "fit_procrustes", "fit_ridge"]


def fit_least_squares(source: ArrayLike, target: ArrayLike) -> Array:
    """Return the map M, shape (p, q), of least squared distance between ``source @ M`` and the target.

    Of several such maps, as fewer cases than p leave, it is that of the smallest norm.

    Parameters
    ----------
    source : array-like, shape (n, p)
    target : array-like, shape (n, q)

    Notes
    -----
    Source: Mikolov et al. 2013, Exploiting Similarities among Languages for Machine Translation, section 4.

    Examples
    --------
    >>> fit_least_squares([[1.0, 0.0], [0.0, 2.0]], [[3.0], [4.0]]).round(6).tolist()
    [[3.0], [2.0]]
    """
    x, y = _paired(source, target)
    return np.asarray(np.linalg.lstsq(x, y)[0])


def fit_ridge(source: ArrayLike, target: ArrayLike, *, penalty: float) -> Array:
    """Return the map M, shape (p, q), of least squared distance plus ``penalty`` times its squared norm.

    Parameters
    ----------
    source : array-like, shape (n, p)
    target : array-like, shape (n, q)
    penalty : float
        Above 0.

    Raises
    ------
    DataError
        If the penalty is not above 0.

    Notes
    -----
    Source: Hoerl & Kennard 1970, Ridge Regression, equation 2.1.

    Examples
    --------
    >>> fit_ridge([[1.0]], [[1.0]], penalty=1.0).tolist()
    [[0.5]]
    """
    x, y = _paired(source, target)
    if not penalty > 0:
        raise DataError("ridge", f"found a penalty of {penalty}", expected="a number above 0")
    return np.asarray(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y))


def fit_procrustes(source: ArrayLike, target: ArrayLike) -> Array:
    """Return the orthogonal map M, shape (p, p), of least squared distance between ``source @ M`` and the target.

    Parameters
    ----------
    source, target : array-like, shape (n, p)

    Raises
    ------
    DataError
        If they are not of one size.

    Notes
    -----
    Source: Schönemann 1966, A generalized solution of the orthogonal Procrustes problem.

    Examples
    --------
    >>> turned = fit_procrustes([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [-1.0, 0.0]])
    >>> (turned.round(6) + 0.0).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    x, y = _paired(source, target)
    if x.shape[1] != y.shape[1]:
        raise DataError("Procrustes", f"found vectors of {x.shape[1]} and {y.shape[1]} numbers", expected="one size")
    u, _, v = np.linalg.svd(x.T @ y)
    return np.asarray(u @ v)


@dataclass(frozen=True, slots=True, eq=False)
class Cca:
    """Two linear maps into a space where what is of one case correlates.

    Parameters
    ----------
    first_mean, second_mean : ndarray, shape (p,) and (q,)
    first_map, second_map : ndarray, shape (p, K) and (q, K)
        Their images of the cases that were fitted have variance 1, less what the ridge took.
    correlations : ndarray, shape (K,)
        In falling order.
    """

    first_mean: Array
    second_mean: Array
    first_map: Array
    second_map: Array
    correlations: Array

    def project_first(self, vectors: ArrayLike) -> Array:
        """Return vectors of the first kind in the common space, shape (n, K)."""
        return np.asarray((np.asarray(vectors, dtype=np.float64) - self.first_mean) @ self.first_map)

    def project_second(self, vectors: ArrayLike) -> Array:
        """Return vectors of the second kind in the common space, shape (n, K)."""
        return np.asarray((np.asarray(vectors, dtype=np.float64) - self.second_mean) @ self.second_map)


def fit_cca(first: ArrayLike, second: ArrayLike, *, n_components: int, ridge: float = 0.0) -> Cca:
    """Fit linear canonical correlation analysis.

    Parameters
    ----------
    first : array-like, shape (n, p)
    second : array-like, shape (n, q)
    n_components : int
        K, 1 to the smaller of p and q.
    ridge : float
        0 or more: added to both covariance matrices as a share of their mean variance. Above 0 where n is not greater
        than p and q, or columns depend on each other.

    Returns
    -------
    Cca

    Raises
    ------
    DataError
        If there are not so many components, or a covariance matrix cannot be inverted.

    Notes
    -----
    Source: Hotelling 1936, Relations between two sets of variates; the ridge as in Vinod 1976, Canonical ridge and
    econometrics of joint production.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0], [0.0, -3.0]])
    >>> fit_cca(x, x[:, :1] + 5, n_components=1).correlations.round(6).tolist()
    [1.0]
    """
    x, y = _paired(first, second)
    if not 1 <= n_components <= min(x.shape[1], y.shape[1]):
        expected = f"1 to {min(x.shape[1], y.shape[1])}"
        raise DataError("CCA", f"found {n_components} components", expected=expected)
    means = x.mean(axis=0), y.mean(axis=0)
    a, b = x - means[0], y - means[1]
    whiten = [_inverse_root(view.T @ view / (len(view) - 1), ridge) for view in (a, b)]
    u, correlations, v = np.linalg.svd(whiten[0] @ (a.T @ b / (len(a) - 1)) @ whiten[1])
    keep = slice(n_components)
    return Cca(*means, whiten[0] @ u[:, keep], whiten[1] @ v[keep].T, correlations[keep])


def _inverse_root(covariance: Array, ridge: float) -> Array:
    values, vectors = np.linalg.eigh(
        covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    )
    if values[0] <= values[-1] * 1e-12:
        raise DataError("CCA", "found columns that depend on each other", expected="a ridge above 0, or fewer columns")
    return np.asarray((vectors * values**-0.5) @ vectors.T)


def _paired(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 1:
        raise DataError("linear map", f"found shapes {x.shape} and {y.shape}", expected="(n, p) and (n, q), n >= 1")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("linear map", "found values that are not finite", expected="finite vectors")
    return x, y
