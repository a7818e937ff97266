"""Where the box of a case lies: around its lesion, or around the whole volume."""

from __future__ import annotations

import numpy as np

from medfuse.data.resampling import box_affine
from medfuse.errors import LesionPositionError
from medfuse.image_config import ImageConfig
from medfuse.types import Array, Lesion, StoredVolume, Volume

__all__ = ["region_box"]

Point = tuple[float, float, float]


def region_box(image: ImageConfig, lesion: Lesion, volume: Volume | StoredVolume | None, *, where: str) -> Array:
    """Return the affine of the box of a case.

    Parameters
    ----------
    image : ImageConfig
    lesion : Lesion
    volume : Volume or StoredVolume, optional
        Needed for the whole region only.
    where : str
        For error messages.

    Returns
    -------
    ndarray, shape (4, 4)
        Index in the box to RAS+ mm; isotropic, its axes along R, A and S.

    Raises
    ------
    LesionPositionError
        If the lesion has no position, or no extent to fit the box to.

    Examples
    --------
    >>> lesion = Lesion("1", (10.0, 20.0, 30.0), size_mm=(12.0, 8.0, 8.0))
    >>> box = region_box(ImageConfig(size=(8, 8, 8), spacing_mm=None, margin_mm=2.0), lesion, None, where="lesion")
    >>> box.diagonal()[:3], box[:3, 3]
    (array([2., 2., 2.]), array([ 3., 13., 23.]))
    """
    if image.region == "whole":
        if volume is None:
            raise LesionPositionError(where, "found no image to take whole", expected="an image")
        centre, extent = _field_of_view(volume)
    else:
        if lesion.centre is None:
            raise LesionPositionError(where, "no lesion position", expected="a point, mask or box for each lesion")
        centre = lesion.centre
        if image.spacing_mm is None and lesion.size_mm is None:
            found = "found a point alone, to which no box can be fitted"
            raise LesionPositionError(where, found, expected="a mask, a box, or data.image.spacing_mm")
        extent = np.array(lesion.size_mm or (0, 0, 0)) + 2 * image.margin_mm
    spacing = image.spacing_mm if image.spacing_mm is not None else float((extent / np.array(image.size)).max())
    return box_affine(centre, size=image.size, spacing_mm=spacing)


def _field_of_view(volume: Volume | StoredVolume) -> tuple[Point, Array]:
    """Return the middle of a volume, and its extent along R, A and S from outer edge to outer edge."""
    x, y, z = (volume.affine @ [*((np.array(volume.shape) - 1) / 2), 1.0])[:3].tolist()
    extent: Array = np.abs(volume.affine[:3, :3]) @ np.array(volume.shape, dtype=np.float64)
    return (x, y, z), extent
