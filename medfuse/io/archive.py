"""An archive folder -> its index: which studies and series it holds, their reports, and what cannot be used."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from medfuse.errors import AmbiguousVolumeError, DataError, UsageError, VolumeError
from medfuse.io.archive_walk import SERIES_COLUMNS, FoundSeries, Row, describe_series, walk_archive
from medfuse.io.companions import MASK_NAMES, REPORT_NAMES, Paired, listed_reports, pair_by_folder
from medfuse.io.positions import lesions_by_study
from medfuse.io.pseudonyms import Pseudonymizer, load_pseudonymizer
from medfuse.io.studies import DEFAULT_CHANNEL, LesionEntry, StudyEntry
from medfuse.io.volumes import ImageSource
from medfuse.types import Unit

__all__ = ["ArchiveIndex", "index_archive"]

REFUSED_COLUMNS = ("study_uid", "series_uid", "path", "reason")


@dataclass(frozen=True, slots=True, eq=False)
class ArchiveIndex:
    """What an archive holds. Real ids and paths stay in memory; `save` writes keyed pseudonyms.

    Parameters
    ----------
    root : Path
    series : DataFrame
        A row a series: ids, geometry, whether it is a volume and if not why, the paired report.
    refused : DataFrame
        A row a file, series or study that cannot be used, with its reason; localizers are not among them.
    n_ignored : int
        Files that are no image.
    sources : mapping of str to ImageSource
        By ``series_uid``, of the series that are volumes.
    reports, masks : mapping of str to Path, ReportText or DataError
        By ``study_uid``; an error where the pairing is not certain.
    lost : mapping of str to DataError
        Folders in which nothing can be used, with their first reason.
    """

    root: Path = field(repr=False)
    series: pd.DataFrame = field(repr=False)
    refused: pd.DataFrame = field(repr=False)
    n_ignored: int
    sources: Mapping[str, ImageSource] = field(repr=False)
    reports: Mapping[str, Paired] = field(repr=False)
    masks: Mapping[str, Paired] = field(repr=False)
    lost: Mapping[str, DataError] = field(repr=False)

    def save(self, out: Path, *, pseudonymizer: Pseudonymizer | None = None) -> None:
        """Write index.parquet, refused.jsonl and summary.json.

        Ids are keyed pseudonyms (study_key, patient_key, series_key, frame_key, file_key). Paths are left out,
        since folders of real archives are named by patients and UIDs.

        Parameters
        ----------
        out : Path
        pseudonymizer : Pseudonymizer, optional
            By default the user's own.
        """
        names = pseudonymizer or load_pseudonymizer()
        out.mkdir(parents=True, exist_ok=True)
        table = _pseudonymous(self.series, names).drop(columns=["folder", "report"])
        table.assign(has_report=self.series["report"] != "").to_parquet(out / "index.parquet", index=False)
        lines = [json.dumps(row) + "\n" for row in _pseudonymous(self.refused, names).to_dict("records")]
        (out / "refused.jsonl").write_text("".join(lines), encoding="utf-8")
        summary = {
            "studies": int(self.series["study_uid"].nunique()),
            "series": len(self.series),
            "volumes": int(self.series["is_volume"].sum()),
            "files": int(self.series["n_files"].sum()),
            "refused": len(self.refused),
            "ignored_files": self.n_ignored,
            "studies_with_report": int(self.series.loc[self.series["report"] != "", "study_uid"].nunique()),
        }
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")

    def entries(self, *, rois: pd.DataFrame | None = None, unit: Unit = "arbitrary") -> list[StudyEntry]:
        """Return the studies; those that cannot be used carry their refusal, so that none is lost in silence.

        Parameters
        ----------
        rois : DataFrame, optional
            As `medfuse.io.read_rois` gives it. Without it a study's mask is its lesion, if there is one.
        unit : {"HU", "arbitrary"}
            Of NIfTI voxels.

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
            _study_entry(self, str(uid), group, lesions.get(str(uid), ()), unit)
            for uid, group in self.series.groupby("study_uid", sort=True)
        ]
        return entries + [StudyEntry(f"folder {name}", "", refusal=error) for name, error in sorted(self.lost.items())]


def index_archive(root: Path | str, *, reports: Path | None = None) -> ArchiveIndex:
    """Index a folder of studies.

    Parameters
    ----------
    root : Path or str
        DICOM files in any layout, and study folders with image.nii[.gz]. Links are not followed.
    reports : Path, optional
        A folder of ``<StudyInstanceUID>.txt``, or a CSV with ``study_uid`` and ``report_path`` or
        ``report_text``. Without it, the nearest ``report.txt`` in the series' folder or above it, up to
        ``root``, is the study's; one that is nearest to two studies is nobody's.

    Returns
    -------
    ArchiveIndex
        Sorted by study and series. A NIfTI study has its folder as study_uid and patient_id.

    Raises
    ------
    UsageError
        If ``root`` is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise UsageError("ARCHIVE", "found no such folder", expected="a folder")
    walk = walk_archive(root)
    found = describe_series(walk, root)
    folders: dict[str, set[Path]] = defaultdict(set)
    for item in found:
        folders[str(item.row["study_uid"])] |= item.folders
    beside = pair_by_folder(folders, root, names=REPORT_NAMES, what="report")
    paired: Mapping[str, Paired] = beside if reports is None else listed_reports(reports)
    rows = [item.row | {"report": _report_name(paired.get(str(item.row["study_uid"])), root)} for item in found]
    refused = [
        *(_refused_row("", "", path.relative_to(root), str(error)) for path, error in walk.problems),
        *(_series_refusal(item) for item in found if item.row["reason"] and not item.is_auxiliary),
        *(_refused_row(uid, "", "", str(error)) for uid, error in paired.items() if isinstance(error, DataError)),
    ]
    used = set().union(*folders.values())
    return ArchiveIndex(
        root,
        pd.DataFrame(rows, columns=list(SERIES_COLUMNS)),
        pd.DataFrame(refused, columns=list(REFUSED_COLUMNS)),
        walk.n_ignored,
        {str(item.row["series_uid"]): item.source for item in found if item.row["is_volume"]},
        paired,
        pair_by_folder(folders, root, names=MASK_NAMES, what="mask"),
        {path.relative_to(root).as_posix(): error for path, error in walk.lost.items() if path not in used},
    )


def _study_entry(
    index: ArchiveIndex, study_uid: str, group: pd.DataFrame, lesions: tuple[LesionEntry, ...], unit: Unit
) -> StudyEntry:
    usable = [str(uid) for uid in group.loc[group["is_volume"], "series_uid"]]
    keys = {uid: DEFAULT_CHANNEL if len(usable) == 1 else f"series-{n}" for n, uid in enumerate(usable, start=1)}
    reasons = {str(uid): str(reason) for uid, reason in zip(group["series_uid"], group["reason"], strict=True)}
    mask, report = index.masks.get(study_uid), index.reports.get(study_uid)
    if not lesions and isinstance(mask, Path):
        lesions = (LesionEntry("1", mask=mask),)
    elif not lesions and isinstance(mask, DataError):
        lesions = (LesionEntry("1", refusal=mask),)
    patients = sorted(set(group["patient_id"]))
    refusal = None
    if len(patients) > 1:
        refusal = DataError("study", f"found {len(patients)} patients (PatientID) in one study", expected="one")
    elif isinstance(report, DataError):
        refusal = report
    elif not usable:
        refusal = VolumeError("study", "; ".join(sorted(set(reasons.values()))))
    elif len(usable) > 1 and not lesions:
        refusal = _ambiguous(len(usable))
    return StudyEntry(
        study_uid,
        patients[0],
        {key: index.sources[uid] for uid, key in keys.items()},
        report=None if isinstance(report, DataError) else report,
        lesions=tuple(_on_series(lesion, keys, reasons) for lesion in lesions),
        unit=unit,
        refusal=refusal,
    )


def _on_series(lesion: LesionEntry, keys: Mapping[str, str], reasons: Mapping[str, str]) -> LesionEntry:
    """Turn a lesion's real series_uid into the key of the study's image, or into a refusal."""
    uid = lesion.channels.get(DEFAULT_CHANNEL)
    refusal: DataError | None = None
    if uid is None and len(keys) > 1:
        refusal = _ambiguous(len(keys))
    elif uid is not None and uid not in keys:
        refusal = VolumeError("lesion", reasons.get(uid, "found no such series; expected a series_uid of its study"))
    channels = {} if uid is None or refusal else {DEFAULT_CHANNEL: keys[uid]}
    return replace(lesion, channels=channels, refusal=lesion.refusal or refusal)


def _ambiguous(n: int) -> AmbiguousVolumeError:
    found = f"found {n} series that are volumes, more than one"
    return AmbiguousVolumeError("study", found, expected="one, or a series_uid for each lesion (rois.csv)")


def _report_name(paired: Paired | None, root: Path) -> str:
    if paired is None or isinstance(paired, DataError):
        return ""
    if isinstance(paired, Path) and paired.is_relative_to(root):
        return paired.relative_to(root).as_posix()
    return "listed"


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
