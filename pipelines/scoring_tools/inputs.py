"""What scoring is measured on: CT series with balls at known places, and models that were trained on such balls."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medfuse.config import load_config
from medfuse.data import Case
from medfuse.data.prepared import PreparedImage
from medfuse.data.preprocessing import ImageFacts
from medfuse.inference import save_bundle
from medfuse.inference.evidence import Evidence
from medfuse.io import SeriesIdentity, derived_uid, write_dicom_series
from medfuse.training import fit
from medfuse.types import CaseId, Volume

CONFIG = Path("configs/lidc.yaml")
SETTINGS = ("model.modalities=[image]", "attributes=[]", "baselines=[]", "optim.epochs=4", "optim.batch_size=8")
ENCODERS = {"lesion": (), "whole": ("model.image_encoder={name: small_cnn, widths: [4, 8, 16]}",)}
N_CASES = 64
HEAD_BYTES = 4096
BACKGROUND_HU, NOISE_HU, BALL_MM = -650.0, 30.0, 6.0


@dataclass(frozen=True)
class Scan:
    """A CT series: its grid, and the grid that a model's boxes are sampled on.

    Every lesion's box begins on a voxel, and MONAI's `Spacingd`, whose grid begins at the first voxel, meets the same
    points there: both see the same values, so that their answers can be compared.
    """

    size: int
    slices: int
    pixel_mm: float
    slice_mm: float
    step_mm: float
    box: tuple[int, int, int]
    region: str

    def affine(self) -> np.ndarray:
        """Return index to RAS+ mm, of a patient on the back."""
        affine = np.diag([-self.pixel_mm, -self.pixel_mm, self.slice_mm, 1.0])
        affine[:2, 3] = self.pixel_mm * (self.size - 1) / 2
        return affine

    def corner(self) -> np.ndarray:
        """Return the first voxel that an array along R, A and S has, RAS+ mm."""
        return (self.affine() @ [self.size - 1, self.size - 1, 0, 1])[:3]

    def lesions(self) -> list[np.ndarray]:
        """Return the centres of all boxes, RAS+ mm: where voxels and grid begin together, side by side."""
        across, up = round(5 * self.pixel_mm, 6), round(5 * self.slice_mm, 6)
        edge = np.array(self.box) * self.step_mm
        extent = np.array([self.size, self.size, self.slices]) * [self.pixel_mm, self.pixel_mm, self.slice_mm]
        n = np.maximum((extent - edge) // (1.5 * edge) + 1, 1).astype(int)
        starts = np.stack(np.meshgrid(*map(np.arange, n), indexing="ij"), axis=-1).reshape(-1, 3) * 1.5 * edge
        starts = np.floor(starts / [across, across, up]) * [across, across, up]
        return [self.corner() + start + self.step_mm * (np.array(self.box) - 1) / 2 for start in starts]


# Five voxels are three points across and four along the patient: linear sampling has something to do everywhere.
LESION_SCAN = Scan(512, 200, 0.75, 1.0, 1.25, (32, 32, 32), "lesion")
# From the first voxel's centre to the last one's there are 147 x 147 x 81 points, 2.625 mm apart.
WHOLE_SCAN = Scan(512, 200, 0.75, 2.625 * 80 / 199, 2.625, (147, 147, 81), "whole")
# Small studies, of which there are many.
SMALL_SCAN = Scan(64, 8, 0.75, 5.0, 1.25, (32, 32, 32), "lesion")


def make_model(scan: Scan, folder: Path) -> Path:
    """Return the folder of an image model for a scan's boxes; it is trained where there is none yet.

    Parameters
    ----------
    scan : Scan
        A model of whole volumes is trained on small boxes too: its maps are pooled, whatever their size.
    folder : Path
        Gets a folder of each model.

    Returns
    -------
    Path
    """
    wanted = folder / scan.region
    if not (wanted / "model.json").exists():
        config = load_config(CONFIG, overrides=[*SETTINGS, *ENCODERS[scan.region]])
        cases = [_case(number) for number in range(N_CASES)]
        bundle = fit(config, train=cases[N_CASES // 4 :], validation=cases[: N_CASES // 4]).bundle
        image = {"size": scan.box, "spacing_mm": scan.step_mm, "region": scan.region}
        preparation = bundle.preprocessing
        changed = replace(preparation, image=preparation.image.model_copy(update=image))
        evidence = bundle.evidence if scan.region == "lesion" else Evidence()
        save_bundle(replace(bundle, preprocessing=changed, evidence=evidence), wanted)
    return wanted


def write_archive(folder: Path, scan: Scan, *, n_studies: int) -> tuple[Path, Path]:
    """Write studies of one series each, with a lesion at a known position; what is there already is used again.

    One series is written, the others are copies under UIDs of their own, whose lesions lie at other places of it.

    Parameters
    ----------
    folder : Path
    scan : Scan
    n_studies : int

    Returns
    -------
    archive, rois : Path
    """
    archive, rois = folder / "archive", folder / f"rois_{n_studies}.csv"
    first = archive / "study000000"
    if not first.exists():
        write_dicom_series(_volume(scan), first, identity=identity_of(0))
    for number in range(1, n_studies):
        place = archive / f"study{number:06d}"
        if not place.exists():
            copy_series(first, place, old=0, new=number)
    lesions = scan.lesions()
    with rois.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["study_uid", "lesion_id", "x_mm", "y_mm", "z_mm"])
        for number in range(n_studies):
            centre = lesions[number % len(lesions)]
            writer.writerow([identity_of(number).study_uid, "1", *(round(float(mm), 6) for mm in centre)])
    return archive, rois


def _volume(scan: Scan) -> Volume:
    rng = np.random.default_rng(0)
    shape = (scan.size, scan.size, scan.slices)
    voxels = np.rint(BACKGROUND_HU + NOISE_HU * rng.standard_normal(shape, np.float32)).astype(np.int16)
    affine = scan.affine()
    for number, centre in enumerate(scan.lesions()):
        _plant(voxels, affine, centre, contrast=100.0 * (number % 6))
    return Volume(voxels, affine, "HU")


def _plant(voxels: np.ndarray, affine: np.ndarray, centre: np.ndarray, *, contrast: float) -> None:
    """Make a ball brighter, of a radius that shows on any grid of these."""
    middle = (np.linalg.inv(affine) @ [*centre, 1.0])[:3]
    steps = np.abs(np.diagonal(affine)[:3])
    low = np.maximum(np.floor(middle - BALL_MM / steps), 0).astype(int)
    high = np.minimum(np.ceil(middle + BALL_MM / steps) + 1, voxels.shape).astype(int)
    part = voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    away = (np.moveaxis(np.indices(part.shape), 0, -1) + low - middle) * steps
    part[np.linalg.norm(away, axis=-1) <= BALL_MM] += np.int16(contrast)


def _case(number: int) -> Case:
    rng = np.random.default_rng(number)
    positive = number % 2 == 1
    image = 0.2 + 0.03 * rng.standard_normal(LESION_SCAN.box, np.float32)
    if positive:
        away = np.moveaxis(np.indices(image.shape), 0, -1) - (np.array(image.shape) - 1) / 2 - rng.uniform(-1, 1, 3)
        image[np.linalg.norm(away, axis=-1) <= BALL_MM / LESION_SCAN.step_mm] += 0.25
    steps = np.rint(np.clip(image, 0, 1)[None] * 65535).astype(np.uint16)
    prepared = PreparedImage(steps, ImageFacts("HU"))
    case_id = CaseId(f"S{number}", "1")
    return Case(case_id, f"P{number}", f"P{number}", prepared, None, {"malignancy": int(positive)}, {})


def identity_of(number: int) -> SeriesIdentity:
    """Return ids of fixed length, so that one file's bytes become another's."""
    return SeriesIdentity(
        patient_id=f"bench-patient-{number:06d}",
        study_uid=f"2.25.1111{number:020d}",
        series_uid=f"2.25.2222{number:020d}",
        frame_of_reference_uid=f"2.25.3333{number:020d}",
        study_date="20200101",
    )


def copy_series(series: Path, folder: Path, *, old: int, new: int) -> None:
    """Copy a series that `write_dicom_series` wrote under the ids of a number, under those of another number.

    Parameters
    ----------
    series, folder : Path
        From where to where.
    old, new : int
        See `identity_of`.
    """
    before, after = identity_of(old), identity_of(new)
    folder.mkdir(parents=True)
    for index, path in enumerate(sorted(series.glob("*.dcm"))):
        content = path.read_bytes()
        head, pixels = content[:HEAD_BYTES], content[HEAD_BYTES:]
        for name in ("patient_id", "study_uid", "series_uid", "frame_of_reference_uid"):
            head = head.replace(getattr(before, name).encode(), getattr(after, name).encode())
        instance = derived_uid(before.series_uid, str(index))
        other = f"{instance[:-9]}{(int(instance[-9:]) + new) % 10**9:09d}"
        (folder / path.name).write_bytes(head.replace(instance.encode(), other.encode()) + pixels)
