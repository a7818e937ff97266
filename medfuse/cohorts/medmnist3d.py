"""Build a cohort from a file of MedMNIST3D: its volumes, its labels, its official split."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medfuse import __version__
from medfuse.errors import UsageError
from medfuse.io import write_nifti
from medfuse.progress import Progress
from medfuse.types import Volume

__all__ = ["TARGET", "build_medmnist3d"]

TARGET = "class"
"""Name of the target: the manifest's labels are in the column ``label_class``."""

SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class _DataSet:
    """What MedMNIST says of a data set.

    Parameters
    ----------
    classes : tuple of str
        By label, 0 first.
    edge_mm : float, optional
        Of the cube that each volume shows, where the authors state it.
    """

    classes: tuple[str, ...]
    edge_mm: float | None = None


_ORGANS = (
    "liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right", "lung-left",
    "spleen", "pancreas",
)  # fmt: skip
_DATA_SETS = {
    "adrenalmnist3d": _DataSet(("normal", "hyperplasia"), edge_mm=64.0),
    "fracturemnist3d": _DataSet(("buckle", "nondisplaced", "displaced"), edge_mm=64.0),
    "nodulemnist3d": _DataSet(("benign", "malignant"), edge_mm=28.0),
    "organmnist3d": _DataSet(_ORGANS),
    "synapsemnist3d": _DataSet(("inhibitory", "excitatory")),
    "vesselmnist3d": _DataSet(("vessel", "aneurysm")),
}
_FILES = {
    "bbd3c5a5576322bc4cdfea780653b1ce": ("adrenalmnist3d", 28),
    "17721accfe9fb005146a47d33bc54b2f": ("adrenalmnist3d", 64),
    "6aa7b0143a6b42da40027a9dda61302f": ("fracturemnist3d", 28),
    "8755a7e9e05a4d9ce80a24c3e7a256f3": ("nodulemnist3d", 28),
    "21f0a239e7f502e6eca33c3fc453c0b6": ("organmnist3d", 28),
    "1235b78a3cd6280881dd7850a78eadb6": ("synapsemnist3d", 28),
    "2ba5b80617d705141f3f85627108fce8": ("vesselmnist3d", 28),
}
"""The published files by their MD5, with the edge of their cubes in voxels."""


def build_medmnist3d(source: Path, out: Path, *, progress: Progress = iter) -> Path:
    """Write the cohort: manifest.csv with the official split, images/<split>/*.nii.gz and SOURCE.md.

    A cohort that was already written completely from the same file is left as it is.

    Parameters
    ----------
    source : Path
        A published .npz file, known by its MD5, whatever its name.
    out : Path
    progress : callable
        Wraps the cases, for example to show a bar.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    UsageError
        If the file cannot be read or is none of the published ones.

    Notes
    -----
    Source: Yang et al. 2023, MedMNIST v2, A large-scale lightweight benchmark for 2D and 3D biomedical image
    classification; MD5s and labels as in the package medmnist 3.0.2, ``info.py``.
    """
    md5, name, size = _identify(source)
    manifest, record = out / "manifest.csv", out / "cohort.json"
    stamp = {"medfuse": __version__, "md5": md5}
    if manifest.exists() and record.exists() and json.loads(record.read_text(encoding="utf-8")) == stamp:
        return manifest
    record.unlink(missing_ok=True)
    data = _DATA_SETS[name]
    spacing = (data.edge_mm or size) / size
    affine = np.diag([spacing, spacing, spacing, 1.0])
    rows = []
    with np.load(source, allow_pickle=False) as arrays:
        for key, split in SPLITS.items():
            cases = list(zip(arrays[f"{key}_images"], arrays[f"{key}_labels"][:, 0], strict=True))
            for number, (voxels, label) in enumerate(progress(cases)):
                case = f"{name}-{split}-{number:04d}"
                path = Path("images") / split / f"{number:04d}.nii.gz"
                write_nifti(Volume(voxels, affine, unit="arbitrary", source=case), out / path)
                rows.append(
                    {
                        "patient_id": case,
                        "study_uid": case,
                        "image_path": path.as_posix(),
                        "split": split,
                        "unit": "arbitrary",
                        f"label_{TARGET}": data.classes[int(label)],
                    }
                )
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    counts = {split: sum(row["split"] == split for row in rows) for split in SPLITS.values()}
    (out / "SOURCE.md").write_text(_source_page(name, size, md5=md5, counts=counts), encoding="utf-8")
    record.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    return manifest


def _identify(source: Path) -> tuple[str, str, int]:
    """Return a file's MD5, the data set that it is, and the edge of its cubes."""
    try:
        with source.open("rb") as file:
            # A name of the published bytes, no protection: what it would let in is arrays of numbers.
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        found = f"cannot be read ({type(error).__name__})"
        raise UsageError("cohort medmnist3d", found, expected="a .npz file of MedMNIST3D") from error
    if md5 not in _FILES:
        names = ", ".join(sorted({f"{name} at {size}" for name, size in _FILES.values()}))
        raise UsageError("cohort medmnist3d", f"found a file of MD5 {md5}", expected=f"a published file of {names}")
    return md5, *_FILES[md5]


def _source_page(name: str, size: int, *, md5: str, counts: dict[str, int]) -> str:
    data = _DATA_SETS[name]
    stated = f"a cube of {data.edge_mm:g} mm" if data.edge_mm else "of no stated size: a voxel is written as 1 mm"
    split = ", ".join(f"{n} {part}" for part, n in counts.items())
    return f"""# {name}, {size} voxels along each axis, made into a cohort by medfuse {__version__}

- From the published file of MD5 {md5}. Voxels and labels are its own; values run from 0 to 255, in no unit.
- Official split: {split}. Classes, from label 0: {", ".join(data.classes)}.
- Each volume shows {stated}. The file does not say how its axes lie in the patient; they are written as R, A and S.
- It does not say which volumes are of one patient either: each is entered as a patient of its own, so intervals
  do not know of pairs (the adrenal glands are left and right ones of 792 patients).

Licence: CC BY 4.0. Cite: Yang J et al. MedMNIST v2, A large-scale lightweight benchmark for 2D and 3D biomedical
image classification. Scientific Data 10, 41 (2023).
"""
