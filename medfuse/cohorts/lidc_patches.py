"""Real CT cubes of LIDC-IDRI nodules, and nodules of LIDC-IDRI drawn into the surroundings of such cubes.

The cubes are those of github.com/franciscapessanha/Pulmonary-nodules-analysis, with their readers' masks. Which
patient a cube is of was found by comparing its mask with the annotations; where none fits, its file number says
between which patients of LIDC-IDRI it lies.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medfuse.cohorts.lidc_annotations import Nodule, load_nodules
from medfuse.cohorts.lidc_image import Mask, rasterise
from medfuse.cohorts.lidc_render import NOISE_HU, POINT_SPREAD_MM, TISSUE_HU, occupancy, signed_distance
from medfuse.errors import UsageError
from medfuse.io import write_nifti
from medfuse.progress import Progress
from medfuse.splits import fold_of, hash_fraction
from medfuse.types import Array, Volume

__all__ = ["Patch", "build_patch_cohort", "read_patches"]

EDGE = 51
"""Voxels of 1 mm along each axis of a cube."""
LOWEST_HU, HIGHEST_HU = -1200.0, 400.0
"""What 0 and 1 stand for. It is not recorded; by it the three peaks of all cubes, at 0.21, 0.695 and 0.77, are lung at
-865 HU, fat at -88 and muscle at 32."""
PATIENTS = 1012
N_FOLDS = 5
REMOVED_MARGIN = 3
"""Voxels around a cube's own nodule that are taken out with it."""
FILL_SIGMA = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One cube.

    Parameters
    ----------
    name : str
    hu : ndarray, shape (51, 51, 51), float32
    mask : ndarray of bool, shape (51, 51, 51)
        One reader's nodule.
    patients : range
        Numbers of the patients of LIDC-IDRI that it may be of: one, or several where no annotation fits its mask.
    others_malignancy : float
        Median malignancy (1 to 5) of the readers other than the mask's; NaN where it is not known.
    """

    name: str
    hu: NDArray[np.float32]
    mask: Mask
    patients: range
    others_malignancy: float

    @property
    def patient_id(self) -> str:
        """Its patient as LIDC-IDRI names them; another name of its own where several may be meant."""
        return _patient_id(self.patients[0]) if len(self.patients) == 1 else f"one of {len(self.patients)}: {self.name}"


def read_patches(folder: Path) -> list[Patch]:
    """Read the cubes.

    Parameters
    ----------
    folder : Path
        With ``patches.npz`` and ``labels.csv``.

    Returns
    -------
    list of Patch

    Raises
    ------
    UsageError
        If one of the files is absent.
    """
    cubes, labels = folder / "patches.npz", folder / "labels.csv"
    if not (cubes.is_file() and labels.is_file()):
        raise UsageError("LIDC patches", "found no cubes", expected="a folder with patches.npz and labels.csv")
    with labels.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with np.load(cubes) as arrays:
        order = {name: i for i, name in enumerate(arrays["name"].tolist())}
        chosen = [order[row["Filename"]] for row in rows]
        stored = arrays["image_u16"][chosen]
        bits = np.unpackbits(arrays["mask_bits"][chosen], axis=1)[:, : EDGE**3]
    masks = bits.reshape(-1, EDGE, EDGE, EDGE).astype(np.bool_)
    hu = LOWEST_HU + (HIGHEST_HU - LOWEST_HU) * stored.astype(np.float32) / 65535
    patients = _patients(rows)
    return [
        Patch(row["Filename"], hu[i], masks[i], patients[i], float(row["others_median_malignancy"] or "nan"))
        for i, row in enumerate(rows)
    ]


def _patients(rows: Sequence[Mapping[str, str]]) -> list[range]:
    """Return the patients that each cube may be of: file numbers rise with patient numbers."""
    files = [int(row["Filename"].split("_")[0]) for row in rows]
    known = {f: int(row["patient"][-4:]) for f, row in zip(files, rows, strict=True) if row["patient"]}
    found = []
    for file, row in zip(files, rows, strict=True):
        number = int(row["patient"][-4:]) if row["patient"] else known.get(file)
        low = number or max((p for f, p in known.items() if f < file), default=1)
        high = number or min((p for f, p in known.items() if f > file), default=PATIENTS)
        found.append(range(low, high + 1))
    return found


def build_patch_cohort(
    out: Path, *, patches: Path, database: Path | None = None, seed: int = 0, progress: Progress = iter
) -> Path:
    """Write the cubes, and every nodule of the cohort in the surroundings of a cube: manifest.csv and the files.

    A nodule drawn from its reporting reader's contours replaces the cube's own, in one of the 48 positions of the cube
    that a hash chooses, so that a model learns from hundreds of nodules what it must tell from vessels and chest wall.
    Nodule and cube are of one fold. Column ``kind`` is ``real`` or ``drawn``; ``patients`` holds the numbers of all
    patients that a row may show something of, as ``12`` or ``320-394``, parted by spaces. Cubes of one of several
    patients have the fold ``5`` to themselves, and serve as no other nodule's surroundings.

    Parameters
    ----------
    out : Path
        A cohort that is there is left as it is.
    patches : Path
        Folder of the cubes; see `read_patches`.
    database : Path, optional
        See `load_nodules`.
    seed : int
        Of the reporting reader, the surroundings and the noise.
    progress : callable
        Wraps the nodules, for example to show a bar.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    UsageError
        If cubes or annotations are absent.
    """
    manifest = out / "manifest.csv"
    if manifest.exists():
        return manifest
    cubes = read_patches(patches)
    rows = [_write(out, _real_row(cube), cube.hu, cube.mask) for cube in cubes]
    by_fold: dict[int, list[Patch]] = {fold: [] for fold in range(N_FOLDS)}
    for cube in cubes:
        if len(cube.patients) == 1:
            by_fold[fold_of(cube.patient_id, n_folds=N_FOLDS)].append(cube)
    for nodule in progress(load_nodules(database=database, seed=seed)):
        fold = fold_of(nodule.scan.patient_id, n_folds=N_FOLDS)
        draw = hash_fraction("surroundings", seed, nodule.scan.study_instance_uid, nodule.index)
        rng = np.random.default_rng(int(draw * 2**48))
        cube = by_fold[fold][int(rng.integers(len(by_fold[fold])))]
        share = _share(nodule)
        hu = draw_into(_turned(surroundings(cube), rng), share, rng)
        rows.append(_write(out, _drawn_row(nodule, cube, fold), hu, share >= 0.5))
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def surroundings(cube: Patch) -> NDArray[np.float32]:
    """Return a cube without its nodule: a smooth continuation of what lies around takes its place.

    Returns
    -------
    ndarray, shape (51, 51, 51), float32, HU
    """
    out = ndimage.binary_dilation(cube.mask, iterations=REMOVED_MARGIN)
    weight = ndimage.gaussian_filter((~out).astype(np.float32), FILL_SIGMA) + 1e-3
    # Of lung alone: the wall shall not grow into the gap.
    lung = np.minimum(cube.hu, -600.0)
    smooth = ndimage.gaussian_filter(np.where(out, 0.0, lung), FILL_SIGMA) / weight
    filled: NDArray[np.float32] = np.where(out, smooth, cube.hu).astype(np.float32)
    return filled


def draw_into(hu: NDArray[np.float32], share: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return surroundings with solid tissue in them, as a scanner blurs it.

    Parameters
    ----------
    hu : ndarray, shape (I, J, K), HU
        On a grid of 1 mm.
    share : ndarray, shape (I, J, K), in [0, 1]
        Of each voxel that is tissue.
    rng : numpy.random.Generator
        Makes the tissue's noise.

    Returns
    -------
    ndarray, shape (I, J, K), float32, HU
    """
    tissue = ndimage.gaussian_filter(share, POINT_SPREAD_MM)
    grain = TISSUE_HU + NOISE_HU * rng.standard_normal(hu.shape, dtype=np.float32)
    drawn: NDArray[np.float32] = (hu + tissue * (grain - hu)).astype(np.float32)
    return drawn


def _share(nodule: Nodule) -> NDArray[np.float32]:
    """Return which part of each voxel of a cube of 1 mm around a nodule's centroid lies inside it."""
    spacing = np.array([*[nodule.scan.pixel_spacing_mm] * 2, nodule.scan.slice_spacing_mm])
    mask, _ = rasterise(nodule.reporting.contours, pixel_spacing=float(spacing[0]), slice_spacing=float(spacing[2]))
    tight = np.pad(mask, 1)
    origin = np.argwhere(tight).mean(axis=0) - (EDGE - 1) / 2 / spacing
    i, j, k = (float(value) for value in spacing)
    return occupancy(
        signed_distance(tight, spacing=(i, j, k)),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        step=(1 / i, 1 / j, 1 / k),
        shape=(EDGE, EDGE, EDGE),
    )


def _turned(hu: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    axes, flipped = rng.permutation(3), tuple(axis for axis in range(3) if rng.random() < 0.5)
    return np.ascontiguousarray(np.flip(hu.transpose(axes), flipped))


def _real_row(cube: Patch) -> dict[str, object]:
    known = len(cube.patients) == 1
    malignancy = cube.others_malignancy
    return {
        "patient_id": cube.patient_id,
        "study_uid": f"patch-{cube.name}",
        "lesion_id": "1",
        "fold": fold_of(cube.patient_id, n_folds=N_FOLDS) if known else N_FOLDS,
        "label_malignancy": "positive" if malignancy > 3 else "negative" if malignancy < 3 else "",
        "kind": "real",
        "patients": _span(cube),
    }


def _drawn_row(nodule: Nodule, cube: Patch, fold: int) -> dict[str, object]:
    return {
        "patient_id": nodule.scan.patient_id,
        "study_uid": nodule.scan.study_instance_uid,
        "lesion_id": str(nodule.index),
        "fold": fold,
        "label_malignancy": nodule.label or "",
        "kind": "drawn",
        "patients": f"{int(nodule.scan.patient_id[-4:])} {_span(cube)}",
    }


def _span(cube: Patch) -> str:
    first, last = cube.patients[0], cube.patients[-1]
    return str(first) if first == last else f"{first}-{last}"


def _write(out: Path, row: dict[str, object], hu: NDArray[np.float32], mask: Mask) -> dict[str, object]:
    stem = f"{row['kind']}/{row['study_uid']}-{row['lesion_id']}"
    (out / stem).parent.mkdir(parents=True, exist_ok=True)
    affine = _affine(mask)
    write_nifti(Volume(np.rint(hu).astype(np.int16), affine, unit="HU"), out / f"{stem}.nii")
    write_nifti(Volume(mask, affine), out / f"{stem}-mask.nii.gz")
    return {
        **row,
        "image_path": f"{stem}.nii",
        "mask_path": f"{stem}-mask.nii.gz",
        "roi_x_mm": 0.0,
        "roi_y_mm": 0.0,
        "roi_z_mm": 0.0,
        "modality": "CT",
        "unit": "HU",
    }


def _affine(mask: Mask) -> Array:
    """Return an affine of 1 mm that puts the centroid of a nodule at 0, 0, 0."""
    affine = np.eye(4)
    affine[:3, 3] = -np.argwhere(mask).mean(axis=0)
    return affine


def _patient_id(number: int) -> str:
    return f"LIDC-IDRI-{number:04d}"
