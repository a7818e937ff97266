"""What is asked of a model, what it answers, and what drove the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import DataError, UsageError
from medfuse.explanation_parts import Concept, Counterfactual, SimilarCase, TrustCheck
from medfuse.types.arrays import Array
from medfuse.types.studies import CaseId

__all__ = ["Explanation", "OUT_OF_DISTRIBUTION", "Prediction", "Target", "UNCERTAIN", "answering"]

OUT_OF_DISTRIBUTION, UNCERTAIN = "out of distribution", "uncertain"
"""Flags of a prediction: its image is unlike the training images; its interval reaches over the threshold."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a model predicts.

    Parameters
    ----------
    name : str
        The manifest's column is ``label_<name>``.
    kind : {"binary", "multiclass", "ordinal"}
    classes : tuple of str
        Class names as the manifest writes them; of a binary target the second is the positive one, of an ordinal one
        they rise.

    Raises
    ------
    UsageError
        If the classes do not fit the kind.
    """

    name: str
    kind: Literal["binary", "multiclass", "ordinal"]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2 + (self.kind != "binary"):
            expected = "2 different classes" if self.kind == "binary" else "3 or more different classes"
            raise UsageError(f"target {self.name!r}", f"found classes {list(self.classes)}", expected=expected)
        if self.kind == "binary" and len(self.classes) != 2:
            raise UsageError(
                f"target {self.name!r}", f"found {len(self.classes)} classes", expected="2 for kind 'binary'"
            )

    @property
    def n_outputs(self) -> int:
        """Logits that a head has for this target: one a class; if binary or ordinal, one between each two classes."""
        return len(self.classes) - (self.kind != "multiclass")


def answering(conditions: Iterable[str]) -> str:
    """Return which of a case's conditions answers: all modalities together if it has them, else the most.

    Examples
    --------
    >>> answering(["image", "text", "image+text"]), answering(["image", "text", "fused"]), answering(["text"])
    ('image+text', 'fused', 'text')
    """
    return max(conditions, key=lambda name: (name == "fused", name.count("+")))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one case and one target.

    Parameters
    ----------
    case : CaseId
    target : str
    classes : tuple of str
    probabilities : mapping of str to tuple of float
        Calibrated, one a class, by condition: ``"fused"``, each single modality that the case has, and of a model of
        three the pairs, such as ``"image+text"``.
    threshold : float
        Chosen on validation data; the positive class is called at or above it.
    modalities_used : tuple of str
    model_id : str
    flags : tuple of str
        For example ``"missing report"``, `OUT_OF_DISTRIBUTION` or `UNCERTAIN`.
    intervals : mapping of str to tuple of (low, high)
        By condition, one a class; a condition that has none is left out.
    interval_kind : str
        How the intervals were made, for example ``"Venn-Abers"``; empty if there is none.
    sets : mapping of str to tuple of str
        By condition, the classes of a conformal prediction set, in the order of ``classes``; a condition that has none
        is left out.
    set_level : float
        Share of new cases whose set is promised to hold the true class; 0 if there is no set.
    novelty : float, optional
        How unlike the training images the image is, as a multiple of the most that is still called like them; None if
        that is not known.
    spread : tuple of (low, high)
        One a class: the least and the most probable that a member of the ensemble finds it, under the condition that
        answers; empty if the model is no ensemble.
    """

    case: CaseId
    target: str
    classes: tuple[str, ...]
    probabilities: Mapping[str, tuple[float, ...]]
    threshold: float
    modalities_used: tuple[str, ...]
    model_id: str
    flags: tuple[str, ...] = ()
    intervals: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    interval_kind: str = ""
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    set_level: float = 0.0
    novelty: float | None = None
    spread: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for condition, values in self.probabilities.items():
            if len(values) != len(self.classes) or not np.isclose(sum(values), 1.0, atol=1e-5):
                raise DataError(
                    f"prediction {self.case} {condition}",
                    "found probabilities that do not sum to 1",
                    expected="one a class",
                )

    @property
    def condition(self) -> str:
        """The condition that answers: ``"fused"`` if there, else the one of most modalities."""
        return answering(self.probabilities)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Interval of the last class, the positive one of a binary target, under the condition that answers."""
        found = self.intervals.get(self.condition)
        return None if found is None else found[-1]

    @property
    def prediction_set(self) -> tuple[str, ...] | None:
        """Prediction set under the condition that answers; it may be empty."""
        return self.sets.get(self.condition)


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What drove one prediction, and how far to believe it.

    Parameters
    ----------
    prediction : Prediction
    image : ndarray, shape (I, J, K), optional
        What the model saw, in the unit of the volume.
    image_map : ndarray, shape (I, J, K), optional
        Signed attribution a voxel, on the grid of ``image``.
    affine : ndarray, shape (4, 4), optional
        Voxel index of ``image_map`` to RAS+ mm.
    text : str
        The text that the model read.
    token_scores : tuple of (start, end, score)
        Signed attribution a token, by character offsets into ``text``.
    modality_shares : mapping of str to float
        Share of each modality in the answer, in logits (exact Shapley values).
    fusion_weights : mapping of str to float
        How far the fusion itself heard each modality, if it weighs them; see `medfuse.tensors.ModelOutput`.
    method : str
    checks : mapping of str to float
        Values of trust checks by name, for example ``"completeness_delta"``.
    trust : tuple of TrustCheck
        All trust checks, with their verdicts.
    methods : mapping of str to str
        How the map (``"image"``) and the marks (``"text"``) were made: a method's name and its options.
    withheld : mapping of str to tuple of str
        By modality: names of the trust checks that its map or marks failed, for which reason there are none.
    sentence_scores : tuple of (start, end, score)
        By how much the log-odds fall without each sentence.
    column_scores : mapping of str to float
        By how much they fall without each column of the table.
    interaction : float or None
        What image and text tell together beyond what each tells alone, in log-odds (Shapley interaction index).
    counterfactuals : tuple of Counterfactual
    concepts : tuple of Concept
    similar_cases : tuple of SimilarCase
        Of the training cases, most similar first.
    """

    prediction: Prediction
    image: NDArray[np.float32] | None = None
    image_map: NDArray[np.float32] | None = None
    affine: Array | None = None
    text: str = ""
    token_scores: tuple[tuple[int, int, float], ...] = ()
    modality_shares: Mapping[str, float] = field(default_factory=dict)
    method: str = ""
    checks: Mapping[str, float] = field(default_factory=dict)
    fusion_weights: Mapping[str, float] = field(default_factory=dict)
    trust: tuple[TrustCheck, ...] = ()
    methods: Mapping[str, str] = field(default_factory=dict)
    withheld: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sentence_scores: tuple[tuple[int, int, float], ...] = ()
    column_scores: Mapping[str, float] = field(default_factory=dict)
    interaction: float | None = None
    counterfactuals: tuple[Counterfactual, ...] = ()
    concepts: tuple[Concept, ...] = ()
    similar_cases: tuple[SimilarCase, ...] = ()

    def __post_init__(self) -> None:
        if self.image_map is not None and (self.image is None or self.image.shape != self.image_map.shape):
            raise DataError("explanation", "found a map on another grid than its image", expected="equal shapes")
