"""Whatever a user points at -> the studies in it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medfuse.config import SeriesRule
from medfuse.errors import UsageError
from medfuse.io.archive import REFUSED_COLUMNS, index_archive
from medfuse.io.files import is_archive
from medfuse.io.manifest import read_manifest
from medfuse.io.positions import read_rois
from medfuse.io.studies import StudyEntry
from medfuse.types import Unit

__all__ = ["find_studies"]


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
