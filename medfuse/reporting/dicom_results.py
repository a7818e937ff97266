"""One case's results as the objects that a PACS keeps beside the images: SR, SEG, Parametric Map, and the page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from medfuse.errors import DataError, GeometryError
from medfuse.io.dicom_objects import decode_object, encode_object, write_objects
from medfuse.io.dicom_source import SourceSeries
from medfuse.io.pydicom_reading import quiet_pydicom
from medfuse.reporting.dicom_results_grid import frame_slices
from medfuse.reporting.dicom_results_images import Contour, Placed, build_parametric_map, build_segmentation
from medfuse.reporting.dicom_results_page import build_page, page_kind
from medfuse.reporting.dicom_results_report import build_report
from medfuse.reporting.dicom_results_stamp import stamp_of
from medfuse.types import Prediction, Volume

__all__ = ["DicomResults", "write_dicom_results"]

NAMES = ("sr.dcm", "seg.dcm", "pm.dcm", "sc.dcm", "pdf.dcm")


@dataclass(frozen=True, slots=True, eq=False)
class DicomResults:
    """What is told of one case.

    Parameters
    ----------
    predictions : tuple of Prediction
        Of one case and one model, one a target; first the one that the map explains.
    saliency : Volume, optional
        Signed attribution a voxel, on the source's grid or a box of it; see
        `medfuse.reporting.dicom_results_grid.on_grid`. Nothing but finite numbers.
    contour : Volume, optional
        Where the map is high, on the source's grid or a box of it: 1 (or True) where it speaks for the last class of
        the first prediction, 2 where against it, else 0.
    contour_share : float
        Of the map's peak, at which the contour was drawn.
    method : str
        That made the map, with its options.
    page : bytes
        The rendered page, PDF or PNG; empty for none.

    Raises
    ------
    DataError
        If there is no prediction, or they are of several cases or models.
    """

    predictions: tuple[Prediction, ...]
    saliency: Volume | None = None
    contour: Volume | None = None
    contour_share: float = 0.5
    method: str = ""
    page: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if len({(prediction.case, prediction.model_id) for prediction in self.predictions}) != 1:
            found = f"found {len(self.predictions)} predictions that are not of one case and one model"
            raise DataError("results", found, expected="at least one, all of one case and one model")
        if not 0 < self.contour_share <= 1:
            found = f"found {self.contour_share:g} as the contour's share of the peak"
            raise DataError("results", found, expected="a number above 0, at most 1")


def write_dicom_results(
    folder: Path, results: DicomResults, *, source: SourceSeries, created: datetime | None = None
) -> list[Path]:
    """Write what is told of a case as DICOM objects, all of them or none.

    Parameters
    ----------
    folder : Path
        Made where needed. Gets sr.dcm, and as far as there is something to hold: seg.dcm, pm.dcm, and the page as
        pdf.dcm or sc.dcm. Those of an earlier run that have no counterpart now are removed.
    results : DicomResults
    source : SourceSeries
        Of `medfuse.io.dicom_source.read_source_series`. The objects carry its patient and study as they are.
    created : datetime, optional
        Stated as when the content was made; by default the moment of the source images, so that equal results give
        equal bytes.

    Returns
    -------
    list of Path

    Raises
    ------
    GeometryError
        If map or contour is not on the source's grid, or a frame as written lies more than 0.001 mm beside it.
    PixelError
        If the map holds something else than finite numbers, or the contour other labels.
    DataError
        If the page is neither PDF nor PNG, or an object does not read back as it was written.
    """
    with _quiet_highdicom():
        files = _encoded(results, source, created)
    return write_objects(folder, files, names=NAMES)


@contextmanager
def _quiet_highdicom() -> Iterator[None]:
    """Keep highdicom's warnings and log back: they show names and UIDs; what matters is checked here."""
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with quiet_pydicom():
            yield
    finally:
        logger.setLevel(level)


def _encoded(results: DicomResults, source: SourceSeries, created: datetime | None) -> dict[str, bytes]:
    """Return the objects by their files' names, each checked."""
    prediction = results.predictions[0]
    stamp = stamp_of(source, prediction.case, prediction.model_id, created)
    contour = None
    if results.contour is not None:
        contour = Contour(results.contour, results.contour_share, results.method, prediction.classes[-1])
    segmentation = None if contour is None else build_segmentation(stamp, contour)
    found_map = None if results.saliency is None else build_parametric_map(stamp, results.saliency, results.method)
    placed = segmentation or found_map
    images = source.images(placed.slices if placed else None)
    report = build_report(
        stamp,
        results.predictions,
        images=images,
        contour=contour,
        segmentation=segmentation and segmentation.dataset,
        parametric_map=found_map and found_map.dataset,
    )
    files = {"sr.dcm": encode_object(report)}
    for name, image in (("seg.dcm", segmentation), ("pm.dcm", found_map)):
        if image is not None:
            files[name] = encode_object(image.dataset)
            _check_place(files[name], image, source, where=name)
    if results.page:
        files[f"{page_kind(results.page)}.dcm"] = encode_object(build_page(stamp, results.page, images))
    for name, data in files.items():
        if encode_object(decode_object(data)) != data:
            raise DataError(name, "found an object that does not read back as it was written", expected="equal bytes")
    return files


def _check_place(data: bytes, image: Placed, source: SourceSeries, *, where: str) -> None:
    """Refuse an object whose frames, as written, do not lie on the slices that they are said to come from."""
    if frame_slices(decode_object(data), source.affine, image.corner, where=where) != image.slices:
        raise GeometryError(where, "found frames beside their slices", expected="each on the slice it names")
