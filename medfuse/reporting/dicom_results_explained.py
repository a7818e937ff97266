"""An explanation -> what DICOM objects hold of it, on the grid of the series that it explains."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from medfuse.io.dicom_source import SourceSeries
from medfuse.reporting.dicom_results import DicomResults
from medfuse.reporting.dicom_results_grid import on_grid
from medfuse.reporting.panels import CONTOUR_SHARE, smoothed_map
from medfuse.types import Explanation, Prediction, Volume

__all__ = ["explained_results"]


def explained_results(
    explanation: Explanation,
    *,
    source: SourceSeries,
    predictions: Iterable[Prediction] = (),
    page: bytes = b"",
) -> DicomResults:
    """Bring an explanation's map onto its series, and draw the contour that its page shows.

    Parameters
    ----------
    explanation : Explanation
        A map that is withheld is left out here too.
    source : SourceSeries
        The series that the map explains.
    predictions : iterable of Prediction
        Of the same case, of the model's other targets.
    page : bytes
        PDF or PNG; empty for none.

    Returns
    -------
    DicomResults

    Raises
    ------
    GeometryError
        If the map does not lie on the series.

    Notes
    -----
    The map is interpolated between the model's voxels, so that its values no longer add up to the answer. The contour
    is that of the smoothed map, at a share of the peak that the model's own grid has.
    """
    first = explanation.prediction
    told = (first, *(other for other in predictions if other.target != first.target))
    if explanation.image_map is None or explanation.affine is None:
        return DicomResults(told, page=page)
    method = explanation.methods.get("image", explanation.method)
    drawn = smoothed_map(np.asarray(explanation.image_map, dtype=np.float64))
    level = CONTOUR_SHARE * float(np.abs(drawn).max())
    smooth = on_grid(Volume(drawn, explanation.affine), source.affine, source.shape)
    values, labels = np.asarray(smooth.voxels, dtype=np.float32), np.zeros(smooth.shape, dtype=np.uint8)
    if level > 0:
        labels[values >= level], labels[values <= -level] = 1, 2
    return DicomResults(
        told,
        on_grid(Volume(explanation.image_map, explanation.affine), source.affine, source.shape),
        Volume(labels, smooth.affine),
        CONTOUR_SHARE,
        method,
        page,
    )
