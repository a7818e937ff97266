"""What an archive's series are: a row of the index each, with the verdict whether it is a volume, and why not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medfuse.errors import AmbiguousVolumeError, DataError, GeometryError, VolumeError
from medfuse.io.archive_store import ArchiveStore, Facts
from medfuse.io.archive_walk import header_of
from medfuse.io.containers import container_of
from medfuse.io.dicom import only_volume
from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.dicom_split import Stack, split_series
from medfuse.io.series_files import SeriesFiles
from medfuse.io.volumes import ImageSource
from medfuse.types import Array

__all__ = ["SERIES_COLUMNS", "FoundSeries", "Row", "describe_nifti", "describe_series", "shown_path"]

SERIES_COLUMNS = (
    "study_uid", "patient_id", "series_uid", "accession_number", "modality", "n_files", "n_slices", "rows", "columns",
    "row_spacing_mm", "column_spacing_mm", "slice_step_mm", "slice_thickness_mm", "orientation", "kernel",
    "frame_of_reference_uid", "transfer_syntax", "n_volumes", "is_volume", "reason", "warnings", "folder", "report",
)  # fmt: skip
Row = dict[str, object]
DIRECTIONS = ("RL", "AP", "SI")


@dataclass(frozen=True, slots=True, eq=False)
class FoundSeries:
    """One series: its row of the index, where it lies, and whether it is beside the volumes (a localizer)."""

    row: Row
    source: ImageSource
    folders: frozenset[Path]
    is_auxiliary: bool = False


def describe_series(store: ArchiveStore, root: Path, *, lost: Collection[Path]) -> Iterator[FoundSeries]:
    """Say of each DICOM series what it is, and whether it is a volume.

    Parameters
    ----------
    store : ArchiveStore
    root : Path
        Which the paths in the store are relative to.
    lost : collection of Path
        Folders in which a file cannot be read: it may be a slice of any series there.

    Yields
    ------
    FoundSeries
        Sorted by study and series.
    """
    shared = store.shared_series()
    for study_uid, series_uid in store.series():
        names, headers, signature = _read(store, (study_uid, series_uid), root)
        folders = frozenset(root / name for name in {name.rpartition(os.sep)[0] for name in names})
        facts = store.verdict(signature) if store.is_kept else None
        if facts is None:
            facts = _judged(headers)
            if store.is_kept:
                store.keep_verdict(signature, facts)
        refusal: DataError | None = None
        if series_uid in shared:
            found = "found one SeriesInstanceUID in several studies"
            refusal = GeometryError("series", found, expected="one study a series")
        elif not folders.isdisjoint(lost):
            found = "found a file in its folder that cannot be read, and may be one of its slices"
            refusal = VolumeError("series", found, expected="readable files")
        verdict = {"n_volumes": 0, "is_volume": False, "reason": str(refusal)} if refusal else {}
        row = {
            "study_uid": study_uid,
            "series_uid": series_uid,
            "n_files": len(headers),
            "folder": shown_path(headers[0].path.parent, root),
        }
        source = SeriesFiles.of(os.fspath(root), names)
        is_auxiliary = all(item.is_auxiliary for item in headers)
        yield FoundSeries({**facts, **row, **verdict}, source, folders, is_auxiliary)


def describe_nifti(path: Path, root: Path, facts: Facts) -> FoundSeries:
    """Say of a study folder's NIfTI image what it is.

    Parameters
    ----------
    path : Path
    root : Path
    facts : mapping
        Its ``shape``, ``affine`` and ``reason``.

    Returns
    -------
    FoundSeries
    """
    # A study folder keeps its name whether it is read on its own or within its archive.
    name = _archive_name(root) if path.parent == root else shown_path(path.parent, root)
    shape, reason = facts["shape"], str(facts["reason"])
    row: Row = {
        "study_uid": name,
        "patient_id": name,
        "series_uid": f"{name}/{path.name}",
        "n_files": 1,
        "n_slices": shape[2],
        "rows": str(shape[1]),
        "columns": str(shape[0]),
        "transfer_syntax": "NIfTI",
        "n_volumes": int(not reason),
        "is_volume": not reason,
        "reason": reason,
        "folder": shown_path(path.parent, root),
    }
    affine = None if facts["affine"] is None else np.array(facts["affine"])
    blank = dict.fromkeys(("accession_number", "modality", "kernel", "frame_of_reference_uid", "warnings"), "")
    return FoundSeries(
        {**blank, "slice_thickness_mm": None, **_geometry(affine), **row}, path, frozenset({path.parent})
    )


def shown_path(path: Path, root: Path) -> str:
    """Return a path as text, relative to a root that it lies under; bytes that are no text are escaped.

    Examples
    --------
    >>> shown_path(Path("a/b/c"), Path("a")), shown_path(Path("x"), Path("a"))
    ('b/c', 'x')
    """
    place = path.relative_to(root) if path.is_relative_to(root) else path
    return os.fsencode(place.as_posix()).decode("utf-8", "backslashreplace")


def _archive_name(root: Path) -> str:
    """Return the name of an archive: of a zip or tar without its suffix."""
    name = root.resolve().name
    if container_of(root) is not None:
        name = name.partition(".")[0]
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _read(store: ArchiveStore, ids: tuple[str, str], root: Path) -> tuple[list[str], list[SliceHeader], bytes]:
    """Return a series' files, their headers, and a digest of what its verdict depends on."""
    names, headers, digest = list[str](), list[SliceHeader](), hashlib.blake2b(digest_size=16)
    folders: dict[str, Path] = {}
    for stored, version, facts in store.slices(ids):
        if store.is_kept:
            digest.update(b"%d %d %b\0" % (*version, stored))
        name = os.fsdecode(stored)
        folder, _, last = name.rpartition(os.sep)
        if folder not in folders:
            folders[folder] = root / folder
        names.append(name)
        headers.append(header_of(folders[folder] / last, facts))
    return names, headers, digest.digest()


def _judged(headers: Sequence[SliceHeader]) -> Row:
    """Return what a series' row says of its images: exactly what reading it would find."""
    first = headers[0]
    stack, stacks, reason = None, list[Stack](), ""
    try:
        stacks = split_series(headers, where="series")
        stack = only_volume(stacks, "series")
    except AmbiguousVolumeError as error:
        reason, stack = str(error), stacks[0]
    except VolumeError as error:
        reason = str(error)
    if stack is not None:
        first = stack.slices[0]
    return {
        "patient_id": first.text("PatientID"),
        "accession_number": "\\".join(sorted({item.text("AccessionNumber") for item in headers} - {""})),
        "modality": first.text("Modality"),
        "n_slices": len(stack.slices) if stack else 0,
        "rows": first.text("Rows"),
        "columns": first.text("Columns"),
        "slice_thickness_mm": _number(first, "SliceThickness"),
        "kernel": first.text("ConvolutionKernel"),
        "frame_of_reference_uid": first.text("FrameOfReferenceUID"),
        "transfer_syntax": first.transfer_syntax,
        **_geometry(None if stack is None else stack.affine),
        "n_volumes": len(stacks),
        "is_volume": len(stacks) == 1,
        "reason": reason,
        "warnings": "; ".join(dict.fromkeys(warning for part in stacks for warning in part.warnings)),
    }


def _geometry(affine: Array | None) -> Row:
    """Return spacings, and which anatomical directions the axes (column, row, slice) run to."""
    names = ("column_spacing_mm", "row_spacing_mm", "slice_step_mm")
    if affine is None:
        return {**dict.fromkeys(names), "orientation": ""}
    axes = affine[:3, :3]
    lengths = [float(value) for value in np.linalg.norm(axes, axis=0).round(6)]
    codes = "".join(DIRECTIONS[int(np.abs(step).argmax())][int(step[np.abs(step).argmax()] < 0)] for step in axes.T)
    return {**dict(zip(names, lengths, strict=True)), "orientation": codes}


def _number(item: SliceHeader, keyword: str) -> float | None:
    try:
        return float(item.numbers(keyword, 1, where="series")[0])
    except GeometryError:
        return None
