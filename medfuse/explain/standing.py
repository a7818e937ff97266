"""Whether the answer itself deserves trust: what the prediction says of its own standing."""

from __future__ import annotations

from medfuse.explanation_parts import TrustCheck
from medfuse.types import Prediction

__all__ = ["standing_checks"]


def standing_checks(prediction: Prediction) -> list[TrustCheck]:
    """Put what a prediction knows of itself as trust checks.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    list of TrustCheck
        As far as the model knows them: ``in_distribution`` (how unlike the training images the image is, at most 1),
        ``ensemble_spread`` (most minus least probable by the members; details ``low`` and ``high``), and
        ``prediction_set`` (classes in the conformal set, of which one says something; details ``level``).

    Examples
    --------
    >>> from medfuse.types import CaseId
    >>> answer = {"image": (0.4, 0.6)}
    >>> new = Prediction(CaseId("S1", "1"), "t", ("no", "yes"), answer, 0.5, ("image",), "m", novelty=1.4)
    >>> [(check.name, check.passed) for check in standing_checks(new)]
    [('in_distribution', False)]
    """
    checks = []
    if prediction.novelty is not None:
        checks.append(TrustCheck("in_distribution", prediction.novelty, prediction.novelty <= 1.0, 1.0))
    if prediction.spread:
        low, high = prediction.spread[-1]
        checks.append(TrustCheck("ensemble_spread", high - low, None, None, {"low": low, "high": high}))
    chosen = prediction.sets.get(prediction.condition)
    if chosen is not None:
        details = {"level": prediction.set_level}
        checks.append(TrustCheck("prediction_set", float(len(chosen)), len(chosen) == 1, 1.0, details))
    return checks
