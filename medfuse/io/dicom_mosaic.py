"""A mosaic, all slices of a volume in one image, -> one header a slice, each with its own position."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from medfuse.errors import GeometryError, VolumeError
from medfuse.io.dicom_geometry import directions
from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.inflating import open_dicom
from medfuse.io.pydicom_reading import READ_ERRORS, as_text, quiet_pydicom, read_dataset
from medfuse.types import Array

__all__ = ["is_mosaic", "mosaic_slices"]

UIH_GROUP, UIH_CREATOR, UIH_COUNT, UIH_FRAMES = 0x0065, "Image Private Header", 0x50, 0x51
NORMAL_TOLERANCE = 1e-3
WHOLE = "a mosaic whose header says how its slices lie"


def is_mosaic(item: SliceHeader) -> bool:
    """Tell whether an image is, or by its maker may be, a mosaic.

    Parameters
    ----------
    item : SliceHeader

    Returns
    -------
    bool
    """
    return "MOSAIC" in item.text("ImageType").upper().split("\\") or (
        item.text("Manufacturer").upper().startswith("UIH") and item.text("Modality") == "MR"
    )


def mosaic_slices(item: SliceHeader, *, where: str) -> list[SliceHeader]:
    """Take a mosaic of Siemens or United Imaging apart.

    Parameters
    ----------
    item : SliceHeader
    where : str
        For error messages.

    Returns
    -------
    list of SliceHeader
        The image itself if it is no mosaic after all.

    Raises
    ------
    VolumeError
        If the header does not say with certainty how many slices there are and where they lie.

    Notes
    -----
    A Siemens mosaic gives ImagePositionPatient of a slice as large as the whole mosaic, in whose centre the
    first slice lies; the others follow along the CSA header's SliceNormalVector.
    """
    try:
        with open_dicom(item.path) as file, quiet_pydicom():
            dataset = read_dataset(file, None)
            if item.text("Manufacturer").upper().startswith("UIH"):
                positions = _uih_positions(dataset, where)
            elif item.text("Manufacturer").upper().startswith("SIEMENS"):
                positions = _siemens_positions(dataset, item, where)
            else:
                raise VolumeError(where, "found a mosaic of a maker whose layout is unknown", expected=WHOLE)
    except READ_ERRORS as error:
        raise VolumeError(
            where, f"found a mosaic that cannot be read ({type(error).__name__})", expected=WHOLE
        ) from error
    return [replace(item, frame=0)] if positions is None else _tiles(item, positions, where)


def _tiles(item: SliceHeader, positions: Array, where: str) -> list[SliceHeader]:
    per_side = math.ceil(math.sqrt(len(positions)))
    height, width = (int(item.numbers(keyword, 1, where=where)[0]) for keyword in ("Rows", "Columns"))
    if height % per_side or width % per_side:
        found = f"found a mosaic of {height} Rows and {width} Columns for {len(positions)} slices"
        raise VolumeError(where, found, expected=f"{per_side} x {per_side} equal tiles")
    rows, columns = height // per_side, width // per_side
    slices = []
    for k, position in enumerate(positions):
        text = "\\".join(repr(float(number)) for number in position)
        tile = ((k // per_side) * rows, (k % per_side) * columns, rows, columns)
        slices.append(replace(item, values={**item.values, "ImagePositionPatient": text}, frame=0, tile=tile))
    return slices


def _siemens_positions(dataset: Any, item: SliceHeader, where: str) -> Array:
    """Return the position of each slice, shape (slices, 3), LPS mm."""
    csa = _csa_header(dataset)
    count = _csa_numbers(csa, "NumberOfImagesInMosaic")
    n = int(count[0]) if len(count) else int(_private_text(dataset, 0x0019, "SIEMENS MR HEADER", 0x0A) or 0)
    normal = _csa_numbers(csa, "SliceNormalVector")
    if n < 1 or len(normal) != 3:
        found = "found a Siemens mosaic whose CSA header names no NumberOfImagesInMosaic or no SliceNormalVector"
        raise VolumeError(where, found, expected=WHOLE)
    row, column = directions(item, where)
    if abs(abs(float(np.cross(row, column) @ normal)) - 1) > NORMAL_TOLERANCE:
        found = "found a mosaic whose SliceNormalVector is not normal to its ImageOrientationPatient"
        raise GeometryError(where, found, expected=WHOLE)
    per_side = math.ceil(math.sqrt(n))
    between_rows, between_columns = item.numbers("PixelSpacing", 2, where=where)
    height, width = (float(item.numbers(keyword, 1, where=where)[0]) for keyword in ("Rows", "Columns"))
    step = float(item.numbers("SpacingBetweenSlices", 1, where=where)[0])
    if step <= 0:
        raise GeometryError(where, "found a mosaic whose SpacingBetweenSlices is not above 0", expected="mm")
    first = (
        item.numbers("ImagePositionPatient", 3, where=where)
        + row * between_columns * (width - width / per_side) / 2
        + column * between_rows * (height - height / per_side) / 2
    )
    positions: Array = first + np.outer(np.arange(n) * step, normal)
    return positions


def _uih_positions(dataset: Any, where: str) -> Array | None:
    """Return the position of each slice of a United Imaging grid, which names each; None if it is no grid."""
    frames = _private(dataset, UIH_GROUP, UIH_CREATOR, UIH_FRAMES)
    if frames is None:
        return None
    count = _private_text(dataset, UIH_GROUP, UIH_CREATOR, UIH_COUNT)
    positions = [[float(part) for part in as_text(frame, "ImagePositionPatient").split("\\")] for frame in frames.value]
    if not positions or (count and int(float(count)) != len(positions)) or any(len(p) != 3 for p in positions):
        found = "found a United Imaging grid whose slices and their positions do not match"
        raise VolumeError(where, found, expected=WHOLE)
    return np.array(positions, dtype=np.float64)


def _private(dataset: Any, group: int, creator: str, element: int) -> Any:
    try:
        return dataset.private_block(group, creator)[element]
    except KeyError:
        return None


def _private_text(dataset: Any, group: int, creator: str, element: int) -> str:
    found = _private(dataset, group, creator, element)
    return "" if found is None or found.value is None else str(found.value)


def _csa_header(dataset: Any) -> Any:
    from nibabel.nicom import csareader

    element = _private(dataset, 0x0029, "SIEMENS CSA HEADER", 0x10)
    if element is None or not element.value:
        return None
    try:
        return csareader.read(element.value)  # type: ignore[no-untyped-call]
    except (csareader.CSAReadError, AssertionError) as error:  # nibabel asserts where a header is damaged
        raise ValueError("CSA header") from error


def _csa_numbers(csa: Any, name: str) -> Array:
    items = csa["tags"].get(name, {}).get("items", []) if csa else []
    return np.array([float(value) for value in items], dtype=np.float64)
