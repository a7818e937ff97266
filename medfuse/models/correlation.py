"""The aligner that makes embeddings correlate: deep canonical correlation analysis."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medfuse.errors import ConfigError
from medfuse.models.aligner import PairAligner

__all__ = ["DeepCca", "total_correlation"]


def total_correlation(first: Tensor, second: Tensor, *, ridge: float = 0.0, n_components: int | None = None) -> Tensor:
    """Return the sum of the canonical correlations of two views.

    Parameters
    ----------
    first, second : Tensor, shape (n, p) and (n, q), float
    ridge : float
        Added to the diagonal of both covariance matrices; above 0 unless n is greater than p and q.
    n_components : int, optional
        Sum the highest so many; all by default.

    Returns
    -------
    Tensor, shape ()

    Notes
    -----
    Source: Andrew et al. 2013, Deep Canonical Correlation Analysis, equation 10. T is made with Cholesky
    factors in place of the covariances' inverse roots: they differ by a rotation, which leaves the singular values as
    they are, and have a gradient where eigenvalues coincide.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0], [0.0, -3.0]])
    >>> round(float(total_correlation(x, x.flip(1))), 4)
    2.0
    """
    a, b = (view - view.mean(dim=0) for view in (first, second))
    n = len(first) - 1
    roots = [
        torch.linalg.cholesky(
            view.T @ view / n + ridge * torch.eye(view.shape[1], dtype=view.dtype, device=view.device)
        )
        for view in (a, b)
    ]
    half = torch.linalg.solve_triangular(roots[0], a.T @ b / n, upper=False)
    whole = torch.linalg.solve_triangular(roots[1], half.T, upper=False)
    correlations: Tensor = torch.linalg.svdvals(whole)[:n_components]
    return correlations.sum()


class DeepCca(PairAligner):
    """Correlate the embeddings: one less the mean canonical correlation between two modalities over the batch.

    The loss is the mean over all pairs of modalities. A batch that is not much larger than E correlates by chance
    alone: the ridge then decides, and large batches are worth their cost.

    Parameters
    ----------
    modalities : tuple of str
    embedding_size : int
        E.
    ridge : float
        Above 0, added to the variances of the embeddings' numbers, which are brought to a mean square of 1.
    n_components : int, optional
        How many correlations count, the highest first; all E by default.

    Raises
    ------
    ConfigError
        If the ridge is not above 0 or there are not so many components.

    Notes
    -----
    Source: Andrew et al. 2013, Deep Canonical Correlation Analysis, equation 10, whose maximum is this loss's
    minimum; batches in place of the whole data as in Wang et al. 2015, On Deep Multi-View Representation Learning.

    Examples
    --------
    >>> aligner = DeepCca(("image", "text"), 2, ridge=1e-6)
    >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> a = torch.nn.functional.normalize(torch.randn(20, 2), dim=1)
    >>> bool(aligner({"image": a, "text": a @ turn}, torch.ones(20, 2, dtype=torch.bool)) < 1e-3)
    True
    """

    fewest_pairs: ClassVar[int] = 2

    def __init__(
        self,
        modalities: tuple[str, ...],
        embedding_size: int,
        *,
        ridge: float = 0.1,
        n_components: int | None = None,
    ) -> None:
        super().__init__(modalities)
        if not ridge > 0:
            raise ConfigError("model.aligner.ridge", f"found {ridge}", expected="a number above 0")
        if n_components is not None and not 1 <= n_components <= embedding_size:
            raise ConfigError("model.aligner.n_components", f"found {n_components}", expected=f"1 to {embedding_size}")
        self.ridge = ridge
        self.n_components = n_components or embedding_size

    def pair_loss(self, names: tuple[str, str], first: Tensor, second: Tensor) -> Tensor:
        """Return one less the mean canonical correlation."""
        # In double precision: the inverse of a covariance squares the rounding.
        a, b = (view.double() * view.shape[1] ** 0.5 for view in (first, second))
        total = total_correlation(a, b, ridge=self.ridge, n_components=self.n_components)
        return (1 - total / self.n_components).to(first.dtype)
