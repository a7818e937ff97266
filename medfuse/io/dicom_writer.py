"""Volume -> DICOM CT series, for cohorts, benchmarks and tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import GeometryError, PixelError
from medfuse.io.dicom_geometry import COSINE_TOLERANCE, LPS_TO_RAS
from medfuse.io.transfer_syntaxes import EXPLICIT_LITTLE
from medfuse.types import Volume

__all__ = ["PixelFormat", "SeriesIdentity", "derived_uid", "write_dicom_series"]

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True, slots=True)
class SeriesIdentity:
    """Whose series it is.

    Parameters
    ----------
    patient_id, study_uid, series_uid, frame_of_reference_uid : str
    study_date : str
        YYYYMMDD, or empty.
    """

    patient_id: str = field(repr=False)
    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    study_date: str = ""


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How values are stored: value = stored * slope + intercept.

    Parameters
    ----------
    dtype : {"int16", "uint16", "int8", "uint8"}
    slope, intercept : float
        Written with the 16 characters that DICOM allows.
    """

    dtype: Literal["int16", "uint16", "int8", "uint8"] = "int16"
    slope: float = 1.0
    intercept: float = 0.0


def write_dicom_series(
    volume: Volume, folder: Path, *, identity: SeriesIdentity, pixels: PixelFormat | None = None
) -> list[Path]:
    """Write a CT volume as one uncompressed file a slice.

    Parameters
    ----------
    volume : Volume
        Values that the pixel format can hold exactly (to float32); its first two axes at right angles. A reader
        orders slices along the normal of (I, J), so that a volume whose K runs the other way comes back with K
        reversed, in the same space.
    folder : Path
        Gets 0001.dcm and so on. Equal input gives equal bytes.
    identity : SeriesIdentity
    pixels : PixelFormat, optional
        By default whole HU in int16.

    Returns
    -------
    list of Path

    Raises
    ------
    PixelError
        If the pixel format cannot hold the voxels exactly.
    GeometryError
        If the slices' rows and columns are not at right angles.

    Notes
    -----
    Source: DICOM PS3.3 A.3 (CT Image IOD), C.7.6.2 (Image Plane), C.8.2.1 (CT Image).
    """
    import pydicom

    stored, slope, intercept = _stored(volume, pixels or PixelFormat())
    lps = LPS_TO_RAS @ volume.affine
    row, column = lps[:3, 0] / volume.spacing_mm[0], lps[:3, 1] / volume.spacing_mm[1]
    if abs(float(row @ column)) > COSINE_TOLERANCE:
        raise GeometryError("volume", "found rows and columns that are not at right angles", expected="a plane")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(stored.shape[2]):
        path = folder / f"{k + 1:04d}.dcm"
        dataset = _new_image(derived_uid(identity.series_uid, str(k)))
        _describe(dataset, identity, number=k + 1)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.ImagePositionPatient = _decimals((lps @ [0, 0, k, 1])[:3])
        dataset.ImageOrientationPatient = _decimals([*row, *column])
        dataset.PixelSpacing = _decimals(volume.spacing_mm[1::-1])  # between rows, then between columns
        dataset.SliceThickness = _decimals([abs(float(np.cross(row, column) @ lps[:3, 2]))])
        _set_pixels(dataset, stored[:, :, k].T)
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        paths.append(path)
    return paths


def _stored(volume: Volume, pixels: PixelFormat) -> tuple[NDArray[np.integer], Any, Any]:
    """Return what is stored, and slope and intercept as decimal strings."""
    decimals = _decimals([pixels.slope, pixels.intercept])
    slope, intercept = (float(str(number)) for number in decimals)  # as a reader will see them
    values, limits = volume.voxels.astype(np.float64), np.iinfo(pixels.dtype)
    if slope == 0:
        raise PixelError("pixels", "found a slope of 0", expected="another number")
    stored = np.rint((values - intercept) / slope)
    if not np.all((stored >= limits.min) & (stored <= limits.max)):  # NaN is in no range
        raise PixelError("volume", f"found values that {pixels.dtype} cannot hold", expected="HU that fit")
    if not np.array_equal((stored * slope + intercept).astype(np.float32), values.astype(np.float32)):
        found = "found values that are not whole" + ("" if slope == 1 else " steps of the slope")
        raise PixelError("volume", found, expected="whole HU, or a slope and intercept that make them so")
    return stored.astype(pixels.dtype), *decimals


def _set_pixels(dataset: Any, plane: NDArray[np.integer]) -> None:
    bits = plane.dtype.itemsize * 8
    dataset.Rows, dataset.Columns = plane.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(plane.dtype.kind == "i")
    data = np.ascontiguousarray(plane).astype(plane.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW"


def _decimals(numbers: Iterable[float]) -> list[Any]:
    """Return decimal strings of at most 16 characters, as exact as those allow. Source: DICOM PS3.5 6.2 (DS)."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(number), auto_format=True) for number in numbers]


def _new_image(instance_uid: str) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(CT_IMAGE_STORAGE)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(CT_IMAGE_STORAGE), UID(instance_uid)
    return dataset


def _describe(dataset: Any, identity: SeriesIdentity, *, number: int) -> None:
    """Set what every slice shares, the empty type 2 attributes included."""
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.FrameOfReferenceUID = identity.frame_of_reference_uid
    dataset.PatientID = identity.patient_id
    dataset.PatientName = identity.patient_id
    dataset.StudyDate = identity.study_date
    for keyword in (
        "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientBirthDate", "PatientSex",
        "PositionReferenceIndicator", "KVP", "AcquisitionNumber", "PatientPosition", "Laterality",
    ):  # fmt: skip
        setattr(dataset, keyword, "")
    dataset.Modality, dataset.Manufacturer = "CT", "medfuse"
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.RescaleType = "HU"


def derived_uid(*parts: str) -> str:
    """Return a UID under 2.25 that depends on the parts alone.

    Notes
    -----
    Source: DICOM PS3.5 B.2.

    Examples
    --------
    >>> derived_uid("series", "1") == derived_uid("series", "1") != derived_uid("series", "2")
    True
    """
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
