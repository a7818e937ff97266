"""Cut the real CT of a nodule of LIDC-IDRI out of a folder of its DICOM files.

A scan is found by its SeriesInstanceUID, the slices of a contour by the z of their ImagePositionPatient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from medfuse.cohorts.lidc_annotations import Nodule
from medfuse.cohorts.lidc_image import CROP_MM, Mask, rasterise
from medfuse.errors import DataError, GeometryError, LesionPositionError, VolumeError
from medfuse.io import index_archive
from medfuse.io.dicom_split import Stack, split_series
from medfuse.io.series_files import SeriesFiles
from medfuse.io.volumes import ImageSource, read_source
from medfuse.types import Array, Volume

__all__ = ["ct_lesion", "find_ct_series"]

Z_TOLERANCE_MM = 0.05
SPACING_TOLERANCE_MM = 1e-3
AXIAL_TOLERANCE = 1e-3


def find_ct_series(folder: Path, nodules: Iterable[Nodule]) -> Mapping[str, ImageSource | DataError]:
    """Find the CT series of nodules in a folder.

    Parameters
    ----------
    folder : Path
        DICOM files of LIDC-IDRI in any layout, as many scans as there are.
    nodules : iterable of Nodule

    Returns
    -------
    mapping of str to ImageSource or DataError
        By SeriesInstanceUID, of every nodule's scan; an error says why a scan cannot be used.
    """
    index = index_archive(folder)
    reasons = dict(zip(index.series["series_uid"], index.series["reason"], strict=True))
    found: dict[str, ImageSource | DataError] = {}
    for uid in sorted({nodule.scan.series_instance_uid for nodule in nodules}):
        absent = VolumeError("scan", "found no such series in the DICOM folder", expected="its SeriesInstanceUID")
        refused = VolumeError("scan", str(reasons[uid])) if uid in reasons else absent
        found[uid] = index.sources.get(uid, refused)
    return found


def ct_lesion(nodule: Nodule, source: ImageSource) -> tuple[Volume, Volume, tuple[float, float, float]]:
    """Read the CT around one nodule and draw its contours in that geometry.

    Parameters
    ----------
    nodule : Nodule
        Of its reader annotations only the reporting reader's contours are used.
    source : ImageSource
        The DICOM series of its scan.

    Returns
    -------
    volume : Volume
        The voxels of the scan in a cube of `CROP_MM` around the nodule, in HU.
    mask : Volume
        The contours on the same grid.
    centre : tuple of float
        Centroid of the contours, RAS mm.

    Raises
    ------
    GeometryError
        If the series is not axial, has another pixel spacing than the annotations, or lacks a contour's slice.
    LesionPositionError
        If the contours enclose no pixel.
    VolumeError
        If the series cannot be read, or is not in HU.
    """
    stack = _stack(source)
    affine = stack.affine
    _check_scan(nodule, affine)
    mask, corner = _draw(nodule, affine, n_slices=len(stack.slices))
    if not mask.any():
        raise LesionPositionError(
            f"nodule {nodule.index}", "found contours that enclose no pixel", expected="a nodule with an area"
        )
    centre = (affine @ [*(np.argwhere(mask).mean(axis=0) + corner), 1.0])[:3]
    low, high = tuple((centre - CROP_MM / 2).tolist()), tuple((centre + CROP_MM / 2).tolist())
    volume = read_source(stack, box_mm=(low, high))
    if volume.unit != "HU":
        raise VolumeError(f"nodule {nodule.index}", "found a series whose values are not HU", expected="a CT")
    x, y, z = centre.tolist()
    return volume, _on_grid(mask, corner, affine, volume), (x, y, z)


def _stack(source: ImageSource) -> Stack:
    if isinstance(source, Path):
        raise VolumeError("scan", "found an image that is no DICOM series", expected="DICOM files")
    if isinstance(source, SeriesFiles):
        return source.stack()
    stacks = [source] if isinstance(source, Stack) else split_series(source, where="scan")
    if len(stacks) != 1:
        raise VolumeError("scan", f"found {len(stacks)} volumes in its series", expected="one")
    return stacks[0]


def _check_scan(nodule: Nodule, affine: Array) -> None:
    where, spacing = f"nodule {nodule.index}", np.linalg.norm(affine[:3, :2], axis=0)
    directions = affine[:3, :2] / spacing
    # Columns run to the left and rows to the back, so the pixels of the annotations are those of the image.
    if not np.allclose(directions, [[-1, 0], [0, -1], [0, 0]], rtol=0, atol=AXIAL_TOLERANCE):
        raise GeometryError(where, "found a series that is not axial", expected="ImageOrientationPatient 1 0 0 0 1 0")
    if np.abs(spacing - nodule.scan.pixel_spacing_mm).max() > SPACING_TOLERANCE_MM:
        raise GeometryError(where, "found another PixelSpacing than its annotations have", expected="the same scan")


def _draw(nodule: Nodule, affine: Array, *, n_slices: int) -> tuple[Mask, Array]:
    """Fill the contours on the scan's grid; return the mask of their bounding box and its first voxel's index."""
    contours, step = nodule.reporting.contours, float(affine[2, 2])
    slices = np.array([(contour.z_mm - affine[2, 3]) / step for contour in contours])
    is_off = np.abs(slices - np.rint(slices)).max() * abs(step) > Z_TOLERANCE_MM
    if is_off or np.rint(slices.min()) < 0 or np.rint(slices.max()) >= n_slices:
        found = "found contours whose z is that of no slice"
        raise GeometryError(f"nodule {nodule.index}", found, expected="the series that was annotated")
    mask, pixels = rasterise(contours, pixel_spacing=1.0, slice_spacing=abs(step))
    if step < 0:
        mask = mask[:, :, ::-1]
    # In pixels, `rasterise` puts the scan's pixel (0, 0) at x = y = 0; it adds one slice on either side.
    return mask, np.array([-pixels[0, 3], -pixels[1, 3], np.rint(slices.min()) - 1])


def _on_grid(mask: Mask, corner: Array, affine: Array, volume: Volume) -> Volume:
    """Lay a mask on the grid of a part of its scan; what lies outside that part is left out."""
    start = np.rint((np.linalg.inv(affine) @ volume.affine)[:3, 3]).astype(int)
    index = np.argwhere(mask) + np.rint(corner).astype(int) - start
    inside = np.all((index >= 0) & (index < volume.voxels.shape), axis=1)
    voxels = np.zeros(volume.voxels.shape, dtype=np.bool_)
    voxels[tuple(index[inside].T)] = True
    return Volume(voxels, volume.affine)
