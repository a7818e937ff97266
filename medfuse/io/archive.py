"""An archive -> its index: which studies and series it holds, their reports, and what cannot be used."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from medfuse.config import SeriesRule
from medfuse.errors import DataError, UsageError
from medfuse.io.archive_reports import archive_reports
from medfuse.io.archive_series import SERIES_COLUMNS, FoundSeries, Row, describe_nifti, describe_series, shown_path
from medfuse.io.archive_store import ArchiveStore, KnownFiles, forget
from medfuse.io.archive_walk import MASK, Count, count_files, found_files, walk_archive
from medfuse.io.companions import MASK_NAMES, by_folder, pair_by_folder
from medfuse.io.dicom_headers import HEADER_KEYWORDS
from medfuse.io.files import input_root, is_archive
from medfuse.io.positions import lesions_by_study
from medfuse.io.pseudonyms import Pseudonymizer, load_pseudonymizer
from medfuse.io.report_documents import Paired
from medfuse.io.report_pairing import Pairing
from medfuse.io.studies import StudyEntry
from medfuse.io.study_entries import StudyParts, study_entry
from medfuse.io.volumes import ImageSource
from medfuse.types import Unit

__all__ = ["ArchiveIndex", "index_archive", "plan_index"]

MADE_BY = " ".join(HEADER_KEYWORDS)
REFUSED_COLUMNS = ("study_uid", "series_uid", "path", "reason")

log = logging.getLogger("medfuse")


@dataclass(frozen=True, slots=True, eq=False)
class ArchiveIndex:
    """What an archive holds. Real ids and paths stay in memory; `save` writes keyed pseudonyms.

    Parameters
    ----------
    root : Path
        Which folders and paths are relative to.
    series : DataFrame
        A row a series: ids, geometry, whether it is a volume and if not why, the paired report.
    refused : DataFrame
        A row a file, series or study that cannot be used, with its reason; localizers are not among them.
    n_ignored : int
        Files that are no image.
    sources : mapping of str to ImageSource
        By ``series_uid``, of the series that are a volume or several.
    reports, masks : mapping of str to Path, ReportText or DataError
        By ``study_uid``; an error where the pairing is not certain.
    objects : mapping of str to sequence of (Path, str)
        SEG and RTSTRUCT objects with their SOP classes, by ``study_uid``.
    lost : mapping of str to DataError
        Folders in which nothing can be used, with their first reason.
    n_unpaired : int
        Reports of no study.
    """

    root: Path = field(repr=False)
    series: pd.DataFrame = field(repr=False)
    refused: pd.DataFrame = field(repr=False)
    n_ignored: int
    sources: Mapping[str, ImageSource] = field(repr=False)
    reports: Mapping[str, Paired] = field(repr=False)
    masks: Mapping[str, Paired] = field(repr=False)
    lost: Mapping[str, DataError] = field(repr=False)
    objects: Mapping[str, Sequence[tuple[Path, str]]] = field(default_factory=dict, repr=False)
    n_unpaired: int = 0

    def save(self, out: Path, *, pseudonymizer: Pseudonymizer | None = None) -> None:
        """Write index.parquet, refused.jsonl and summary.json.

        Ids are keyed pseudonyms (study_key, patient_key, series_key, frame_key, file_key). Paths, accession numbers
        and report texts are left out; folders of real archives are named by patients and UIDs.

        Parameters
        ----------
        out : Path
        pseudonymizer : Pseudonymizer, optional
            By default the user's own.
        """
        names = pseudonymizer or load_pseudonymizer()
        out.mkdir(parents=True, exist_ok=True)
        table = _pseudonymous(self.series, names).drop(columns=["folder", "report", "accession_number"])
        table.assign(has_report=self.series["report"] != "").to_parquet(out / "index.parquet", index=False)
        with (out / "refused.jsonl").open("w", encoding="utf-8") as file:
            for row in _pseudonymous(self.refused, names).to_dict("records"):
                file.write(json.dumps(row) + "\n")
        summary = {
            "studies": int(self.series["study_uid"].nunique()),
            "series": len(self.series),
            "volumes": int(self.series["n_volumes"].sum()),
            "files": int(self.series["n_files"].sum()),
            "refused": len(self.refused),
            "ignored_files": self.n_ignored,
            "studies_with_report": int(self.series.loc[self.series["report"] != "", "study_uid"].nunique()),
            "reports_of_no_study": self.n_unpaired,
        }
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")

    def entries(
        self, *, rois: pd.DataFrame | None = None, unit: Unit = "arbitrary", rule: SeriesRule | None = None
    ) -> list[StudyEntry]:
        """Return the studies; those that cannot be used carry their refusal, so that none is lost in silence.

        Parameters
        ----------
        rois : DataFrame, optional
            As `medfuse.io.read_rois` gives it. Without it a study's mask is its lesion, if there is one, else what
            its SEG or RTSTRUCT objects mark.
        unit : {"HU", "arbitrary"}
            Of NIfTI voxels.
        rule : SeriesRule, optional
            Which series is a study's image, where several are volumes; by default that is refused.

        Returns
        -------
        list of StudyEntry
            Sorted by study; then one a folder in which nothing can be read.

        Raises
        ------
        ManifestError
            If no row of ``rois`` belongs to the archive.
        """
        lesions = {} if rois is None else lesions_by_study(rois, self.series)
        entries = [
            study_entry(self._parts(str(uid), group), lesions.get(str(uid), ()), unit=unit, rule=rule or SeriesRule())
            for uid, group in self.series.groupby("study_uid", sort=True)
        ]
        return entries + [StudyEntry(f"folder {name}", "", refusal=error) for name, error in sorted(self.lost.items())]

    def _parts(self, uid: str, group: pd.DataFrame) -> StudyParts:
        rows = [{str(key): value for key, value in row.items()} for row in group.to_dict("records")]
        objects = self.objects.get(uid, ())
        return StudyParts(uid, rows, self.sources, self.reports.get(uid), self.masks.get(uid), objects)


def index_archive(
    root: Path | str, *, reports: Path | None = None, cache: Path | None = None, count: Count = iter
) -> ArchiveIndex:
    """Index an archive.

    Parameters
    ----------
    root : Path or str
        A folder, zip or tar of DICOM files in any layout and of study folders with image.nii[.gz]; zip and tar files
        in it are folders too. Or a DICOMDIR, whose listed files are the archive. Links are not followed. A file that
        a DICOMDIR lists but that is not there is refused, and with it the series in its folder.
    reports : Path, optional
        See `medfuse.io.report_sources.read_documents`. Without it, the nearest ``report.txt`` in the series' folder
        or above it, up to ``root``, is the study's (one that is nearest to two studies is nobody's); a study without
        one has the DICOM structured reports that carry its StudyInstanceUID.
    cache : Path, optional
        Where the facts of the files are kept, so that the next run reads only new and changed ones, and one that was
        stopped goes on. It holds real ids: see `medfuse.io.archive_store.kept_store` for a private place.
    count : callable
        Wraps the files that are walked over, for example to show how far it is.

    Returns
    -------
    ArchiveIndex
        Sorted by study and series. A NIfTI study has its folder as study_uid and patient_id.

    Raises
    ------
    UsageError
        If ``root`` is no archive.
    """
    path = _archive(root)
    try:
        return _index(path, reports=reports, cache=cache, count=count)
    except sqlite3.DatabaseError as error:
        if cache is None:
            raise DataError("index", f"its temporary file failed ({error})", expected="room on the disk") from error
        log.warning("the facts of earlier runs are damaged: every file is read again")
        forget(cache)
        return _index(path, reports=reports, cache=cache, count=count)


def plan_index(root: Path | str, *, cache: Path, count: Count = iter) -> tuple[int, int]:
    """Count what `index_archive` would read, without reading or writing.

    Parameters
    ----------
    root, cache, count
        As for `index_archive`.

    Returns
    -------
    n_files, n_new : int
        Files of the archive, and those of them that are new or changed.

    Raises
    ------
    UsageError
        If ``root`` is no archive.
    """
    with KnownFiles(cache, made_by=MADE_BY) as known:
        return count_files(_archive(root), known, count=count)


def _archive(root: Path | str) -> Path:
    path = Path(root).absolute()
    if not is_archive(path):
        raise UsageError("ARCHIVE", "found no such folder or archive", expected="a folder, zip, tar or DICOMDIR")
    return path


def _index(path: Path, *, reports: Path | None, cache: Path | None, count: Count) -> ArchiveIndex:
    root = input_root(path)
    with ArchiveStore(cache, made_by=MADE_BY) as store:
        problems = walk_archive(path, store, count=count)
        files = found_files(store, root, problems)
        found = [*describe_series(store, root, lost=files.lost)]
    found += [describe_nifti(image, root, facts) for image, facts in files.images]
    found.sort(key=lambda item: (str(item.row["study_uid"]), str(item.row["series_uid"])))
    folders: dict[str, set[Path]] = defaultdict(set)
    for item in found:
        folders[str(item.row["study_uid"])] |= item.folders
    pairing = archive_reports(files, found, folders, root, reports=reports)
    refused = [
        *(
            _refused_row("", "", shown_path(path, root), str(error))
            for path, error in files.problems + pairing.problems
        ),
        *(_series_refusal(item) for item in found if not item.row["n_volumes"] and not item.is_auxiliary),
        *(_refused_row(uid, "", "", str(e)) for uid, e in sorted(pairing.reports.items()) if isinstance(e, DataError)),
    ]
    used = set().union(*folders.values())
    masks = by_folder(files.companions[MASK], MASK_NAMES)
    return ArchiveIndex(
        root,
        pd.DataFrame([_with_report(item.row, pairing, root) for item in found], columns=list(SERIES_COLUMNS)),
        pd.DataFrame(refused, columns=list(REFUSED_COLUMNS)),
        files.n_ignored,
        {str(item.row["series_uid"]): item.source for item in found if item.row["n_volumes"]},
        pairing.reports,
        pair_by_folder(folders, root, files=masks, what="mask"),
        {shown_path(path, root): error for path, error in files.lost.items() if path not in used},
        files.marks,
        pairing.n_unpaired,
    )


def _with_report(row: Row, pairing: Pairing, root: Path) -> Row:
    """Add to a series' row its study's report, and what was chosen."""
    uid = str(row["study_uid"])
    paired, name = pairing.reports.get(uid), ""
    if paired is not None and not isinstance(paired, DataError):
        name = shown_path(paired, root) if isinstance(paired, Path) and paired.is_relative_to(root) else "listed"
    warnings = "; ".join(filter(None, (str(row["warnings"]), pairing.notes.get(uid, ""))))
    return row | {"report": name, "warnings": warnings}


def _series_refusal(item: FoundSeries) -> Row:
    row = item.row
    return _refused_row(row["study_uid"], row["series_uid"], row["folder"], row["reason"])


def _refused_row(*values: object) -> Row:
    return dict(zip(REFUSED_COLUMNS, map(str, values), strict=True))


def _pseudonymous(frame: pd.DataFrame, names: Pseudonymizer) -> pd.DataFrame:
    given = {
        "study_uid": ("study_key", names.study),
        "patient_id": ("patient_key", names.patient),
        "series_uid": ("series_key", names.series),
        "frame_of_reference_uid": ("frame_key", names.series),
        "path": ("file_key", names.file),
    }
    return frame.assign(
        **{old: [rename(v) if v else "" for v in frame[old]] for old, (_, rename) in given.items() if old in frame}
    ).rename(columns={old: new for old, (new, _) in given.items()})
