"""The worst errors: which cases they are, and each as three small slices."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.reporting.planes import three_planes
from medfuse.reporting.verdict import main_condition

if TYPE_CHECKING:
    from medfuse.evaluation import Evaluation

__all__ = ["Called", "WorstCase", "calls_of", "slices", "worst_calls"]

SMALLEST_SIDE = 96


@dataclass(frozen=True, slots=True)
class Called:
    """One case and what the model said of it.

    Parameters
    ----------
    case_id : str
        A pseudonym.
    is_positive : bool
    probability : float
        Of the positive class.
    """

    case_id: str
    is_positive: bool
    probability: float


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A case that was called wrong, ready to show.

    Parameters
    ----------
    called : Called
    pictures : tuple of str
        Data URIs of its axial, coronal and sagittal slice; none if there is no image.
    text : str
        Its report; empty unless it was asked for.
    """

    called: Called
    pictures: tuple[str, ...] = ()
    text: str = ""


def calls_of(evaluation: Evaluation, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what the main condition said of each test case, and the threshold that was locked for it.

    Parameters
    ----------
    evaluation : Evaluation
    predictions : DataFrame
        The table that it was made from.

    Returns
    -------
    DataFrame
        As `worst_calls` takes it.
    """
    from medfuse.evaluation.evaluating import cases_of_test

    cases = cases_of_test(predictions, target=evaluation.target, positive=evaluation.positive or None)
    known = cases.probabilities.notna().all(axis=1).to_numpy()
    main = main_condition(evaluation)
    cuts = np.array(evaluation.operating_points[main][0].thresholds)
    fold = pd.factorize(cases.folds[known])[0] if cuts.size > 1 else 0  # thresholds stand in this order of folds
    probability = cases.probabilities.loc[known, main]
    return pd.DataFrame(
        {
            "case_id": probability.index.to_numpy(),
            "label": cases.labels[known],
            "probability": probability.to_numpy(),
            "threshold": cuts[fold],
        }
    )


def worst_calls(cases: pd.DataFrame, *, n: int = 4) -> list[Called]:
    """Return the false positives of highest and the false negatives of lowest probability.

    Parameters
    ----------
    cases : DataFrame
        A row a test case: ``case_id``, ``label`` (bool), ``probability``, and ``threshold``.
    n : int
        Of each kind.

    Returns
    -------
    list of Called
        False positives first, each kind from the worst.

    Examples
    --------
    >>> cases = pd.DataFrame({"case_id": list("abc"), "label": [False, True, False], "probability": [0.9, 0.2, 0.1],
    ...                       "threshold": 0.5})
    >>> [(one.case_id, one.is_positive) for one in worst_calls(cases)]
    [('a', False), ('b', True)]
    """
    called = cases["probability"] >= cases["threshold"]
    wrong = cases[called != cases["label"]].sort_values(["probability", "case_id"])
    false_positive, false_negative = wrong[~wrong["label"]][::-1].head(n), wrong[wrong["label"]].head(n)
    rows = pd.concat([false_positive, false_negative])
    found = zip(rows["case_id"], rows["label"], rows["probability"], strict=True)
    return [Called(str(case_id), bool(label), float(probability)) for case_id, label, probability in found]


def slices(image: NDArray[np.floating]) -> tuple[str, ...]:
    """Draw the three middle slices of a prepared image as small PNGs.

    Parameters
    ----------
    image : ndarray, shape (I, J, K)
        In [0, 1], along R, A and S.

    Returns
    -------
    tuple of str
        Data URIs, axial, coronal and sagittal as a radiologist looks at them.
    """
    middle = (image.shape[0] // 2, image.shape[1] // 2, image.shape[2] // 2)
    planes = three_planes(image, np.eye(4), middle)
    return tuple(_png(np.asarray(plane.pixels, dtype=np.float64)) for plane in planes)


def _png(pixels: NDArray[np.float64]) -> str:
    from matplotlib.image import imsave

    times = max(SMALLEST_SIDE // max(min(pixels.shape), 1), 1)
    stream = BytesIO()
    grey = np.kron(np.clip(pixels, 0, 1), np.ones((times, times)))
    imsave(stream, grey, cmap="gray", vmin=0, vmax=1, format="png", metadata={})
    return f"data:image/png;base64,{b64encode(stream.getvalue()).decode('ascii')}"
