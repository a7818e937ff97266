"""rois.csv: where the lesions are, for archives that do not say it themselves."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pandas as pd

from medfuse.errors import ManifestError
from medfuse.io.studies import DEFAULT_CHANNEL, LesionEntry
from medfuse.io.tables import inside, number, read_table, wrong_cell
from medfuse.types import ReportText

__all__ = ["lesions_by_study", "read_rois"]

POSITION = ("x_mm", "y_mm", "z_mm")
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
        report = Path(record["report_path"]) if record["report_path"] else None
        lesions[study_uid].append(
            LesionEntry(
                record["lesion_id"],
                channels={DEFAULT_CHANNEL: record["series_uid"]} if record["series_uid"] else {},
                centre=(record["x_mm"], record["y_mm"], record["z_mm"]),
                report=ReportText(record["report_text"], source="rois") if record["report_text"] else report,
                diameter_mm=float(record["diameter_mm"]) if record["diameter_mm"] else None,
            )
        )
    if not lesions:
        raise ManifestError("rois", "found no row of a study in the archive", expected="its study_uid or series_uid")
    return {study_uid: tuple(parts) for study_uid, parts in lesions.items()}
