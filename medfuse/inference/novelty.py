"""How unlike the training images an image is, by its pixels alone, and how much of that is too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medfuse.errors import BundleError
from medfuse.models.box_statistics import BoxStatistics
from medfuse.types import Array

__all__ = ["FALSE_ALARMS", "MAX_IMAGES", "ImageStatistics", "NoveltyLimit", "fit_novelty", "novelty_limit"]

FALSE_ALARMS = 0.05
"""Share of images like the validation images that may be called unlike."""
MAX_IMAGES = 10_000
"""Training images that the score is fitted on: more tell no more of so few statistics."""
N_BINS = 16
SMALLEST_SPREAD = 0.01
"""A statistic that all training images share is not known more exactly: 1 %, or a ten-thousandth of the voxels."""


class ImageStatistics:
    """Describe a prepared image by numbers that no turn by right angles and no flip changes, and that need no learning.

    Of each channel: the roots of the shares of voxels in 16 equal bins, and of those at either end of the window, where
    all that lies beyond is clipped; the logarithms of sum and principal variances; the power spectrum averaged over
    directions.

    Parameters
    ----------
    image_shape : tuple of int
        (C, I, J, K).

    Notes
    -----
    Source: histogram, moments and spectrum as in `medfuse.models.box_statistics.BoxStatistics`; roots of shares have
    about equal variances, whatever the share (Bartlett 1936, The square root transformation in analysis of variance).
    """

    def __init__(self, image_shape: tuple[int, int, int, int]) -> None:
        channels, *size = image_shape
        self._statistics = BoxStatistics(1, (size[0], size[1], size[2]))
        self.size = channels * (N_BINS + 2 + 4 + self._statistics.n_shells)

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Array:
        """Return the statistics, shape (size,), of an image of shape (C, I, J, K) with values in [0, 1]."""
        waves = torch.cat([self._statistics.moments(image), self._statistics.spectrum(image)], dim=1)
        shares = torch.stack([_shares(channel) for channel in image])
        found: Array = torch.cat([shares, waves], dim=1).double().flatten().numpy()
        return found


def _shares(channel: Tensor) -> Tensor:
    """Return the roots of the shares of voxels at 0, in each bin, and at 1."""
    values = channel.flatten()
    bins = (values * N_BINS).to(torch.int32).clamp_(0, N_BINS)  # those at 1 have a bin of their own
    counts = torch.bincount(bins, minlength=N_BINS + 1)
    at_zero = (values <= 0).sum()
    counts[0] -= at_zero
    return (torch.cat([at_zero[None], counts]) / len(values)).sqrt()


@dataclass(frozen=True, slots=True, eq=False)
class NoveltyLimit:
    """What training images look like, and how far from it an image may lie.

    Parameters
    ----------
    centre : ndarray, shape (S,)
        Mean statistics of the training images.
    whitening : ndarray, shape (S, S)
        Makes the statistics of the training images uncorrelated and of variance 1.
    limit : float
        Mahalanobis distance above which an image is out of distribution.
    promise : float
        Share of false alarms that the limit promises on average.
    n_validation, n_alarms : int
        Validation images that the limit was set on, and how many of them lie above it.

    Raises
    ------
    BundleError
        If a value is out of range.
    """

    centre: Array
    whitening: Array
    limit: float
    promise: float
    n_validation: int
    n_alarms: int

    def __post_init__(self) -> None:
        size = self.centre.size
        if self.centre.shape != (size,) or self.whitening.shape != (size, size):
            raise BundleError("out-of-distribution limit", "found arrays of other shapes", expected="(S,) and (S, S)")
        numbers = (*self.centre.flat, *self.whitening.flat, self.limit, self.promise)
        counted = 0 <= self.n_alarms <= self.n_validation and self.n_validation > 0
        if not (all(map(math.isfinite, numbers)) and self.limit > 0 and 0 < self.promise < 1 and counted):
            raise BundleError("out-of-distribution limit", "found a value out of range", expected="finite, limit > 0")

    def score(self, statistics: Array) -> float:
        """Return the distance of an image's statistics, shape (S,), as a multiple of the limit: above 1 is too far."""
        return float(np.linalg.norm((statistics - self.centre) @ self.whitening)) / self.limit

    @property
    def false_alarm_rate(self) -> float:
        """Share of the validation images above the limit."""
        return self.n_alarms / self.n_validation


def fit_novelty(
    train: Array, validation: Array, patients: Sequence[str], *, false_alarms: float = FALSE_ALARMS
) -> NoveltyLimit:
    """Learn what training images look like, and set the limit on validation images.

    Parameters
    ----------
    train, validation : ndarray, shape (n, S) and (m, S)
        Statistics of images of different patients; n >= 2, m >= 1.
    patients : sequence of str
        Of each validation image.
    false_alarms : float
        Share of false alarms to promise, in (0, 1).

    Returns
    -------
    NoveltyLimit

    Notes
    -----
    Source: Mahalanobis distance as in Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution
    Samples, section 2.1, on fixed statistics and without classes; covariance shrunk as by Ledoit and Wolf 2004, A
    well-conditioned estimator for large-dimensional covariance matrices.
    """
    from sklearn.covariance import ledoit_wolf

    centre = train.mean(axis=0)
    deviation = train.std(axis=0)
    spread = np.maximum(deviation, SMALLEST_SPREAD)
    covariance, _ = ledoit_wolf((train - centre) / spread, assume_centered=True)
    covariance += np.diag(1 - (deviation / spread) ** 2)  # what is not known more exactly has a variance of its own
    whitening = np.linalg.cholesky(np.linalg.inv(covariance)) / spread[:, None]
    distances = np.linalg.norm((validation - centre) @ whitening, axis=1)
    limit, promise = novelty_limit(distances, patients, false_alarms=false_alarms)
    return NoveltyLimit(centre, whitening, limit, promise, len(distances), int((distances > limit).sum()))


def novelty_limit(distances: Array, patients: Sequence[str], *, false_alarms: float) -> tuple[float, float]:
    """Return the limit that so few images of new patients exceed, and the share that is promised.

    Parameters
    ----------
    distances : ndarray, shape (m,)
        Of validation images; m >= 1.
    patients : sequence of str
        Of each of them; each patient counts once.
    false_alarms : float
        Share to promise, in (0, 1). Few patients allow no less than one in their number and one more: the limit then
        is the greatest distance.

    Returns
    -------
    limit, promise : float

    Notes
    -----
    Source: the finite-sample quantile of split conformal prediction, Angelopoulos and Bates 2023, section 1; patients
    as in Lee, Barber and Willett 2023, Distribution-free inference with hierarchical data, section 3.

    Examples
    --------
    >>> novelty_limit(np.arange(1.0, 20.0), [str(i) for i in range(19)], false_alarms=0.1)
    (18.0, 0.1)
    >>> novelty_limit(np.arange(1.0, 4.0), ["a", "b", "c"], false_alarms=0.1)
    (3.0, 0.25)
    """
    _, patient, sizes = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    order = np.argsort(distances, kind="stable")
    below = np.cumsum(1.0 / sizes[patient][order])
    needed = (1 - false_alarms) * (sizes.size + 1)
    place = int(np.searchsorted(below, needed - 1e-9 * needed))
    smallest = float(np.finfo(np.float64).tiny)  # of images that are all one and the same
    if place == distances.size:
        return max(float(distances.max()), smallest), 1 / (sizes.size + 1)
    return max(float(distances[order[place]]), smallest), false_alarms
