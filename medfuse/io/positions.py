"""Where the lesions of an archive are: by rois.csv, or by the SEG and RTSTRUCT objects of a study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medfuse.errors import DataError, LesionPositionError, ManifestError
from medfuse.io.dicom_rtstruct import RTSTRUCT_CLASSES, read_rtstruct_lesions
from medfuse.io.dicom_seg import SEG_CLASSES, read_seg_lesions
from medfuse.io.marked_lesions import MarkedLesion
from medfuse.io.studies import DEFAULT_CHANNEL, LesionEntry
from medfuse.io.tables import inside, number, read_table, wrong_cell
from medfuse.types import ReportText

__all__ = [
    "LESION_OBJECTS", "is_lesion_object", "lesion_of", "lesions_by_study", "lesions_of_objects", "no_row_belongs",
    "read_rois",
]  # fmt: skip

POSITION = ("x_mm", "y_mm", "z_mm")
LESION_OBJECTS = SEG_CLASSES | RTSTRUCT_CLASSES
"""SOP classes of objects that mark lesions."""

COLUMNS = ("study_uid", "series_uid", "lesion_id", *POSITION, "space", "diameter_mm", "report_text", "report_path")


def read_rois(path: Path) -> pd.DataFrame:
    """Read a table of lesion positions.

    Parameters
    ----------
    path : Path
        CSV with ``study_uid`` and / or ``series_uid``, ``lesion_id``, ``x_mm, y_mm, z_mm``, and optionally
        ``space`` (RAS, the default, or LPS), ``diameter_mm``, and ``report_text`` or ``report_path``.

    Returns
    -------
    DataFrame
        Positions as numbers in RAS+ mm, ``report_path`` absolute; every other column as text, absent ones empty.

    Raises
    ------
    ManifestError
        Naming the row and column at fault.
    """
    frame = read_table(path, required=("lesion_id", *POSITION), known=COLUMNS)
    if "study_uid" not in frame and "series_uid" not in frame:
        raise ManifestError(path.name, "found neither study_uid nor series_uid", expected="one of these columns")
    for column in COLUMNS:
        if column not in frame:
            frame[column] = ""
    seen: set[tuple[str, str, str]] = set()
    for row, record in enumerate(frame.to_dict("records")):
        case = (record["study_uid"], record["study_uid"] or record["series_uid"], record["lesion_id"])
        if not case[1]:
            wrong_cell(path, row, "study_uid", "found neither study_uid nor series_uid", "one of them in each row")
        if not record["lesion_id"]:
            wrong_cell(path, row, "lesion_id", "found an empty cell", "an id in each row")
        if case in seen:
            wrong_cell(path, row, "lesion_id", "found a lesion for the second time", "each lesion once")
        seen.add(case)
        if record["space"].upper() not in ("", "RAS", "LPS"):
            wrong_cell(path, row, "space", "found another space", "RAS or LPS")
        if record["diameter_mm"]:
            number(path, row, "diameter_mm", record["diameter_mm"])
        if record["report_path"] and record["report_text"]:
            wrong_cell(path, row, "report_text", "found a report_path too", "one of them")
    frame["report_path"] = [
        str(inside(path, row, "report_path", text)) if text else "" for row, text in enumerate(frame["report_path"])
    ]
    for column in POSITION:
        frame[column] = [number(path, row, column, text) for row, text in enumerate(frame[column])]
    lps = frame["space"].str.upper() == "LPS"
    frame.loc[lps, ["x_mm", "y_mm"]] *= -1.0
    return frame.drop(columns="space")


def lesions_by_study(rois: pd.DataFrame, series: pd.DataFrame) -> dict[str, tuple[LesionEntry, ...]]:
    """Give each study of an archive its lesions; rows of other studies are passed over.

    Parameters
    ----------
    rois : DataFrame
        As `read_rois` gives it.
    series : DataFrame
        With ``study_uid`` and ``series_uid``.

    Returns
    -------
    dict of str to tuple of LesionEntry
        By study_uid. A lesion's channel "image" names the real series_uid where the row has one.

    Raises
    ------
    ManifestError
        If no row belongs to a study of the archive.
    """
    study_of = {str(uid): str(study) for uid, study in zip(series["series_uid"], series["study_uid"], strict=True)}
    studies = set(study_of.values())
    lesions: dict[str, list[LesionEntry]] = defaultdict(list)
    for record in rois.to_dict("records"):
        study_uid = record["study_uid"] or study_of.get(record["series_uid"], "")
        if study_uid not in studies:
            continue
        lesions[study_uid].append(lesion_of(record))
    if not lesions:
        raise no_row_belongs()
    return {study_uid: tuple(parts) for study_uid, parts in lesions.items()}


def lesion_of(record: Mapping[Any, Any]) -> LesionEntry:
    """Return the lesion of a row of `read_rois`; its channel "image" names the real series_uid where there is one."""
    report = Path(record["report_path"]) if record["report_path"] else None
    return LesionEntry(
        record["lesion_id"],
        channels={DEFAULT_CHANNEL: record["series_uid"]} if record["series_uid"] else {},
        centre=(record["x_mm"], record["y_mm"], record["z_mm"]),
        report=ReportText(record["report_text"], source="rois") if record["report_text"] else report,
        diameter_mm=float(record["diameter_mm"]) if record["diameter_mm"] else None,
    )


def no_row_belongs() -> ManifestError:
    """Return why positions are refused of which none is in the archive."""
    return ManifestError("rois", "found no row of a study in the archive", expected="its study_uid or series_uid")


def is_lesion_object(sop_class_uid: str) -> bool:
    """Tell whether DICOM objects of a SOP class mark lesions.

    Examples
    --------
    >>> is_lesion_object("1.2.840.10008.5.1.4.1.1.66.4"), is_lesion_object("1.2.840.10008.5.1.4.1.1.2")
    (True, False)
    """
    return sop_class_uid in LESION_OBJECTS


def lesions_of_objects(objects: Sequence[tuple[Path, str]], series: pd.DataFrame) -> tuple[LesionEntry, ...]:
    """Read the lesions that one study's SEG objects mark, or, where it has none, its RTSTRUCT objects.

    Parameters
    ----------
    objects : sequence of (Path, str)
        The study's objects with their SOP Class UIDs.
    series : DataFrame
        The study's series: ``series_uid``, ``frame_of_reference_uid``, ``is_volume``.

    Returns
    -------
    tuple of LesionEntry
        Their ids are segment or ROI numbers, behind the number of the object where there are several. One that
        cannot be read, or was drawn on no series of the study, carries its refusal.
    """
    for classes, read in ((SEG_CLASSES, read_seg_lesions), (RTSTRUCT_CLASSES, read_rtstruct_lesions)):
        paths = sorted(path for path, kind in objects if kind in classes)
        entries: list[LesionEntry] = []
        for n, path in enumerate(paths, start=1):
            prefix = f"{n}." if len(paths) > 1 else ""
            try:
                entries += [_marked_entry(lesion, prefix, series) for lesion in read(path)]
            except DataError as error:
                entries.append(LesionEntry(f"{prefix}object", refusal=error))
        if entries:
            return tuple(entries)
    return ()


def _marked_entry(lesion: MarkedLesion, prefix: str, series: pd.DataFrame) -> LesionEntry:
    lesion_id = prefix + lesion.lesion_id
    try:
        series_uid = _drawn_on(lesion, series)
    except LesionPositionError as error:
        return LesionEntry(lesion_id, refusal=error)
    channels = {DEFAULT_CHANNEL: series_uid}
    return LesionEntry(lesion_id, channels=channels, centre=lesion.centre, diameter_mm=lesion.diameter_mm)


def _drawn_on(lesion: MarkedLesion, series: pd.DataFrame) -> str:
    """Return the series that a lesion was drawn on, else the one volume that shares its frame of reference."""
    named = series[series["series_uid"].isin(lesion.series_uids)]
    frame = lesion.frame_of_reference_uid
    if frame and any(other not in ("", frame) for other in named["frame_of_reference_uid"]):
        found = "found a FrameOfReferenceUID that is not that of the series it was drawn on"
        raise LesionPositionError("lesion object", found, expected="one space")
    if named.empty and frame:
        named = series[series["is_volume"] & (series["frame_of_reference_uid"] == frame)]
    if len(named) > 1:
        named = named[named["is_volume"]]
    if len(named) != 1:
        found = f"found {len(named)} series of its study that it could be drawn on"
        expected = "one, by SeriesInstanceUID or FrameOfReferenceUID"
        raise LesionPositionError("lesion object", found, expected=expected)
    return str(named["series_uid"].iloc[0])
