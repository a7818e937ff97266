"""How much of a number can be read off images that should not tell it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medfuse.errors import UsageError
from medfuse.types import Array

__all__ = ["explained_variance"]

N_COMPONENTS = 40
HISTOGRAM_BINS = 12


def explained_variance(images: NDArray[np.floating], values: ArrayLike, folds: ArrayLike) -> float:
    """Return the share of a value's variance that a regression on the images explains, out of fold.

    The regression (gradient-boosted trees) sees each image's grey-value histogram, its power spectrum along each
    axis, which shows the steps of voxels, and its 40 principal components.

    Parameters
    ----------
    images : ndarray, shape (n, I, J, K)
        In [0, 1].
    values : array_like, shape (n,)
        For example log diameters.
    folds : array_like, shape (n,)
        Each fold is predicted by a regression on the others.

    Returns
    -------
    float
        R squared; 0 or less means nothing was found.

    Raises
    ------
    UsageError
        If the lengths differ or there are fewer than 2 folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> size = rng.random(200)
    >>> images = np.full((200, 4, 4, 4), 0.5) * size[:, None, None, None]
    >>> explained_variance(images, size, np.arange(200) % 5) > 0.9
    True
    """
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingRegressor

    wanted, parts = np.asarray(values, dtype=np.float64), np.asarray(folds)
    if not len(images) == len(wanted) == len(parts) or len(np.unique(parts)) < 2:
        found = f"found {len(images)} images, {len(wanted)} values, {len(np.unique(parts))} folds"
        raise UsageError("explained_variance", found, expected="equal lengths and 2 or more folds")
    described = np.stack([_describe(image) for image in images])
    flat = images.reshape(len(images), -1).astype(np.float32)
    predicted = np.empty(len(wanted))
    for fold in np.unique(parts):
        train, test = parts != fold, parts == fold
        components = PCA(min(N_COMPONENTS, int(train.sum()) - 1, flat.shape[1]), random_state=0).fit(flat[train])
        features = np.hstack([described, components.transform(flat)])
        model = HistGradientBoostingRegressor(random_state=0).fit(features[train], wanted[train])
        predicted[test] = model.predict(features[test])
    return float(1 - ((wanted - predicted) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())


def _describe(image: NDArray[np.floating]) -> Array:
    power = np.abs(np.fft.fftn(image.astype(np.float64))) ** 2
    spectra = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        spectra.append(np.log(power.sum(axis=others)[: image.shape[axis] // 2 + 1] + 1e-9))
    histogram = np.histogram(image, bins=HISTOGRAM_BINS, range=(0, 1))[0] / image.size
    return np.concatenate([*spectra, histogram])
