"""An archive -> a table of its studies on disk, read as `medfuse.io.archive` reads it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from medfuse.errors import DataError, UsageError
from medfuse.io import archive_walk as walk
from medfuse.io.archive import MADE_BY
from medfuse.io.archive_series import describe_nifti, describe_series, shown_path
from medfuse.io.archive_store import ArchiveStore, forget
from medfuse.io.archive_walk import MASK, REPORT, Count, lost_folders, walk_archive
from medfuse.io.companions import MASK_NAMES, REPORT_NAMES
from medfuse.io.containers import Problems
from medfuse.io.files import input_root, is_archive
from medfuse.io.positions import lesion_of, no_row_belongs, read_rois
from medfuse.io.report_documents import ReportDocument
from medfuse.io.report_pairing import pair_documents
from medfuse.io.report_sources import read_documents
from medfuse.io.report_sr import read_sr
from medfuse.io.study_stream import StudyTable

__all__ = ["tabulate_archive"]

RANKS = {REPORT: REPORT_NAMES, MASK: MASK_NAMES}


def tabulate_archive(
    root: Path, *, reports: Path | None = None, rois: Path | None = None, cache: Path | None = None, count: Count = iter
) -> StudyTable:
    """Index an archive into a table of its studies.

    Parameters
    ----------
    root, reports, cache, count
        See `medfuse.io.index_archive`.
    rois : Path, optional
        See `medfuse.io.read_rois`.

    Returns
    -------
    StudyTable

    Raises
    ------
    UsageError
        If ``root`` is no archive.
    ManifestError
        If ``reports`` or ``rois`` are wrong, or no row of ``rois`` belongs to the archive.
    """
    path = root.absolute()
    if not is_archive(path):
        raise UsageError("ARCHIVE", "found no such folder or archive", expected="a folder, zip, tar or DICOMDIR")
    try:
        return _tabulated(path, reports, rois, cache, count)
    except sqlite3.DatabaseError as error:
        if cache is None:
            raise DataError("index", f"its temporary file failed ({error})", expected="room on the disk") from error
        forget(cache)
        return _tabulated(path, reports, rois, None, count)


def _tabulated(path: Path, reports: Path | None, rois: Path | None, cache: Path | None, count: Count) -> StudyTable:
    root = input_root(path)
    table = StudyTable(root)
    with ArchiveStore(cache, made_by=MADE_BY) as store:
        problems = walk_archive(path, store, count=count)
        structured = _add_special(store, table, root, problems, is_given=reports is not None)
        lost = lost_folders(problems)
        for name, kind, facts in store.special():
            if kind == walk.NIFTI:
                table.add_series(describe_nifti(root / os.fsdecode(name), root, facts))
        for found in describe_series(store, root, lost=lost):
            table.add_series(found)
    _add_reports(table, reports, structured, problems)
    if rois is not None:
        _add_lesions(table, rois)
    table.reasons.update(str(error) for _, error in problems)
    table.lost |= {shown_path(folder, root): error for folder, error in lost.items() if not table.uses(folder)}
    return table


def _add_special(
    store: ArchiveStore, table: StudyTable, root: Path, problems: Problems, *, is_given: bool
) -> list[Path]:
    """Add what is no image; return the structured reports. Reports that the user gives stand for all others."""
    structured: list[Path] = []
    for name, kind, facts in store.special():
        path = root / os.fsdecode(name)
        if kind == walk.MARKS:
            table.add_object(facts["study_uid"], path, facts["sop_class"])
        elif kind == walk.PROBLEM:
            problems.append((path, walk.problem_of(facts)))
        elif kind == MASK or (kind == REPORT and not is_given):
            table.add_companion(kind, path, RANKS[kind].index(path.name))
        elif kind == walk.SR and not is_given:
            structured.append(path)
    problems.sort(key=lambda item: os.fsencode(item[0]))
    return structured


def _add_reports(table: StudyTable, reports: Path | None, structured: list[Path], problems: Problems) -> None:
    """Add the reports that say by ids whose they are."""
    if reports is None and not structured:
        return
    documents = _read_all(structured, problems) if reports is None else read_documents(reports, problems=problems)
    for uid, report in pair_documents(documents, table.study_ids()).reports.items():
        table.add_report(uid, report)


def _read_all(structured: list[Path], problems: Problems) -> Iterator[ReportDocument]:
    for path in structured:
        try:
            document = read_sr(path)
        except DataError as error:
            problems.append((path, error))
            continue
        if document is not None:
            yield document


def _add_lesions(table: StudyTable, rois: Path) -> None:
    n_added = 0
    frame = read_rois(rois)
    for values in frame.itertuples(index=False, name=None):
        record = dict(zip(frame.columns, values, strict=True))
        study_uid = record["study_uid"] or table.study_of(record["series_uid"])
        if table.holds_study(study_uid):
            table.add_lesion(study_uid, lesion_of(record))
            n_added += 1
    if not n_added:
        raise no_row_belongs()
