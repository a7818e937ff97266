"""Turn the shape of a nodule into CT grey values, at its true size or at one common size.

Only the shape goes in: no score, no label, no diameter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medfuse.types import Array

__all__ = ["equivalent_diameter", "occupancy", "render_ct", "scale_shape", "signed_distance"]

TISSUE_HU = 30.0
LUNG_HU = -850.0
NOISE_HU = 25.0
"""Standard deviation of the noise."""
NOISE_CORRELATION_MM = 0.6
POINT_SPREAD_MM = 0.6
"""Standard deviations of the Gaussians that make the noise correlated and the edges soft."""

Float32 = NDArray[np.float32]
Triple = tuple[float, float, float]


def equivalent_diameter(mask: NDArray[np.bool_], *, spacing: Triple) -> float:
    """Return the diameter in mm of the ball that has the volume of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (I, J, K)
    spacing : tuple of float
        mm along I, J and K.

    Examples
    --------
    >>> round(equivalent_diameter(np.ones((2, 2, 2), bool), spacing=(1.0, 1.0, 1.0)), 3)
    2.481
    """
    volume = np.count_nonzero(mask) * float(np.prod(spacing))
    return float((6 * volume / np.pi) ** (1 / 3))


def signed_distance(mask: NDArray[np.bool_], *, spacing: Triple) -> Float32:
    """Return the distance of each voxel to the surface of a mask, in mm, positive inside.

    Its linear interpolation is shape-based interpolation: the surface between voxels becomes smooth.

    Parameters
    ----------
    mask : ndarray of bool, shape (I, J, K)
        With at least one voxel of either kind.
    spacing : tuple of float
        mm along I, J and K.

    Returns
    -------
    ndarray, shape (I, J, K), float32

    Notes
    -----
    Source: Raya & Udupa 1990, "Shape-based interpolation of multidimensional objects", IEEE Trans. Med. Imaging 9.

    Examples
    --------
    >>> mask = np.array([False, False, True, True, False]).reshape(5, 1, 1)
    >>> signed_distance(mask, spacing=(2.0, 1.0, 1.0)).ravel()
    array([-4., -2.,  2.,  2., -2.], dtype=float32)
    """
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    return (inside - outside).astype(np.float32)


def occupancy(distance: Float32, *, origin: Triple, step: Triple, shape: tuple[int, int, int]) -> Float32:
    """Return the share of each voxel of a grid that lies inside a shape: partial volume.

    Parameters
    ----------
    distance : ndarray, shape (I, J, K)
        Of `signed_distance`; beyond its edge all is outside.
    origin : tuple of float
        Where the centre of the grid's first voxel lies, in voxel indices of ``distance``.
    step : tuple of float
        From one voxel of the grid to the next, in voxel indices of ``distance``.
    shape : tuple of int
        Of the grid.

    Returns
    -------
    ndarray, shape ``shape``, float32, in [0, 1]
        In eighths: each voxel is sampled at 2 x 2 x 2 points.

    Examples
    --------
    >>> distance = np.array([-1.0, 1.0, -1.0], np.float32).reshape(3, 1, 1)
    >>> occupancy(distance, origin=(0, 0, 0), step=(0.5, 1, 1), shape=(5, 1, 1)).ravel()
    array([0. , 0.5, 1. , 0.5, 0. ], dtype=float32)
    """
    axes = [o + s * (np.arange(2 * n) / 2 - 0.25) for o, s, n in zip(origin, step, shape, strict=True)]
    for axis, points in enumerate(axes):
        distance = _interpolate(distance, points, axis=axis)
    i, j, k = shape
    inside = (distance > 0).reshape(i, 2, j, 2, k, 2)
    share: Float32 = inside.mean(axis=(1, 3, 5), dtype=np.float32)
    return share


def _interpolate(field: Float32, points: Array, *, axis: int) -> Float32:
    """Sample a field linearly along one axis, in voxel indices; beyond the edge its last value holds.

    A grid along the axes needs no more than this, and it is ten times faster than sampling in space.
    """
    last = field.shape[axis] - 1
    points = np.clip(points, 0, last)
    low = np.floor(points).astype(int)
    weight = np.expand_dims((points - low).astype(np.float32), [a for a in range(3) if a != axis])
    below, above = field.take(low, axis), field.take(np.minimum(low + 1, last), axis)
    sampled: Float32 = below + weight * (above - below)
    return sampled


def scale_shape(mask: NDArray[np.bool_], *, spacing: Triple, diameter: float, samples: float, size: int) -> Float32:
    """Scale a shape until a ball of its volume has one diameter, drawn from one number of voxels.

    A small nodule has few voxels and so a coarse outline, a large one many and a fine outline: that alone
    would tell them apart. So each shape is first drawn anew on a grid of ``samples`` voxels a diameter, equal
    along all axes, and only then interpolated to the final grid. This narrows the
    difference and does not remove it: reports/lidc states how much of the diameter can still be read off.

    Parameters
    ----------
    mask : ndarray of bool, shape (I, J, K)
        With a margin of background.
    spacing : tuple of float
        mm along I, J and K.
    diameter : float
        Equivalent diameter after scaling, in voxels of the result.
    samples : float
        Voxels across the equivalent diameter of the grid in between.
    size : int
        Edge of the cubic result, with the shape's centroid in the middle.

    Returns
    -------
    ndarray, shape (size, size, size), float32, in [0, 1]
        Share of each voxel inside the shape.
    """
    for across, edge in ((samples, int(np.ceil(size * samples / diameter)) + 1), (diameter, size)):
        centre = np.argwhere(mask).mean(axis=0)
        voxel = equivalent_diameter(mask, spacing=spacing) / across
        step = voxel / np.asarray(spacing)
        origin = centre - step * (edge - 1) / 2
        share = occupancy(
            signed_distance(mask, spacing=spacing),
            origin=tuple(origin),
            step=tuple(step),
            shape=(edge, edge, edge),
        )
        mask, spacing = share >= 0.5, (voxel, voxel, voxel)
    return share


def render_ct(share: Float32, *, spacing: Triple, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return HU of solid tissue in lung, with partial volume, point spread and correlated noise.

    Parameters
    ----------
    share : ndarray, shape (I, J, K), in [0, 1]
        Of each voxel that is tissue.
    spacing : tuple of float
        mm along I, J and K.
    rng : numpy.random.Generator
        Makes the noise.

    Returns
    -------
    ndarray, shape (I, J, K), int16, HU

    Examples
    --------
    >>> hu = render_ct(np.ones((8, 8, 8), np.float32), spacing=(1.0, 1.0, 1.0), rng=np.random.default_rng(0))
    >>> hu.dtype, round(float(hu.std()))
    (dtype('int16'), 25)
    """
    tissue = ndimage.gaussian_filter(share, POINT_SPREAD_MM / np.asarray(spacing))
    noise = _correlated_noise(share.shape, NOISE_CORRELATION_MM / np.asarray(spacing), rng)
    hu = LUNG_HU + (TISSUE_HU - LUNG_HU) * tissue + NOISE_HU * noise
    return np.rint(hu).astype(np.int16)


def _correlated_noise(shape: tuple[int, ...], sigma: Array, rng: np.random.Generator) -> Float32:
    """Return smoothed Gaussian noise of standard deviation 1; ``sigma`` in voxels."""
    noise: Float32 = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    noise /= noise.std()
    return noise
