"""One walk over an archive's files, headers only. What was found goes to an `ArchiveStore`, file by file."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medfuse.errors import DataError, VolumeError
from medfuse.io.archive_store import OTHER, UNKNOWN, ArchiveStore, Facts, KnownFiles, Version
from medfuse.io.companions import MASK_NAMES, REPORT_NAMES
from medfuse.io.containers import Problems, container_of, is_container, root_within
from medfuse.io.dicom_headers import SliceHeader
from medfuse.io.files import input_files, input_root
from medfuse.io.marked_lesions import study_of_object
from medfuse.io.nifti import is_nifti, nifti_geometry
from medfuse.io.positions import LESION_OBJECTS
from medfuse.io.report_sr import REPORT_CLASSES
from medfuse.io.tag_walker import HeaderReader

__all__ = [
    "MARKS", "MASK", "NIFTI", "PROBLEM", "REPORT", "SR", "Count", "FoundFiles", "count_files", "found_files",
    "header_of", "lost_folders", "problem_of", "walk_archive",
]  # fmt: skip

NIFTI, PROBLEM, MARKS, REPORT, MASK, SR = "nifti", "problem", "marks", "report", "mask", "sr"
"""Kinds of files beside slices."""

IMAGE_NAMES = ("image.nii.gz", "image.nii")
KINDS = dict.fromkeys(IMAGE_NAMES, NIFTI) | dict.fromkeys(REPORT_NAMES, REPORT) | dict.fromkeys(MASK_NAMES, MASK)
MORE_KEYWORDS = ("AccessionNumber",)
SYNTAX, OFFSET, LENGTH = "@syntax", "@offset", "@length"

Count = Callable[[Iterable[Path]], Iterable[Path]]
"""Shows how far a walk is."""


def walk_archive(path: Path, store: ArchiveStore, *, count: Count = iter) -> Problems:
    """Read the header of every file of an archive that is new or changed.

    Parameters
    ----------
    path : Path
        See `medfuse.io.files.input_files`.
    store : ArchiveStore
        Gets what each file is.
    count : callable
        Wraps the files, for example to show how far it is.

    Returns
    -------
    list of (Path, DataError)
        Folders that cannot be listed, links that leave the archive, members of a zip or tar that are refused.
    """
    problems: Problems = []
    reader = HeaderReader(more=MORE_KEYWORDS)
    for file, name in _named(path, count, problems):
        version = _version(file) if store.is_kept else UNKNOWN
        if store.is_kept and store.has(name, version):
            continue
        try:
            _add(file, name, version, store=store, reader=reader)
        except VolumeError as error:  # read again by the next run: it may have been a fault of the disk
            store.add(name, UNKNOWN, PROBLEM, {"where": error.where, "found": error.found, "expected": error.expected})
    store.finish()
    return problems


def count_files(path: Path, known: KnownFiles, *, count: Count = iter) -> tuple[int, int]:
    """Count the files of an archive, and those that are new or changed; none of them is read.

    Parameters
    ----------
    path : Path
        See `medfuse.io.files.input_files`.
    known : KnownFiles
    count : callable
        As for `walk_archive`.

    Returns
    -------
    n_files, n_new : int
    """
    n_files = n_known = 0
    for file, name in _named(path, count, []):
        n_files += 1
        n_known += known.has(name, _version(file))
    return n_files, n_files - n_known


@dataclass(slots=True, eq=False)
class FoundFiles:
    """What an archive holds beside the slices of DICOM series.

    Parameters
    ----------
    problems : list of (Path, DataError)
        All of them, sorted by path: of the walk, and files that cannot be read.
    images : list of (Path, facts)
        NIfTI images of study folders.
    companions : dict of str to list of Path
        Reports and masks by name, by kind.
    marks : dict of str to list of (Path, str)
        SEG and RTSTRUCT objects with their SOP classes, by study_uid.
    structured : list of Path
        DICOM structured reports.
    lost : dict of Path to DataError
        Folders in which an image may be lost, with their first reason.
    n_ignored : int
        Files that are none of this.
    """

    problems: Problems
    images: list[tuple[Path, Facts]] = field(default_factory=list)
    companions: dict[str, list[Path]] = field(default_factory=lambda: {REPORT: [], MASK: []})
    marks: dict[str, list[tuple[Path, str]]] = field(default_factory=lambda: defaultdict(list))
    structured: list[Path] = field(default_factory=list)
    lost: dict[Path, DataError] = field(default_factory=dict)
    n_ignored: int = 0


def found_files(store: ArchiveStore, root: Path, problems: Problems) -> FoundFiles:
    """Collect what is no slice.

    Parameters
    ----------
    store : ArchiveStore
    root : Path
        Which the paths in the store are relative to.
    problems : list of (Path, DataError)
        Of the walk.

    Returns
    -------
    FoundFiles
    """
    found = FoundFiles(list(problems), n_ignored=store.count(OTHER))
    for name, kind, facts in store.special():
        path = root / os.fsdecode(name)
        if kind == NIFTI:
            found.images.append((path, facts))
        elif kind == MARKS:
            found.marks[facts["study_uid"]].append((path, facts["sop_class"]))
        elif kind == SR:
            found.structured.append(path)
        elif kind == PROBLEM:
            found.problems.append((path, problem_of(facts)))
        else:
            found.companions[kind].append(path)
    found.problems.sort(key=lambda item: os.fsencode(item[0]))
    found.lost = lost_folders(found.problems)
    return found


def problem_of(facts: Facts) -> VolumeError:
    """Return why a file cannot be read from what the store keeps of it."""
    return VolumeError(facts["where"], facts["found"], expected=facts["expected"])


def lost_folders(problems: Problems) -> dict[Path, DataError]:
    """Return the folders in which an image may be lost, with their first reason."""
    lost: dict[Path, DataError] = {}
    for path, error in problems:
        if isinstance(error, VolumeError):
            folder = root_within(path) if is_container(path) else path if path.is_dir() else path.parent
            lost.setdefault(folder, error)
    return lost


def header_of(path: Path, facts: dict[str, Any]) -> SliceHeader:
    """Return the header of a slice from its facts."""
    syntax, offset, length = facts.pop(SYNTAX), facts.pop(OFFSET), facts.pop(LENGTH)
    return SliceHeader(path, syntax, facts, offset, length)


def _named(path: Path, count: Count, problems: Problems) -> Iterator[tuple[Path, bytes]]:
    """Yield the files of an archive, and their names in a store."""
    n_root = len(os.fspath(input_root(path)).rstrip(os.sep)) + 1
    for file in count(input_files(path, problems=problems)):
        yield file, os.fsencode(os.fspath(file)[n_root:])


def _add(path: Path, name: bytes, version: Version, *, store: ArchiveStore, reader: HeaderReader) -> None:
    """Find out what a file is."""
    kind = _kind_by_name(path)
    if kind == NIFTI:
        store.add(name, version, NIFTI, _nifti_facts(path))
    elif kind:
        store.add(name, version, kind, {})
    elif (header := reader.read(path)) is not None:
        _add_image(header, name, version, store)
    elif (marks := study_of_object(path, LESION_OBJECTS | REPORT_CLASSES)) is not None:
        facts = {"sop_class": marks[0], "study_uid": marks[1]}
        store.add(name, version, SR if marks[0] in REPORT_CLASSES else MARKS, facts)
    else:
        store.add(name, version, OTHER, {})


def _add_image(header: SliceHeader, name: bytes, version: Version, store: ArchiveStore) -> None:
    ids, kind = (header.text("StudyInstanceUID"), header.text("SeriesInstanceUID")), header.text("SOPClassUID")
    if kind in LESION_OBJECTS:
        store.add(name, version, MARKS, {"sop_class": kind, "study_uid": ids[0]})
        return
    if not all(ids):
        found = "found no StudyInstanceUID or SeriesInstanceUID"
        raise VolumeError("DICOM file", found, expected="both in each image")
    place = {SYNTAX: header.transfer_syntax, OFFSET: header.pixel_offset, LENGTH: header.pixel_length}
    store.add_slice(name, version, ids, {**header.values, **place})


def _kind_by_name(path: Path) -> str:
    name = path.name
    if name in KINDS:
        return KINDS[name]
    return OTHER if is_nifti(path) else ""


def _nifti_facts(path: Path) -> Facts:
    try:
        shape, affine = nifti_geometry(path)
    except VolumeError as error:
        return {"shape": [0, 0, 0], "affine": None, "reason": str(error)}
    return {"shape": list(shape), "affine": affine.tolist(), "reason": ""}


def _version(path: Path) -> Version:
    """Return size and mtime_ns of a file, of a member those of its zip or tar."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        found = container_of(path)
        if found is None:
            return UNKNOWN
        status = found[0].stat()
    return status.st_size, status.st_mtime_ns
