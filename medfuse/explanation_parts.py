"""What an explanation is made of beside its map and its marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Concept", "Counterfactual", "SimilarCase", "TrustCheck"]


@dataclass(frozen=True, slots=True)
class TrustCheck:
    """One test of how far an explanation, or the answer it explains, can be believed.

    Parameters
    ----------
    name : str
        For example ``"randomisation_image"``.
    value : float
        What was measured.
    passed : bool or None
        None where no limit is known: the value is stated.
    limit : float or None
        What the value was held against.
    details : mapping of str to float
        Other figures that a sentence about it needs, by name.

    Examples
    --------
    >>> TrustCheck("completeness", 0.01, passed=True, limit=0.05).passed
    True
    """

    name: str
    value: float
    passed: bool | None = None
    limit: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What the answer would have been without a part of the case.

    Parameters
    ----------
    kind : {"modality", "finding", "word", "sentence"}
    name : str
        The modality's name, or the concept of the finding; empty for a word or a sentence of the report, which
        ``spans`` points to: no word of a report is copied.
    spans : tuple of (int, int)
        Characters of the text that were hidden; empty for a modality.
    probability : float
        Calibrated, of the last class.
    change : float
        By which it differs from the answer with everything there.
    """

    kind: Literal["modality", "finding", "word", "sentence"]
    name: str
    spans: tuple[tuple[int, int], ...]
    probability: float
    change: float


@dataclass(frozen=True, slots=True)
class Concept:
    """What the model itself reads of an attribute that it learnt beside the answer.

    Parameters
    ----------
    name : str
        For example ``"reader_spiculation"``.
    classes : tuple of str
    probabilities : mapping of str to tuple of float
        One a class, by condition: ``"fused"``, and each single modality that the case has. Not calibrated.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class SimilarCase:
    """A training case that lies near in the space that the modalities share.

    Parameters
    ----------
    case_key : str
        Pseudonym.
    labels : mapping of str to str
        Class by target.
    similarity : float
        Cosine, from -1 to 1.
    """

    case_key: str
    labels: Mapping[str, str]
    similarity: float
