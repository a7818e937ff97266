"""A few cases of a run as its model saw them, to be shown: pixels and text, found again by their pseudonyms."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medfuse.data import Preparer, Preprocessing
from medfuse.io import Manifest, Pseudonymizer
from medfuse.io.studies import read_text
from medfuse.types import CaseId

__all__ = ["ShownCase", "find_cases"]


@dataclass(frozen=True, slots=True, eq=False)
class ShownCase:
    """What a case holds.

    Parameters
    ----------
    image : ndarray of float32, shape (C, I, J, K), optional
        Prepared, in [0, 1].
    text : str
        Its report, empty if it has none.
    """

    image: NDArray[np.float32] | None
    text: str


def find_cases(
    case_ids: Collection[str], *, manifest: Manifest, preprocessing: Preprocessing, pseudonymizer: Pseudonymizer
) -> dict[str, ShownCase]:
    """Read and prepare single cases of a manifest.

    Parameters
    ----------
    case_ids : collection of str
        As predictions name them, by the same pseudonym key.
    manifest : Manifest
    preprocessing : Preprocessing
        Of the run's model.
    pseudonymizer : Pseudonymizer

    Returns
    -------
    dict of str to ShownCase
        By case_id; one that the manifest does not hold, or that cannot be read, is absent.
    """
    prepare = Preparer(preprocessing, pseudonymizer)
    found: dict[str, ShownCase] = {}
    for entry in manifest.entries(unit=preprocessing.unit):
        key = pseudonymizer.study(entry.study_uid)
        names = {part.lesion_id: str(CaseId(key, part.lesion_id)) for part in entry.lesions}
        wanted = tuple(part for part in entry.lesions if names[part.lesion_id] in case_ids)
        if not wanted:
            continue
        images = prepare(replace(entry, lesions=wanted), refusals=[])
        for part in wanted:
            if part.lesion_id in images:
                tensor = images[part.lesion_id].tensor()
                text = read_text(part.report) or read_text(entry.report)
                pixels = None if tensor is None else tensor.numpy()
                found[names[part.lesion_id]] = ShownCase(pixels, "" if text is None else text.text)
    return found
