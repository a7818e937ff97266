"""What DICOM objects that mark lesions (SEG, RTSTRUCT) have in common: the marked lesion, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from medfuse.errors import LesionPositionError, VolumeError
from medfuse.io.dicom_elements import UNDEFINED_LENGTH
from medfuse.io.dicom_start import read_start
from medfuse.io.inflating import open_dicom, open_with_head
from medfuse.io.pydicom_reading import READ_ERRORS, quiet_pydicom, read_dataset
from medfuse.io.transfer_syntaxes import DEFLATED
from medfuse.types import Array, Volume

__all__ = ["MarkedLesion", "greatest_diameter", "numbers_of", "read_object", "study_of_object"]

MAX_OBJECT_BYTES = 512 * 2**20
MAX_ITEMS = 300_000
"""Of all sequences: pydicom makes an object of each, about 1.5 KB. 50,000 frames of a SEG have fewer."""

ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
META_BYTES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class MarkedLesion:
    """A lesion that a DICOM object marks. Real UIDs stay in it: it is never shown, logged or written.

    Parameters
    ----------
    lesion_id : str
        Number of its segment or ROI.
    centre : tuple of float
        Centroid, RAS+ mm.
    diameter_mm : float, optional
        Greatest diameter in a plane of the object; None of a point.
    study_uid, frame_of_reference_uid : str
        Of the object.
    series_uids : tuple of str
        The series that it was drawn on, as far as it says so.
    mask : Volume, optional
        True where the lesion is, cropped to it; None of contours, or where the planes are unevenly spaced.
    """

    lesion_id: str
    centre: tuple[float, float, float]
    diameter_mm: float | None
    study_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    series_uids: tuple[str, ...] = field(repr=False)
    mask: Volume | None = field(default=None, repr=False)


def read_object(path: Path, classes: frozenset[str], *, where: str) -> Any:
    """Read a DICOM object whole.

    Parameters
    ----------
    path : Path
    classes : frozenset of str
        SOP Class UIDs that are expected.
    where : str
        For error messages.

    Returns
    -------
    pydicom.Dataset

    Raises
    ------
    LesionPositionError
        If it cannot be read, is of another class or too large.
    """
    import pydicom

    try:
        with open_dicom(path) as file, quiet_pydicom():
            data = file.read(MAX_OBJECT_BYTES + 1)
            if len(data) > MAX_OBJECT_BYTES or max(data.count(item) for item in ITEMS) > MAX_ITEMS:
                raise LesionPositionError(
                    where, "found an object too large", expected="at most 512 MiB and 300,000 items"
                )
            if DEFLATED.encode() in data[:META_BYTES]:  # pydicom would inflate it without a limit
                raise LesionPositionError(where, "found damaged file meta information", expected="a whole file")
            dataset = pydicom.dcmread(BytesIO(data), force=True)
            kind = str(dataset.get("SOPClassUID", ""))
            is_cut = _is_cut(dataset)
    except READ_ERRORS as error:
        raise LesionPositionError(where, f"cannot be read ({type(error).__name__})", expected="a whole file") from error
    if kind not in classes:
        raise LesionPositionError(where, "found an object of another SOP class", expected=where)
    if is_cut:
        raise LesionPositionError(where, "found a truncated file", expected="a whole file")
    return dataset


def _is_cut(dataset: Any) -> bool:
    """Tell whether the file ended within a value: pydicom hands on what there is of it."""
    for tag in dataset.keys():  # noqa: SIM118 - items would be converted
        item = dataset.get_item(tag)
        length, value = getattr(item, "length", UNDEFINED_LENGTH), item.value
        if length != UNDEFINED_LENGTH and isinstance(value, bytes) and len(value) < length:
            return True
    return False


def study_of_object(path: Path, classes: frozenset[str]) -> tuple[str, str] | None:
    """Say of which study a file is an object of one of these SOP classes.

    Parameters
    ----------
    path : Path
    classes : frozenset of str

    Returns
    -------
    (SOPClassUID, StudyInstanceUID) or None
        None if it is another file, or its file meta information names no class.
    """
    try:
        file, head = open_with_head(path)
        with file, quiet_pydicom():
            start = read_start(head)
            if start is None or start.sop_class not in classes:
                return None
            file.seek(0)
            return start.sop_class, str(read_dataset(file, ["StudyInstanceUID"]).get("StudyInstanceUID", ""))
    except (*READ_ERRORS, VolumeError):
        return None


def numbers_of(item: Any, keyword: str, n: int, *, where: str) -> Array:
    """Return n finite numbers of an attribute.

    Raises
    ------
    LesionPositionError
        If it is absent or not n finite numbers.
    """
    value = item.get(keyword)
    try:
        numbers = np.atleast_1d(np.array(value, dtype=np.float64)) if value is not None else np.empty(0)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (n,) or not np.all(np.isfinite(numbers)):
        raise LesionPositionError(where, f"found no valid {keyword}", expected=f"{n} finite numbers")
    return numbers


def greatest_diameter(points: Array) -> float:
    """Return the greatest distance between two of the points of one plane.

    Parameters
    ----------
    points : ndarray, shape (n, 2)

    Returns
    -------
    float
        0 for a single point.

    Examples
    --------
    >>> greatest_diameter(np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [1.0, 1.0]]))
    5.0
    """
    from scipy.spatial import ConvexHull, QhullError  # heavy
    from scipy.spatial.distance import pdist

    try:
        points = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # too few points, or all on one line
        low, high = points[np.lexsort(points.T)[0]], points[np.lexsort(points.T)[-1]]
        points = np.array([low, high])
    return float(pdist(points).max(initial=0.0))
