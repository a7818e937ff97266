"""Objects made from a series: what they refer to, their bytes, and files that are all there or none of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from medfuse.io.dicom_source import ImageReference, SourceSeries

__all__ = ["decode_object", "encode_object", "refer_to_source", "source_items", "write_objects"]

SOURCE_PURPOSE = ("121322", "DCM", "Source image for image processing operation")


def refer_to_source(
    dataset: Any, source: SourceSeries, slices: Sequence[int], *, derivation: tuple[str, str, str], same_grid: bool
) -> None:
    """Name the images that each frame of an object was made from, and all of them at its top.

    Parameters
    ----------
    dataset : pydicom.Dataset
        A segmentation or parametric map; it is changed.
    source : SourceSeries
    slices : sequence of int
        Slice of the source that each frame lies on.
    derivation : (str, str, str)
        Code value, scheme and meaning of how the frames were made.
    same_grid : bool
        Whether a frame's pixels are those of its slice, one to one.

    Notes
    -----
    Source: DICOM PS3.3 C.7.6.16.2.6 (Derivation Image), C.12.2 (Common Instance Reference).
    """
    images = source.images(slices)
    dataset.SourceImageSequence = source_items(images)
    series = _new()
    series.SeriesInstanceUID = source.series_uid
    series.ReferencedInstanceSequence = [_reference(image.class_uid, image.instance_uid) for image in images]
    dataset.ReferencedSeriesSequence = [series]
    for groups, k in zip(dataset.PerFrameFunctionalGroupsSequence, slices, strict=True):
        items = source_items(source.images([k]))
        for item in items:
            item.PurposeOfReferenceCodeSequence = [_code(*SOURCE_PURPOSE)]
            item.SpatialLocationsPreserved = "YES" if same_grid else "NO"
        derived = _new()
        derived.DerivationCodeSequence, derived.SourceImageSequence = [_code(*derivation)], items
        groups.DerivationImageSequence = [derived]


def source_items(images: Sequence[ImageReference]) -> list[Any]:
    """Return items of a sequence that refers to images.

    Parameters
    ----------
    images : sequence of ImageReference

    Returns
    -------
    list of pydicom.Dataset
    """
    return [_reference(*image) for image in images]


def encode_object(dataset: Any) -> bytes:
    """Return an object as the bytes of a DICOM file; equal objects give equal bytes."""
    import pydicom

    file = BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def decode_object(data: bytes) -> Any:
    """Return the data set in the bytes of a DICOM file, its pixels included."""
    import pydicom

    return pydicom.dcmread(BytesIO(data))


def write_objects(folder: Path, objects: Mapping[str, bytes], *, names: Collection[str]) -> list[Path]:
    """Write files that take their names only once all are whole.

    Parameters
    ----------
    folder : Path
        Made where needed.
    objects : mapping of str to bytes
        By file name.
    names : collection of str
        All file names that belong together: those of an earlier run that have no object now are removed.

    Returns
    -------
    list of Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = {folder / f".{name}.part": folder / name for name in objects}
    try:
        for part, data in zip(partial, objects.values(), strict=True):
            part.write_bytes(data)
        for part, path in partial.items():
            part.replace(path)
    finally:
        for part in partial:
            part.unlink(missing_ok=True)
    for name in set(names) - set(objects):
        (folder / name).unlink(missing_ok=True)
    return list(partial.values())


def _new() -> Any:
    from pydicom.dataset import Dataset

    return Dataset()


def _reference(class_uid: str, instance_uid: str, frames: tuple[int, ...] = ()) -> Any:
    item = _new()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
    if frames:
        item.ReferencedFrameNumber = list(frames)
    return item


def _code(value: str, scheme: str, meaning: str) -> Any:
    item = _new()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
