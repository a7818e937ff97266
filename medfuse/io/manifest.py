"""manifest.csv: one row a case, checked as a whole before anything is read."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pandas as pd

from medfuse.io.dicom_headers import SliceHeader, group_headers
from medfuse.io.files import walk_files
from medfuse.io.studies import DEFAULT_CHANNEL, LesionEntry, StudyEntry
from medfuse.io.tables import inside, number, read_table, wrong_cell
from medfuse.io.volumes import ImageSource
from medfuse.types import ReportText, Unit

__all__ = ["PRIVATE", "Manifest", "read_manifest"]

ROI = ("roi_x_mm", "roi_y_mm", "roi_z_mm")
ROI_SIZE = ("roi_size_x_mm", "roi_size_y_mm", "roi_size_z_mm")
IMAGE, IMAGE_OF_CHANNEL = "image_path", "image_path_"
COLUMNS = (
    "patient_id", "study_uid", "lesion_id", IMAGE, "series_uid", "report_path", "report_text", "mask_path",
    *ROI, *ROI_SIZE, "diameter_mm", "split", "fold", "study_date", "report_date", "outcome_date", "modality", "unit",
)  # fmt: skip
SYNONYMS = {"study_id": "study_uid", "image": "image_path", "report": "report_path", "mask": "mask_path"}
"""Names that other programs give these columns."""

DATES = ("study_date", "report_date", "outcome_date")
UNITS: Mapping[str, Unit] = {"HU": "HU", "arbitrary": "arbitrary"}
PRIVATE = ("patient_id", "study_uid", "series_uid", "report_text", "image_path", "report_path", "mask_path")
"""Columns that begin like this are no facts of a case: real ids, texts and paths (``image_path_ct`` too)."""

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """A checked manifest.

    Parameters
    ----------
    path : Path
    frame : DataFrame of str
        As the file has it; ``lesion_id`` is filled in.
    digest : str
        SHA-256 of the file.
    series : mapping of str to tuple of SliceHeader
        By SeriesInstanceUID: the DICOM series under the folder, if there is a column ``series_uid``.
    """

    path: Path = field(repr=False)
    frame: pd.DataFrame = field(repr=False)
    digest: str
    series: Mapping[str, tuple[SliceHeader, ...]] = field(default_factory=dict, repr=False)

    @property
    def root(self) -> Path:
        """Folder that the paths are relative to."""
        return self.path.parent

    def entries(self, *, unit: Unit = "arbitrary") -> list[StudyEntry]:
        """Return the studies, in the order of their first row.

        Parameters
        ----------
        unit : {"HU", "arbitrary"}
            Of NIfTI voxels where the manifest has no ``unit``.
        """
        studies: dict[str, list[tuple[int, Row]]] = defaultdict(list)
        for row, record in enumerate(_records(self.frame)):
            studies[record["study_uid"]].append((row, record))
        return [_study_entry(self, rows, unit) for rows in studies.values()]


def read_manifest(path: Path | str, *, allow_late_reports: bool = False) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    path : Path or str
        CSV with the columns ``patient_id, study_uid``, and of the others those that apply; `SYNONYMS` are
        understood.
    allow_late_reports : bool
        Accept reports dated after the outcome: they may have been written knowing it.

    Returns
    -------
    Manifest

    Raises
    ------
    ManifestError
        Naming the row and column at fault.
    """
    path = Path(path)
    frame = read_table(path, required=("patient_id", "study_uid"), known=COLUMNS, synonyms=SYNONYMS)
    if "lesion_id" not in frame:
        frame["lesion_id"] = ""
    frame["lesion_id"] = frame["lesion_id"].replace("", "1")
    series: dict[str, tuple[SliceHeader, ...]] = {}
    if "series_uid" in frame:
        series = {uid: tuple(items) for uid, items in group_headers(walk_files(path.parent, problems=[])).items()}
    cases: set[tuple[str, str]] = set()
    first: dict[str, Row] = {}
    for row, record in enumerate(_records(frame)):
        for column in ("patient_id", "study_uid"):
            if not record[column]:
                wrong_cell(path, row, column, "found an empty cell", "an id in each row")
        case = (record["study_uid"], record["lesion_id"])
        if case in cases:
            wrong_cell(path, row, "lesion_id", "found a study_uid and lesion_id for the second time", "each case once")
        cases.add(case)
        of_study = first.setdefault(record["study_uid"], record)
        for column in ("patient_id", "unit"):
            if record.get(column) != of_study.get(column):
                wrong_cell(path, row, column, f"found a study with two values of {column}", "one a study")
        if _image_columns(record).keys() != _image_columns(of_study).keys():
            found = "found other image columns filled than in the study's first row"
            wrong_cell(path, row, IMAGE, found, "the same ones in each row of a study")
        _check_row(path, row, record, series)
        _check_dates(path, row, record, allow_late_reports)
    return Manifest(path, frame, hashlib.sha256(path.read_bytes()).hexdigest(), series)


def _records(frame: pd.DataFrame) -> list[Row]:
    return [{str(key): str(value) for key, value in record.items()} for record in frame.to_dict("records")]


def _check_row(path: Path, row: int, record: Row, series: Mapping[str, object]) -> None:
    for column, text in record.items():
        is_path = column in (IMAGE, "report_path", "mask_path") or column.startswith(IMAGE_OF_CHANNEL)
        if is_path and text:
            inside(path, row, column, text)
    if record.get(IMAGE) and record.get("series_uid"):
        wrong_cell(path, row, "series_uid", "found an image_path too", "one of them")
    if record.get("series_uid") and record["series_uid"] not in series:
        wrong_cell(path, row, "series_uid", "found no such series", "a DICOM series under the manifest's folder")
    if record.get("report_path") and record.get("report_text"):
        wrong_cell(path, row, "report_text", "found a report_path too", "one of them")
    filled = [column for column in ROI if record.get(column)]
    if filled and len(filled) < len(ROI):
        missing = next(column for column in ROI if column not in filled)
        wrong_cell(path, row, missing, "found a position without it", "all of roi_x_mm, roi_y_mm, roi_z_mm")
    sized = [column for column in ROI_SIZE if record.get(column)]
    if sized and (len(sized) < len(ROI_SIZE) or not filled):
        wrong_cell(path, row, sized[0], "found a part of a box", "its centre roi_*_mm, and its size along x, y and z")
    for column in (*filled, *sized, "diameter_mm"):
        if record.get(column) and number(path, row, column, record[column]) <= 0 and column in sized:
            wrong_cell(path, row, column, "found a size that is not above 0", "mm")
    if record.get("unit") and record["unit"] not in UNITS:
        wrong_cell(path, row, "unit", "found another unit", "HU or arbitrary")


def _check_dates(path: Path, row: int, record: Row, allow_late_reports: bool) -> None:
    days: dict[str, date] = {}
    for column in DATES:
        if record.get(column):
            try:
                days[column] = date.fromisoformat(record[column])
            except ValueError:
                wrong_cell(path, row, column, "found no date", "YYYY-MM-DD")
    late = len(days.keys() & {"report_date", "outcome_date"}) == 2 and days["report_date"] > days["outcome_date"]
    if late and not allow_late_reports:
        wrong_cell(path, row, "report_date", "found a report dated after the outcome", "a report that cannot know it")


def _study_entry(manifest: Manifest, rows: list[tuple[int, Row]], unit: Unit) -> StudyEntry:
    keys: dict[tuple[str, str], str] = {}
    images: dict[str, ImageSource] = {}
    lesions: list[LesionEntry] = []
    for row, record in rows:
        channels: dict[str, str] = {}
        for channel, column in _image_columns(record).items():
            # One study may show each lesion by another image: the first is named by its channel alone.
            place = (channel, record[column])
            n_before = sum(known == channel for known, _ in keys)
            key = keys.setdefault(place, channel if n_before == 0 else f"{channel}-{n_before + 1}")
            images[key] = (
                manifest.series[record[column]]
                if column == "series_uid"
                else inside(manifest.path, row, column, record[column])
            )
            channels[channel] = key
        lesions.append(_lesion_entry(manifest.path, row, record, channels))
    first = rows[0][1]
    stated = UNITS.get(first.get("unit", ""), unit)
    return StudyEntry(first["study_uid"], first["patient_id"], images, lesions=tuple(lesions), unit=stated)


def _image_columns(record: Row) -> dict[str, str]:
    """Return the filled image columns by channel."""
    named = {c.removeprefix(IMAGE_OF_CHANNEL): c for c in record if c.startswith(IMAGE_OF_CHANNEL) and record[c]}
    single = IMAGE if record.get(IMAGE) else "series_uid" if record.get("series_uid") else None
    return named if single is None else {DEFAULT_CHANNEL: single, **named}


def _lesion_entry(path: Path, row: int, record: Row, channels: Mapping[str, str]) -> LesionEntry:
    position, size = ([record.get(column, "") for column in columns] for columns in (ROI, ROI_SIZE))
    x, y, z = (float(text) if text else 0.0 for text in position)
    r, a, s = (float(text) if text else 0.0 for text in size)
    report: Path | ReportText | None = None
    if record.get("report_path"):
        report = inside(path, row, "report_path", record["report_path"])
    elif record.get("report_text"):
        report = ReportText(record["report_text"], date=record.get("report_date", ""), source=f"row {row + 2}")
    return LesionEntry(
        record["lesion_id"],
        channels=channels,
        centre=(x, y, z) if all(position) else None,
        mask=inside(path, row, "mask_path", record["mask_path"]) if record.get("mask_path") else None,
        report=report,
        diameter_mm=float(record["diameter_mm"]) if record.get("diameter_mm") else None,
        size_mm=(r, a, s) if all(size) else None,
        columns={name: text for name, text in record.items() if not name.startswith(PRIVATE)},
    )
