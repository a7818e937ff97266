"""Draw the image of a nodule of LIDC-IDRI from its reporting reader's contours.

Real are the contours and the spacing, made are the grey values. The database holds no ImagePositionPatient but
z, so pixel (0, 0) of each slice is taken as x = y = 0 in LPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medfuse.cohorts.lidc_annotations import Contour, Nodule
from medfuse.cohorts.lidc_render import occupancy, render_ct, scale_shape, signed_distance
from medfuse.errors import LesionPositionError
from medfuse.splits import hash_fraction
from medfuse.types import Array, Unit, Volume

__all__ = ["lesion_volume", "rasterise"]

CROP_MM = 56.0
"""Edge of the volume around a nodule of true size; the largest one measures 52 mm."""
MARGIN_VOXELS = 3

NORMAL_SIZE = 36
NORMAL_SPACING_MM = 1.5
NORMAL_DIAMETER_MM = 24.0
NORMAL_SAMPLES = 16.0
"""The one cube, nominal spacing, equivalent diameter and voxels across it of every normalised nodule."""

Mask = NDArray[np.bool_]


def lesion_volume(
    nodule: Nodule,
    *,
    image: Literal["rendered", "mask"] = "rendered",
    size: Literal["keep", "normalise"] = "keep",
    seed: int = 0,
) -> tuple[Volume, tuple[float, float, float]]:
    """Draw one nodule.

    Parameters
    ----------
    nodule : Nodule
        Of its reader annotations only the reporting reader's contours are used.
    image : {"rendered", "mask"}
        CT in HU, or 1 inside and 0 outside in arbitrary units.
    size : {"keep", "normalise"}
        The true pixel and slice grid around the nodule; or one cube in which every nodule has the same
        volume, drawn from the same number of voxels and with the same blur. Its mm are nominal.
    seed : int
        Another seed gives other noise.

    Returns
    -------
    volume : Volume
        int16.
    centre : tuple of float
        Centroid of the nodule, RAS mm.

    Raises
    ------
    LesionPositionError
        If the contours enclose no pixel.
    """
    scan = nodule.scan
    mask, affine = rasterise(
        nodule.reporting.contours, pixel_spacing=scan.pixel_spacing_mm, slice_spacing=scan.slice_spacing_mm
    )
    if not mask.any():
        raise LesionPositionError(
            f"nodule {nodule.index}", "found contours that enclose no pixel", expected="a nodule with an area"
        )
    share, affine, centre = (_normal_size if size == "normalise" else _true_size)(mask, affine)
    spacing = _spacing(affine)
    unit: Unit = "HU"
    if image == "mask":
        voxels, unit = (share >= 0.5).astype(np.int16), "arbitrary"
    else:
        key = hash_fraction("noise", seed, scan.study_instance_uid, nodule.index)
        voxels = render_ct(share, spacing=spacing, rng=np.random.default_rng(int(key * 2**48)))
    x, y, z = (float(value) for value in centre)
    return Volume(voxels, affine, unit=unit, source=f"LIDC nodule {nodule.index}"), (x, y, z)


def rasterise(contours: Sequence[Contour], *, pixel_spacing: float, slice_spacing: float) -> tuple[Mask, Array]:
    """Fill contours on the scan's own grid.

    Parameters
    ----------
    contours : sequence of Contour
        At least one. The pixels of an outline are outside the nodule; a contour with ``inclusion`` False is a
        hole, its outline included.
    pixel_spacing, slice_spacing : float
        mm.

    Returns
    -------
    mask : ndarray of bool, shape (I, J, K)
        The bounding box of the contours and one more slice on either side; I runs along the columns of the
        scan (to the left), J along its rows (to the back), K to the head.
    affine : ndarray, shape (4, 4)
        Voxel index to RAS+ mm.

    Examples
    --------
    >>> square = np.array([[10, 20], [13, 20], [13, 23], [10, 23]])
    >>> mask, affine = rasterise([Contour(-50.0, True, square)], pixel_spacing=0.5, slice_spacing=2.0)
    >>> mask.shape, int(mask.sum())
    ((4, 4, 3), 4)
    >>> (affine @ [0, 0, 1, 1])[:3]
    array([ -5., -10., -50.])
    """
    points = np.concatenate([contour.points for contour in contours])
    low, high = points.min(axis=0), points.max(axis=0)
    z_low = min(contour.z_mm for contour in contours)
    slices = [round((contour.z_mm - z_low) / slice_spacing) + 1 for contour in contours]
    mask = np.zeros((*(high - low + 1), max(slices) + 2), dtype=np.bool_)
    holes = np.zeros_like(mask)
    for contour, k in zip(contours, slices, strict=True):
        outline = _draw_outline(contour.points - low, mask.shape[:2])
        filled = ndimage.binary_fill_holes(outline)
        if contour.inclusion:
            mask[:, :, k] |= filled & ~outline
        else:
            holes[:, :, k] |= filled
    affine = np.diag([-pixel_spacing, -pixel_spacing, slice_spacing, 1.0])
    affine[:3, 3] = [-low[0] * pixel_spacing, -low[1] * pixel_spacing, z_low - slice_spacing]
    return mask & ~holes, affine


def _draw_outline(points: NDArray[np.integer], shape: tuple[int, ...]) -> Mask:
    """Mark the pixels of a closed outline; gaps between two of its points are bridged by a straight line."""
    outline = np.zeros(shape, dtype=np.bool_)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        line = np.rint(np.linspace(start, end, int(np.abs(end - start).max()) + 1)).astype(int)
        outline[line[:, 0], line[:, 1]] = True
    return outline


def _true_size(mask: Mask, affine: Array) -> tuple[NDArray[np.float32], Array, Array]:
    """Return occupancy on the scan's grid in a crop around the nodule, its affine and the centroid."""
    spacing = _spacing(affine)
    wanted = [int(np.ceil(CROP_MM / step)) for step in spacing]
    margins = [max((n - have) // 2, MARGIN_VOXELS) for n, have in zip(wanted, mask.shape, strict=True)]
    tight = np.pad(mask, 1)
    share = occupancy(signed_distance(tight, spacing=spacing), origin=(0, 0, 0), step=(1, 1, 1), shape=tight.shape)
    crop = affine.copy()
    crop[:3, 3] -= affine[:3, :3] @ margins
    return np.pad(share, [(m - 1, m - 1) for m in margins]), crop, _centroid(mask, affine)


def _normal_size(mask: Mask, affine: Array) -> tuple[NDArray[np.float32], Array, Array]:
    """Return occupancy on the common cube, its affine and its centre, the origin."""
    share = scale_shape(
        np.pad(mask, 1),
        spacing=_spacing(affine),
        diameter=NORMAL_DIAMETER_MM / NORMAL_SPACING_MM,
        samples=NORMAL_SAMPLES,
        size=NORMAL_SIZE,
    )
    cube = np.diag([-NORMAL_SPACING_MM, -NORMAL_SPACING_MM, NORMAL_SPACING_MM, 1.0])
    cube[:3, 3] = -cube[:3, :3] @ np.full(3, (NORMAL_SIZE - 1) / 2)
    return share, cube, np.zeros(3)


def _spacing(affine: Array) -> tuple[float, float, float]:
    i, j, k = np.abs(np.diagonal(affine)[:3])
    return float(i), float(j), float(k)


def _centroid(mask: Mask, affine: Array) -> Array:
    centre: Array = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    return centre
