"""What to do with a case that has no lesion position."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from medfuse.data.preprocessing import lesion_volume
from medfuse.types import Lesion, Study

__all__ = ["WHOLE", "Position", "with_positions"]

Position = Literal["require", "centre"]
WHOLE = "whole"
"""lesion_id of a study-level case."""


def with_positions(study: Study, position: Position) -> Study:
    """Return a study whose every case can be asked for.

    Parameters
    ----------
    study : Study
    position : {"require", "centre"}
        ``"require"`` leaves a lesion without a position as it is, to be refused by the preprocessing;
        ``"centre"`` gives it the centre of its volume, for images already cropped to the lesion.

    Returns
    -------
    Study
        One without any lesion gets the case ``whole``.

    Examples
    --------
    >>> from medfuse.types import Volume
    >>> study = Study("S1", "P1", {"image": Volume(np.zeros((3, 3, 3)), np.eye(4))})
    >>> with_positions(study, "centre").lesions[0].centre
    (1.0, 1.0, 1.0)
    """
    lesions = study.lesions or (Lesion(WHOLE),)
    if position == "centre":
        lesions = tuple(replace(one, centre=one.centre or _centre(study, one)) for one in lesions)
    return replace(study, lesions=lesions)


def _centre(study: Study, lesion: Lesion) -> tuple[float, float, float] | None:
    volume = lesion_volume(study, lesion)
    if volume is None:
        return None
    index = (np.array(volume.shape) - 1) / 2
    x, y, z = (volume.affine @ [*index, 1.0])[:3]
    return (float(x), float(y), float(z))
