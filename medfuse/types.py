"""The nouns of the line that hold no tensor: one frozen, checked dataclass each.

Letters are fixed everywhere: B cases, C channels, I J K voxel indices, L tokens, E embedding, F fused,
M modalities, N outputs. Space is RAS+ millimetres; masks are True where something is present.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import DataError, GeometryError, LesionPositionError, UsageError, nearest_name
from medfuse.explanation_parts import Concept, Counterfactual, SimilarCase, TrustCheck

__all__ = [
    "Array",
    "CaseId",
    "Comparison",
    "Estimate",
    "Explanation",
    "Finding",
    "Lesion",
    "OUT_OF_DISTRIBUTION",
    "Prediction",
    "RadiologyReport",
    "ReportText",
    "Section",
    "Slices",
    "Status",
    "StoredVolume",
    "Study",
    "Target",
    "UNCERTAIN",
    "Unit",
    "Volume",
    "answering",
]

Array = NDArray[np.float64]
Unit = Literal["HU", "arbitrary"]
Status = Literal["present", "absent", "uncertain", "historical"]
Slices = tuple[slice, slice, slice]
"""A part of a volume, along I, J and K."""
OUT_OF_DISTRIBUTION, UNCERTAIN = "out of distribution", "uncertain"
"""Flags of a prediction: its image is unlike the training images; its interval reaches over the threshold."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Volume:
    """One image volume with its true geometry.

    Parameters
    ----------
    voxels : ndarray, shape (I, J, K)
        Stored values after rescale.
    affine : ndarray, shape (4, 4), float64
        Voxel index to RAS+ millimetres.
    unit : {"HU", "arbitrary"}
        Unit of the voxel values.
    warnings : tuple of str
        What the reader noticed but could read safely.
    source : str
        A pseudonymous name of the origin; never a path with patient data.
    modality, body_part : str
        DICOM Modality and BodyPartExamined; empty if unknown.
    laterality : str
        DICOM ImageLaterality, else Laterality: R, L, B or U; empty if unknown.

    Raises
    ------
    GeometryError
        If the voxels are not 3D or the affine is not a finite, invertible 4 x 4 matrix.

    Examples
    --------
    >>> Volume(np.zeros((4, 4, 2)), np.diag([0.7, 0.7, 2.5, 1.0])).spacing_mm
    (0.7, 0.7, 2.5)
    """

    voxels: NDArray[np.generic]
    affine: Array
    unit: Unit = "arbitrary"
    warnings: tuple[str, ...] = ()
    source: str = ""
    modality: str = ""
    body_part: str = ""
    laterality: str = ""

    def __post_init__(self) -> None:
        _check_grid(self.voxels.shape, self.affine, self.source)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(I, J, K)."""
        i, j, k = self.voxels.shape
        return (i, j, k)

    def read(self, part: Slices) -> NDArray[np.generic]:
        """Return the voxels of a part; not a copy."""
        return self.voxels[part]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along I, J and K."""
        i, j, k = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return (float(i), float(j), float(k))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class StoredVolume:
    """A volume whose voxels lie on disk: its headers are read, and any part of its voxels can be.

    Parameters
    ----------
    shape : tuple of int
        (I, J, K).
    affine : ndarray, shape (4, 4), float64
        Voxel index to RAS+ millimetres.
    read : callable
        Reads the voxels of a part, as `Volume.read` gives them; of any real type.
    unit, warnings, source, modality, body_part, laterality
        As of `Volume`; what only the voxels tell is not among the warnings.

    Raises
    ------
    GeometryError
        As `Volume` does.
    """

    shape: tuple[int, int, int]
    affine: Array
    read: Callable[[Slices], NDArray[np.generic]] = field(repr=False)
    unit: Unit = "arbitrary"
    warnings: tuple[str, ...] = ()
    source: str = ""
    modality: str = ""
    body_part: str = ""
    laterality: str = ""

    def __post_init__(self) -> None:
        _check_grid(self.shape, self.affine, self.source)


def _check_grid(shape: tuple[int, ...], affine: Array, source: str) -> None:
    where = source or "volume"
    if len(shape) != 3 or 0 in shape:
        raise GeometryError(where, f"found an array of shape {shape}", expected="three non-empty axes (I, J, K)")
    if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
        raise GeometryError(where, "found an affine that is not a finite 4 x 4 matrix", expected="index to RAS+ mm")
    if abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise GeometryError(where, "found a singular affine", expected="an invertible one")


@dataclass(frozen=True, slots=True)
class ReportText:
    """A report as it came in.

    Parameters
    ----------
    text : str
        The untouched text.
    encoding : str
        The encoding that it was read with.
    status : {"preliminary", "final", "addendum", "unknown"}
        The report's own status.
    date : str
        ISO date, empty if unknown.
    source : str
        A pseudonymous name of the origin.
    warnings : tuple of str
        What the reader noticed but could read.
    """

    text: str
    encoding: str = "utf-8"
    status: Literal["preliminary", "final", "addendum", "unknown"] = "unknown"
    date: str = ""
    source: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A headed part of a report; ``text[start:end]`` is its body.

    Parameters
    ----------
    name : str
        Normalised name, for example ``"findings"``; ``"body"`` for unheaded text.
    start, end : int
        Character offsets of the body in the untouched text.
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One mention of a concept in a report.

    Parameters
    ----------
    concept : str
        Name in the lexicon.
    status : {"present", "absent", "uncertain", "historical"}
        What the report says of it.
    start, end : int
        Character offsets in the untouched text.
    section : str
        Name of the section that holds it.
    size_mm : tuple of float
        One to three axes in mm, of a range the upper end; empty if no size is stated.
    experiencer : {"patient", "family"}
        Whom the report speaks of.
    certainty : float
        How surely the report says that the finding is there: 1 stated, 0.75 likely, 0.6 one of two, 0.5 possible,
        0.25 doubtful, 0 denied.
    change : {"", "new", "larger", "smaller", "stable", "resolved"}
        Since an earlier examination; empty if the report does not say.
    laterality : {"", "left", "right", "bilateral"}
    anatomy : str
        Region that the report puts it in, for example ``"lung"``; empty if it does not say.
    size_below_mm : float, optional
        Upper bound where only that is stated ("sub-centimetre").
    previous_size_mm : tuple of float
        Size that the report gives of an earlier examination.
    series_image : str
        Image that shows it, as ``"series:image"``; empty if none is named.

    Raises
    ------
    DataError
        If the offsets are not a span.
    """

    concept: str
    status: Status
    start: int
    end: int
    section: str = "body"
    size_mm: tuple[float, ...] = ()
    experiencer: Literal["patient", "family"] = "patient"
    certainty: float = 1.0
    change: str = ""
    laterality: str = ""
    anatomy: str = ""
    size_below_mm: float | None = None
    previous_size_mm: tuple[float, ...] = ()
    series_image: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise DataError(f"finding {self.concept!r}", "found offsets that are no span", expected="0 <= start < end")


@dataclass(frozen=True, slots=True)
class RadiologyReport:
    """A report after annotation.

    Parameters
    ----------
    text : str
        The untouched text that all offsets point into.
    sections : tuple of Section
    sentences : tuple of (int, int)
        Character offsets.
    findings : tuple of Finding
    language : str
        ISO 639-1 code of the language that it was read in; empty if it holds no word.
    label_sets : mapping of str to mapping of str to int
        What `labels` returns, by scheme.
    """

    text: str
    sections: tuple[Section, ...] = ()
    sentences: tuple[tuple[int, int], ...] = ()
    findings: tuple[Finding, ...] = ()
    language: str = "en"
    label_sets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def labels(self, scheme: str) -> dict[str, int]:
        """Return the labels of a published scheme.

        Parameters
        ----------
        scheme : {"chest14", "ctrate18"}
            Labels of ChestX-ray14, or of CT-RATE.

        Returns
        -------
        dict of str to int
            1 present, 0 absent, -1 uncertain; a label that the report does not mention is not in it.

        Raises
        ------
        UsageError
            If there is no such scheme.
        """
        if scheme not in self.label_sets:
            raise UsageError(
                f"labels {scheme!r}", "found no such scheme", expected=nearest_name(scheme, self.label_sets)
            )
        return dict(self.label_sets[scheme])


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """One lesion of one study: a position, and perhaps its own text.

    Parameters
    ----------
    lesion_id : str
        Unique within the study.
    centre : tuple of float, optional
        (x, y, z) in RAS+ mm.
    channels : mapping of str to str
        Where several series of one study show different lesions: channel to key of ``Study.volumes``.
        Empty if the study's volumes are the channels.
    text : ReportText, optional
        The lesion's own text; it wins over the study's report.
    diameter_mm : float, optional
        Known diameter, used by baselines only.
    size_mm : tuple of float, optional
        Extent of its mask along R, A and S, centred on ``centre``.
    columns : mapping of str to str
        What else is known of it or its patient, by column; never shown.

    Raises
    ------
    LesionPositionError
        If the centre is not three finite numbers.
    """

    lesion_id: str
    centre: tuple[float, float, float] | None = None
    channels: Mapping[str, str] = field(default_factory=dict)
    text: ReportText | None = None
    diameter_mm: float | None = None
    size_mm: tuple[float, float, float] | None = None
    columns: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.centre is not None and not (len(self.centre) == 3 and np.all(np.isfinite(self.centre))):
            raise LesionPositionError(
                "lesion position", "found a centre that is not three finite numbers", expected="x, y, z in mm"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One patient's examination: images, report and lesions.

    Parameters
    ----------
    study_key, patient_key : str
        Keyed pseudonyms.
    volumes : mapping of str to Volume or StoredVolume
        By channel, or by a key that the lesions' ``channels`` name; empty if the study has no image.
    report : ReportText, optional
    lesions : tuple of Lesion

    Raises
    ------
    DataError
        If two lesions share one id, or there is neither image nor text.
    """

    study_key: str
    patient_key: str
    volumes: Mapping[str, Volume | StoredVolume]
    report: ReportText | None = None
    lesions: tuple[Lesion, ...] = ()

    def __post_init__(self) -> None:
        ids = [lesion.lesion_id for lesion in self.lesions]
        if len(set(ids)) != len(ids):
            raise DataError(f"study {self.study_key}", "found two lesions with one lesion_id", expected="each id once")
        if not self.volumes and self.report is None and not any(lesion.text for lesion in self.lesions):
            raise DataError(
                f"study {self.study_key}", "found neither image nor report", expected="at least one of them"
            )


@dataclass(frozen=True, slots=True, order=True)
class CaseId:
    """The identity that splits, predictions and reports are keyed by.

    Parameters
    ----------
    study_key : str
        Keyed pseudonym of the study.
    lesion_id : str
        Lesion within the study, or ``"whole"``.

    Examples
    --------
    >>> str(CaseId("S3f2a", "1"))
    'S3f2a-1'
    """

    study_key: str
    lesion_id: str

    def __str__(self) -> str:
        return f"{self.study_key}-{self.lesion_id}"


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


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Parameters
    ----------
    name : str
    value, low, high : float
        The estimate and its interval at the stated level.
    n, n_positive : int
        Cases it rests on, and how many of them are positive.
    method : str
        How the interval was made, for example ``"logit-DeLong 95%"``.

    Raises
    ------
    DataError
        If the interval is upside down.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    n_positive: int
    method: str

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise DataError(f"estimate {self.name!r}", "found low above high", expected="low <= high")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired difference of two figures on the same cases.

    Parameters
    ----------
    name : str
    difference, low, high : float
        First minus second, with its interval.
    p_value : float
        Two-sided.
    n : int
    method : str
    """

    name: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    method: str
