"""Whatever a user points at -> the studies in it, as a list or one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from medfuse.config import SeriesRule
from medfuse.errors import UsageError
from medfuse.io.archive import REFUSED_COLUMNS, index_archive
from medfuse.io.archive_studies import tabulate_archive
from medfuse.io.files import is_archive
from medfuse.io.manifest import Manifest, read_manifest
from medfuse.io.positions import read_rois
from medfuse.io.studies import StudyEntry
from medfuse.io.study_stream import StoredStudies, StudyTable
from medfuse.types import Unit

__all__ = ["FoundStudies", "find_studies"]


def find_studies(
    path: Path | str,
    *,
    reports: Path | None = None,
    rois: Path | None = None,
    unit: Unit = "arbitrary",
    rule: SeriesRule | None = None,
    cache: Path | None = None,
) -> tuple[list[StudyEntry], pd.DataFrame]:
    """Find the studies in an archive, a study folder or a manifest.

    Parameters
    ----------
    path : Path or str
        A folder of DICOM studies or of study folders; one study folder (DICOM files or image.nii[.gz], and
        perhaps report.txt and mask.nii[.gz]); a zip or tar of those; a DICOMDIR; or a manifest.csv, or a folder
        with one and no study of its own.
    reports : Path, optional
        See `medfuse.io.index_archive`; a manifest names its own.
    rois : Path, optional
        See `medfuse.io.read_rois`; a manifest has its own.
    unit : {"HU", "arbitrary"}
        Of NIfTI voxels.
    rule : SeriesRule, optional
        See `medfuse.io.ArchiveIndex.entries`.
    cache : Path, optional
        Where the facts of an archive's files are kept; see `medfuse.io.index_archive`.

    Returns
    -------
    entries : list of StudyEntry
        Every study once; one that cannot be read carries its refusal.
    refused : DataFrame
        ``study_uid, series_uid, path, reason`` of single files and series, for the log; their studies are in
        ``entries``. It holds real ids.

    Raises
    ------
    UsageError
        If the path does not exist or holds no study, or a manifest comes with reports or rois.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        if reports is not None or rois is not None:
            raise UsageError("INPUT", "found a manifest with --reports or --rois", expected="them in the manifest")
        return read_manifest(path).entries(unit=unit), pd.DataFrame(columns=list(REFUSED_COLUMNS))
    if not is_archive(path):
        raise UsageError("INPUT", "found no such folder or manifest", expected="an archive, a study or a manifest.csv")
    index = index_archive(path, reports=reports, cache=cache)
    entries = index.entries(rois=None if rois is None else read_rois(rois), unit=unit, rule=rule)
    if not entries and (path / "manifest.csv").is_file():
        return find_studies(path / "manifest.csv", reports=reports, rois=rois, unit=unit)
    if not entries:
        why = f", and refused: {index.refused['reason'].iloc[0]}" if len(index.refused) else ""
        raise UsageError("INPUT", f"found no study{why}", expected="DICOM images, image.nii[.gz] or a manifest.csv")
    return entries, index.refused


class FoundStudies:
    """The studies of an input, in memory that does not grow with an archive.

    Parameters
    ----------
    path, reports, rois, cache
        See `find_studies`.

    Raises
    ------
    UsageError
        As `find_studies` does.
    """

    def __init__(
        self, path: Path, *, reports: Path | None = None, rois: Path | None = None, cache: Path | None = None
    ) -> None:
        self.reasons = Counter[str]()
        self._manifest: Manifest | None = None
        self._table: StudyTable | None = None
        if path.is_file() and path.suffix.lower() == ".csv":
            self._read_manifest(path, reports, rois)
            return
        if not is_archive(path):
            expected = "an archive, a study or a manifest.csv"
            raise UsageError("INPUT", "found no such folder or manifest", expected=expected)
        table = tabulate_archive(path, reports=reports, rois=rois, cache=cache)
        if not (table.count() or table.lost) and (path / "manifest.csv").is_file():
            self._read_manifest(path / "manifest.csv", reports, rois)
            return
        if not (table.count() or table.lost):
            why = f", and refused: {next(iter(table.reasons))}" if table.reasons else ""
            expected = "DICOM images, image.nii[.gz] or a manifest.csv"
            raise UsageError("INPUT", f"found no study{why}", expected=expected)
        self._table, self.reasons = table, table.reasons

    def entries(self, *, unit: Unit = "arbitrary", rule: SeriesRule | None = None) -> Collection[StudyEntry]:
        """Return the studies as `find_studies` does, each made anew whenever it is asked for."""
        if self._table is not None:
            return StoredStudies(self._table, unit=unit, rule=rule or SeriesRule())
        return [] if self._manifest is None else self._manifest.entries(unit=unit)

    def _read_manifest(self, path: Path, reports: Path | None, rois: Path | None) -> None:
        if reports is not None or rois is not None:
            raise UsageError("INPUT", "found a manifest with --reports or --rois", expected="them in the manifest")
        self._manifest = read_manifest(path)
