"""What a page tells of a case beside its explanation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medfuse.data import Preprocessing
from medfuse.data.intensity import shown_window
from medfuse.data.preprocessing import lesion_volume
from medfuse.reporting.explanation_facts import CaseFacts, model_limits, read_group_figures
from medfuse.tensors import Sample
from medfuse.types import Lesion, StoredVolume, Study, Volume

__all__ = ["case_facts", "shown_volume", "side_of"]

WIDE_MM = 200.0
"""An image of less width may show one side of the body only."""
CLEAR_MM = 20.0
"""Nearer to the middle of the image a lesion has no side that can be told."""


def case_facts(
    study: Study, lesion: Lesion, *, sample: Sample, preprocessing: Preprocessing, run: Path | None, target: str
) -> CaseFacts:
    """Return what a page tells of a case.

    Parameters
    ----------
    study : Study
    lesion : Lesion
    sample : Sample
        The prepared case.
    preprocessing : Preprocessing
    run : Path, optional
        Folder of the run that made the model, with its evaluation.
    target : str
    """
    channels = preprocessing.image.channels
    volume = shown_volume(study, lesion, preprocessing=preprocessing)
    others: dict[str, NDArray[np.float32]] = {}
    if sample.image is not None:
        for channel, values in list(zip(channels, sample.image, strict=True))[1:]:
            name = channel.source if channel.source not in others else f"{channel.source} {len(others) + 1}"
            low, high = shown_window(channel)
            others[name] = np.asarray(low + values.numpy() * (high - low), dtype=np.float32)
    groups = read_group_figures(run / "evaluation" / "metrics.json", target=target) if run is not None else ()
    return CaseFacts(
        lesion.centre,
        side_of(lesion, volume) if volume is not None else "",
        lesion.diameter_mm,
        len(study.lesions),
        volume.unit if volume is not None and volume.unit == "HU" else "",
        channels[0].source,
        others,
        groups,
        limits=model_limits(run, groups, target=target) if run is not None else (),
    )


def shown_volume(study: Study, lesion: Lesion, *, preprocessing: Preprocessing) -> Volume | StoredVolume | None:
    """Return the volume of the first channel that the study has; None without an image."""
    found = (lesion_volume(study, lesion, channel.source) for channel in preprocessing.image.channels)
    return next((volume for volume in found if volume is not None), None)


def side_of(lesion: Lesion, volume: Volume | StoredVolume) -> Literal["", "left", "right"]:
    """Return in which half of an image a lesion lies.

    Parameters
    ----------
    lesion : Lesion
    volume : Volume or StoredVolume

    Returns
    -------
    {"", "left", "right"}
        The patient's; empty without a position, in an image narrower than 200 mm, or within 20 mm of its middle.

    Examples
    --------
    >>> wide = Volume(np.zeros((100, 4, 4)), np.diag([3.0, 3.0, 3.0, 1.0]))
    >>> [side_of(Lesion("1", (x, 0.0, 0.0)), wide) for x in (30.0, 150.0, 250.0)]
    ['left', '', 'right']
    """
    if lesion.centre is None:
        return ""
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, :3] *= np.array(volume.shape) - 1
    x = (corners @ volume.affine.T)[:, 0]
    beside = lesion.centre[0] - (x.min() + x.max()) / 2
    if np.ptp(x) < WIDE_MM or abs(beside) < CLEAR_MM:
        return ""
    return "right" if beside > 0 else "left"
