"""One walk over an archive's files, headers only: its series as rows, and what cannot be used."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medfuse.errors import DataError, GeometryError, VolumeError
from medfuse.io.companions import MASK_NAMES, REPORT_NAMES
from medfuse.io.dicom import check_series
from medfuse.io.dicom_headers import SliceHeader, read_header
from medfuse.io.files import walk_files
from medfuse.io.nifti import is_nifti, nifti_geometry
from medfuse.io.volumes import ImageSource
from medfuse.types import Array

__all__ = ["SERIES_COLUMNS", "FoundSeries", "Row", "Walk", "describe_series", "walk_archive"]

IMAGE_NAMES = ("image.nii.gz", "image.nii")
SERIES_COLUMNS = (
    "study_uid", "patient_id", "series_uid", "modality", "n_files", "rows", "columns", "row_spacing_mm",
    "column_spacing_mm", "slice_step_mm", "frame_of_reference_uid", "transfer_syntax", "is_volume", "reason",
    "folder", "report",
)  # fmt: skip
Row = dict[str, object]


@dataclass(slots=True, eq=False)
class Walk:
    """What a walk met.

    Parameters
    ----------
    series : dict of (study_uid, series_uid) to list of SliceHeader
    images : list of Path
        NIfTI images of study folders.
    problems : list of (path, error)
        Files and folders that cannot be read, links that leave the archive.
    lost : dict of Path to DataError
        Folders with a file that cannot be read, or that cannot be listed, with their first reason.
    n_ignored : int
        Files that are no image, report or mask.
    """

    series: dict[tuple[str, str], list[SliceHeader]] = field(default_factory=lambda: defaultdict(list))
    images: list[Path] = field(default_factory=list)
    problems: list[tuple[Path, DataError]] = field(default_factory=list)
    lost: dict[Path, DataError] = field(default_factory=dict)
    n_ignored: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class FoundSeries:
    """One series: its row of the index, where it lies, and whether it is beside the volumes (a localizer)."""

    row: Row
    source: ImageSource
    folders: frozenset[Path]
    is_auxiliary: bool = False


def walk_archive(root: Path) -> Walk:
    """Read the header of every file under a folder.

    Parameters
    ----------
    root : Path

    Returns
    -------
    Walk
    """
    walk = Walk()
    for path in walk_files(root, problems=walk.problems):
        try:
            _take(path, walk)
        except VolumeError as error:
            walk.problems.append((path, error))
            walk.lost.setdefault(path.parent, error)
    walk.lost |= {path: error for path, error in walk.problems if not path.is_symlink() and path.is_dir()}
    return walk


def _take(path: Path, walk: Walk) -> None:
    if path.name in IMAGE_NAMES:
        walk.images.append(path)
        return
    header = None if is_nifti(path) else read_header(path)
    if header is None:
        walk.n_ignored += path.name not in (*REPORT_NAMES, *MASK_NAMES)
        return
    ids = (header.text("StudyInstanceUID"), header.text("SeriesInstanceUID"))
    if not all(ids):
        found = "found no StudyInstanceUID or SeriesInstanceUID"
        raise VolumeError("DICOM file", found, expected="both in each image")
    walk.series[ids].append(header)


def describe_series(walk: Walk, root: Path) -> list[FoundSeries]:
    """Say of each series what it is, and whether it is a volume.

    Parameters
    ----------
    walk : Walk
    root : Path

    Returns
    -------
    list of FoundSeries
        Sorted by study and series.
    """
    n_studies = Counter(series_uid for _, series_uid in walk.series)
    found = [
        _dicom_series(items, root, is_shared=n_studies[series_uid] > 1, lost=walk.lost)
        for (_, series_uid), items in walk.series.items()
    ]
    found += [_nifti_series(path, root) for path in walk.images]
    return sorted(found, key=lambda item: (str(item.row["study_uid"]), str(item.row["series_uid"])))


def _dicom_series(
    items: Sequence[SliceHeader], root: Path, *, is_shared: bool, lost: Mapping[Path, object]
) -> FoundSeries:
    first, folders = items[0], frozenset(item.path.parent for item in items)
    affine, reason = None, ""
    try:
        if is_shared:
            found = "found one SeriesInstanceUID in several studies"
            raise GeometryError("series", found, expected="one study a series")
        if folders & lost.keys():
            found = "found a file in its folder that cannot be read, and may be one of its slices"
            raise VolumeError("series", found, expected="readable files")
        _, affine, _ = check_series(items, where="series")
    except VolumeError as error:
        reason = str(error)
    row: Row = {
        "study_uid": first.text("StudyInstanceUID"),
        "patient_id": first.text("PatientID"),
        "series_uid": first.text("SeriesInstanceUID"),
        "modality": first.text("Modality"),
        "n_files": len(items),
        "rows": first.text("Rows"),
        "columns": first.text("Columns"),
        "frame_of_reference_uid": first.text("FrameOfReferenceUID"),
        "transfer_syntax": first.transfer_syntax,
        "folder": first.path.parent.relative_to(root).as_posix(),
    }
    is_auxiliary = all(item.is_auxiliary for item in items)
    return FoundSeries(row | _verdict(affine, reason), tuple(items), folders, is_auxiliary)


def _nifti_series(path: Path, root: Path) -> FoundSeries:
    shape, affine, reason = (0, 0, 0), None, ""
    try:
        shape, affine = nifti_geometry(path)
    except VolumeError as error:
        reason = str(error)
    # A study folder keeps its name whether it is read on its own or within its archive.
    name = root.resolve().name if path.parent == root else path.parent.relative_to(root).as_posix()
    row: Row = {
        "study_uid": name,
        "patient_id": name,
        "series_uid": f"{name}/{path.name}",
        "modality": "",
        "n_files": 1,
        "rows": str(shape[1]),
        "columns": str(shape[0]),
        "frame_of_reference_uid": "",
        "transfer_syntax": "NIfTI",
        "folder": path.parent.relative_to(root).as_posix(),
    }
    return FoundSeries(row | _verdict(affine, reason), path, frozenset({path.parent}))


def _verdict(affine: Array | None, reason: str) -> Row:
    # The first axis is the column index: it runs from column to column.
    between = [None] * 3 if affine is None else [float(v) for v in np.linalg.norm(affine[:3, :3], axis=0).round(6)]
    return {
        "row_spacing_mm": between[1],
        "column_spacing_mm": between[0],
        "slice_step_mm": between[2],
        "is_volume": not reason,
        "reason": reason,
    }
