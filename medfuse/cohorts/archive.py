"""Write part of a cohort as the DICOM archive that a hospital would have."""

from __future__ import annotations

import csv
from pathlib import Path

from medfuse.io import Manifest, SeriesIdentity, derived_uid, read_volume, write_dicom_series
from medfuse.progress import Progress

__all__ = ["export_archive"]

Row = dict[str, str]


def export_archive(
    manifest: Manifest,
    out: Path,
    *,
    fold: int,
    progress: Progress = iter,
) -> tuple[Path, Path]:
    """Write one fold's lesions as DICOM series, with their reports and positions.

    Each lesion's crop becomes a series of its study. An archive that is already complete is left as it is.

    Parameters
    ----------
    manifest : Manifest
    out : Path
        Gets archive/<study>/<series>/*.dcm, archive/<study>/report.txt and rois.csv, whose lesions carry
        their own text.
    fold : int
    progress : callable
        Wraps the lesions, for example to show a bar.

    Returns
    -------
    archive, rois : Path
    """
    archive, rois = out / "archive", out / "rois.csv"
    stamp, expected = out / "archive.digest", f"{manifest.digest} fold {fold}\n"
    if stamp.exists() and stamp.read_text(encoding="ascii") == expected:
        return archive, rois
    records = manifest.frame.to_dict("records")
    rows = [{str(k): str(v) for k, v in row.items()} for row in records if row["fold"] == str(fold)]
    written = [_write_lesion(row, manifest.root, archive) for row in progress(rows)]
    with rois.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(written[0]))
        writer.writeheader()
        writer.writerows(written)
    stamp.write_text(expected, encoding="ascii")
    return archive, rois


def _write_lesion(row: Row, root: Path, archive: Path) -> dict[str, str]:
    image = root / row["image_path"]
    folder = archive / image.parent.name
    series_uid = derived_uid("series", row["study_uid"], row["lesion_id"])
    identity = SeriesIdentity(
        patient_id=row["patient_id"],
        study_uid=row["study_uid"],
        series_uid=series_uid,
        frame_of_reference_uid=derived_uid("frame of reference", row["study_uid"]),
    )
    write_dicom_series(read_volume(image), folder / image.stem, identity=identity)
    report = image.with_name("report.txt").read_text(encoding="utf-8")
    (folder / "report.txt").write_text(report, encoding="utf-8")
    return {
        "study_uid": row["study_uid"],
        "series_uid": series_uid,
        "lesion_id": row["lesion_id"],
        "x_mm": row["roi_x_mm"],
        "y_mm": row["roi_y_mm"],
        "z_mm": row["roi_z_mm"],
        "space": "RAS",
        "diameter_mm": row["diameter_mm"],
        "report_text": (root / row["report_path"]).read_text(encoding="utf-8"),
    }
