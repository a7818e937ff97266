"""An archive of good studies, rendered LIDC-IDRI nodules as DICOM, with poisoned ones among them."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from medfuse.io import Manifest, read_volume, write_dicom_series
from pipelines.scoring_tools.inputs import copy_series, identity_of

__all__ = ["POISONS", "Archive", "Poisoned", "make_archive"]

Row = dict[str, str]
SEED = 0


@dataclass(frozen=True)
class Poisoned:
    """A study that must be refused.

    Parameters
    ----------
    kind : str
        What was done to it.
    study_uid : str
        Empty where a fault took it, or it is a NIfTI image.
    folder : str
        Its folder in the archive.
    words : tuple of str
        Regular expressions, one of which the reason of its refusal matches.
    """

    kind: str
    study_uid: str
    folder: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """Where an archive lies, how many good studies are in it, and which are poisoned."""

    root: Path
    rois: Path
    n_good: int
    poisoned: tuple[Poisoned, ...]


Poison = Callable[[list[Path], Row], None]


def _truncate(files: list[Path], _: Row) -> None:
    files[1].write_bytes(files[1].read_bytes()[:-900])


def _remove(files: list[Path], _: Row) -> None:
    for path in files[2:-2]:
        path.unlink()


def _move_lesion(_: list[Path], roi: Row) -> None:
    roi["x_mm"] = "9000"


def _lose_lesion(_: list[Path], roi: Row) -> None:
    roi.clear()


def _edited(index: int, edit: Callable[[Any], None]) -> Poison:
    """Return what changes one slice."""

    def poison(files: list[Path], _: Row) -> None:
        import pydicom

        dataset = pydicom.dcmread(files[index])
        edit(dataset)
        dataset.save_as(files[index])

    return poison


def _repeat(files: list[Path], _: Row) -> None:
    """Add a slice at the place of another one, with other voxels and a UID of its own."""
    import pydicom

    dataset = pydicom.dcmread(files[1])
    dataset.SOPInstanceUID = f"{str(dataset.SOPInstanceUID)[:-3]}777"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(files[1].with_name("again.dcm"))


def _compress(dataset: Any) -> None:
    """Say that the pixels are JPEG-LS, which they are not."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    dataset.PixelData = encapsulate([b"\xff\xd8not an image" * 9])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless


def _set(keyword: str, value: Any) -> Callable[[Any], None]:
    return lambda dataset: setattr(dataset, keyword, value)


def _unknown_syntax(dataset: Any) -> None:
    dataset.file_meta.TransferSyntaxUID = "1.2.3.4.5"


POISONS: dict[str, tuple[Poison, tuple[str, ...]]] = {
    "a slice cut off": (_truncate, ("truncat", "bytes", "short", "cut", "length")),
    "slices missing": (_remove, ("gap", "spacing", "missing", "step", "outside")),
    "a zero PixelSpacing": (_edited(1, _set("PixelSpacing", [0, 0])), ("spacing", "PixelSpacing")),
    "other Rows than pixels": (_edited(1, _set("Rows", 9999)), ("Rows", "size", "bytes", "length", "matrix")),
    "a slice turned": (_edited(1, _set("ImageOrientationPatient", [0, 1, 0, 0, 0, 1])), ("volume", "orientation")),
    "two slices at one place": (_repeat, ("position", "duplicate", "place")),
    "two patients in one study": (_edited(1, _set("PatientID", "SOMEBODY ELSE")), ("patient", "PatientID")),
    "an unknown transfer syntax": (_edited(1, _unknown_syntax), ("syntax", "decod")),
    "pixels that are no JPEG-LS": (_edited(1, _compress), ("decod", "JPEG", "codec", "compress")),
    "a zero RescaleSlope": (_edited(1, _set("RescaleSlope", 0)), ("slope", "Rescale")),
    "a lesion outside the image": (_move_lesion, ("outside",)),
    "no lesion position": (_lose_lesion, ("position",)),
}


def make_archive(
    manifest: Manifest, out: Path, *, n_good: int, n_poisoned: int, faults: Path | None, progress: Callable[..., Any]
) -> Archive:
    """Write the archive; one that is there already is used again.

    Parameters
    ----------
    manifest : Manifest
        Of lesions of the LIDC-IDRI cohort: each study has one of them, and where more studies are asked for than there
        are lesions, these come again under other UIDs.
    out : Path
        Gets archive/ and rois.csv.
    n_good, n_poisoned : int
        Studies.
    faults : Path, optional
        Folder of fault cases with a cases.json; those that are studies to refuse are among the poisoned.
    progress : callable
        Wraps the studies.

    Returns
    -------
    Archive
    """
    root, rois, record = out / "archive", out / "rois.csv", out / "archive.json"
    if record.exists():
        kept = json.loads(record.read_text(encoding="utf-8"))
        poisoned = tuple(Poisoned(**{**one, "words": tuple(one["words"])}) for one in kept["poisoned"])
        return Archive(root, rois, kept["n_good"], poisoned)
    found = list(_faults(faults, root)) if faults is not None else []
    kinds = list(islice(cycle(POISONS), n_poisoned - len(found)))
    plan = [""] * n_good + kinds
    random.Random(SEED).shuffle(plan)  # noqa: S311 - a mixture, no secret
    lesions: list[Row] = [roi for _, roi in found if roi]
    poisoned = tuple(one for one, _ in found)
    written = [_write_study(row, manifest.root, out / "series") for row in rows_of(manifest)]
    for number, kind in progress(list(enumerate(plan, start=len(written)))):
        series, roi, report = written[number % len(written)]
        study, folder = identity_of(number).study_uid, root / f"s{number:05d}"
        copy_series(series, folder, old=number % len(written), new=number)
        shutil.copyfile(report, folder / "report.txt")
        roi = {**roi, "study_uid": study}
        if kind:
            poison, words = POISONS[kind]
            poison(sorted(folder.glob("*.dcm")), roi)
            poisoned += (Poisoned(kind, study, folder.name, words),)
        if roi:
            lesions.append(roi)
    _write_rois(rois, lesions)
    told = [{"kind": p.kind, "study_uid": p.study_uid, "folder": p.folder, "words": p.words} for p in poisoned]
    record.write_text(json.dumps({"n_good": n_good, "poisoned": told}, indent=1), encoding="utf-8")
    return Archive(root, rois, n_good, poisoned)


def rows_of(manifest: Manifest) -> list[Row]:
    """Return the rows of a manifest as text."""
    return [{str(key): str(value) for key, value in row.items()} for row in manifest.frame.to_dict("records")]


def _write_study(row: Row, root: Path, folder: Path) -> tuple[Path, Row, Path]:
    """Write a lesion's series under the ids of its place among the lesions; return where, its position and report."""
    number = len(list(folder.glob("*")))
    series = folder / f"{number:05d}"
    write_dicom_series(read_volume(root / row["image_path"]), series, identity=identity_of(number))
    place = {f"{axis}_mm": row[f"roi_{axis}_mm"] for axis in "xyz"}
    return series, {"lesion_id": "1", **place, "space": "RAS"}, root / row["report_path"]


def _faults(faults: Path, root: Path) -> Iterator[tuple[Poisoned, Row]]:
    """Copy the fault cases that are studies to refuse, but for those whose fault is the report's."""
    cases = json.loads((faults / "cases.json").read_text(encoding="utf-8"))["cases"]
    for case in cases:
        if case["input"]["type"] != "study" or case["expect"]["verdict"] != "refuse" or case["id"].startswith("txt"):
            continue
        folder = root / f"fault_{case['id']}"
        shutil.copytree(faults / case["input"]["path"], folder, dirs_exist_ok=True)
        study, middle = _middle(folder)
        roi = {"study_uid": study, "lesion_id": "1", **middle, "space": "LPS"} if middle else {}
        words = tuple(case["expect"]["words_any"])
        yield Poisoned(case["id"], study, folder.name, words), roi


def _middle(folder: Path) -> tuple[str, Row]:
    """Return a study's UID, and a point in one of its slices (LPS), so that no position is what it lacks."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    study, place = "", {}
    for path in sorted(folder.rglob("*.dcm")):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            study = str(dataset.StudyInstanceUID)
            corner = [float(mm) for mm in dataset.ImagePositionPatient]
            across, down = (float(mm) for mm in dataset.PixelSpacing)
        except (InvalidDicomError, AttributeError, ValueError, TypeError, OSError, RecursionError):
            continue
        if re.fullmatch(r"[0-9.]+", study) and all(abs(mm) < 1e4 for mm in corner):
            x, y = corner[0] + across * dataset.Columns / 2, corner[1] + down * dataset.Rows / 2
            place = {"x_mm": f"{x:.3f}", "y_mm": f"{y:.3f}", "z_mm": f"{corner[2]:.3f}"}
    return study, place


def _write_rois(path: Path, lesions: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["study_uid", "lesion_id", "x_mm", "y_mm", "z_mm", "space"])
        writer.writeheader()
        writer.writerows(lesions)
