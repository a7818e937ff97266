"""The lesion's mask, where somebody has drawn one, on the grid that the model saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medfuse.data import Preprocessing
from medfuse.data.resampling import sample_box
from medfuse.io import StudyEntry, read_volume
from medfuse.types import Lesion, Study

__all__ = ["lesion_mask"]


def lesion_mask(
    entry: StudyEntry, study: Study, lesion: Lesion, *, preprocessing: Preprocessing
) -> NDArray[np.bool_] | None:
    """Return the mask of a lesion on the grid of its prepared image.

    Parameters
    ----------
    entry : StudyEntry
        What the study was read from.
    study : Study
    lesion : Lesion
        One of the study's lesions, with an image.
    preprocessing : Preprocessing

    Returns
    -------
    ndarray of bool, shape (I, J, K), or None
        None if the lesion has no mask of its own.

    Raises
    ------
    DataError
        If the mask cannot be read.
    """
    path = next((one.mask for one in entry.lesions if one.lesion_id == lesion.lesion_id), None)
    if path is None:
        return None
    box = preprocessing.box_affine(study, lesion)
    inside: NDArray[np.bool_] = sample_box(read_volume(path), box, size=preprocessing.image.size, fill=0.0) >= 0.5
    return inside
