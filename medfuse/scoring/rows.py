"""The columns of a results table, and its rows: one a case, scored or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from medfuse.errors import MedfuseError
from medfuse.types import Prediction, Target

if TYPE_CHECKING:
    from medfuse.inference import Bundle

__all__ = ["Refusal", "Row", "RowLayout", "columns_of", "unique_texts"]

Row = dict[str, Any]
Refusal = tuple[str, str, MedfuseError]
"""lesion_id, stage (retrieve, read, prepare, predict) and why."""

_FIRST = ("study_key", "lesion_id", "status", "stage", "reason", "warnings", "flags")
_LAST = ("modalities_used", "model_id")


@dataclass(frozen=True, slots=True)
class RowLayout:
    """What the rows of one model look like: the same columns, of text and float64, whatever is in them.

    Parameters
    ----------
    targets : tuple of Target
    modalities : tuple of str
    model_id : str
    """

    targets: tuple[Target, ...]
    modalities: tuple[str, ...]
    model_id: str

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Return that of a model."""
        return cls(tuple(bundle.targets), bundle.preprocessing.modalities, bundle.model_id)

    def blank(self) -> Row:
        """Return an empty row."""
        from medfuse.inference.calibration import conditions_of  # and torch: reading rows needs neither

        named = {t.name: [name for name, _ in columns_of(t.name, t.classes)] for t in self.targets}
        single = [condition for condition in conditions_of(self.modalities) if condition != "fused"]
        names = [name for found in named.values() for name in found]
        return {
            **dict.fromkeys(_FIRST, ""),
            **dict.fromkeys((f"probability_{name}" for name in names), float("nan")),
            **dict.fromkeys((f"set_{name}" for name in named), ""),
            **dict.fromkeys((f"probability_{c}_{name}" for c in single for name in names), float("nan")),
            **dict.fromkeys(_LAST, ""),
            "model_id": self.model_id,
            "seconds": 0.0,
        }

    def refused(self, study_key: str, refusals: Sequence[Refusal]) -> list[Row]:
        """Return the rows of cases that have no answer."""
        return [
            self.blank()
            | {
                "study_key": study_key,
                "lesion_id": lesion_id,
                "status": "refused",
                "stage": stage,
                "reason": str(error),
            }
            for lesion_id, stage, error in refusals
        ]

    def scored(self, predictions: Sequence[Prediction]) -> list[Row]:
        """Lay predictions out as one row a case, its targets side by side."""
        rows: dict[str, Row] = {}
        for prediction in predictions:
            case = prediction.case
            row = rows.setdefault(str(case), self.blank())
            flags = (*filter(None, row["flags"].split("; ")), *prediction.flags)
            row |= {
                "study_key": case.study_key,
                "lesion_id": case.lesion_id,
                "status": "scored",
                "flags": unique_texts(flags),
                "modalities_used": "+".join(prediction.modalities_used),
                f"set_{prediction.target}": _set_text(prediction.prediction_set),
                **_probabilities(prediction),
            }
        return list(rows.values())


def columns_of(target: str, classes: Sequence[str]) -> list[tuple[str, int]]:
    """Return the columns of a target by what follows ``probability_``: one if it is binary, else one a class.

    Examples
    --------
    >>> columns_of("malignancy", ("no", "yes")), columns_of("grade", ("1", "2", "3"))
    ([('malignancy', 1)], [('grade_1', 0), ('grade_2', 1), ('grade_3', 2)])
    """
    if len(classes) == 2:
        return [(target, 1)]
    return [(f"{target}_{name}", index) for index, name in enumerate(classes)]


def unique_texts(texts: Sequence[str]) -> str:
    """Join texts, each once.

    Examples
    --------
    >>> unique_texts(["missing report", "low quality", "missing report"])
    'missing report; low quality'
    """
    return "; ".join(dict.fromkeys(texts))


def _set_text(found: tuple[str, ...] | None) -> str:
    """Write a prediction set: its classes between bars, ``{}`` if it is empty; nothing where none is known.

    Examples
    --------
    >>> _set_text(("no", "yes")), _set_text(()), _set_text(None)
    ('no|yes', '{}', '')
    """
    return "" if found is None else "|".join(found) or "{}"


def _probabilities(prediction: Prediction) -> Mapping[str, float]:
    columns = columns_of(prediction.target, prediction.classes)
    answer = prediction.probabilities[prediction.condition]
    single = {
        f"probability_{condition}_{name}": values[index]
        for condition, values in prediction.probabilities.items()
        if condition != "fused"
        for name, index in columns
    }
    return {**{f"probability_{name}": answer[index] for name, index in columns}, **single}
