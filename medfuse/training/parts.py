"""Which case trains, which decides, which tests: by patient, from the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medfuse.config import DataConfig
from medfuse.data import Case
from medfuse.errors import DataError
from medfuse.splits import check_no_patient_leaks, inner_validation

__all__ = ["Parts", "split_cases"]

TRAINING_ONLY = "training_only"
"""Column of a manifest: ``yes`` for a label that no figure may rest on, such as a reader's who saw the answer."""
NAMES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Cases by what they are used for; no patient is in two of them. Where nothing is held out no case tests."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]

    def __post_init__(self) -> None:
        for name in ("train", "validation"):
            if not self.by_name[name]:
                raise DataError(f"{name} part", "found no case", expected="at least one labelled case")
        check_no_patient_leaks({name: [c.patient_id for c in cases] for name, cases in self.by_name.items()})

    @property
    def by_name(self) -> dict[str, tuple[Case, ...]]:
        """The three, by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split_cases(cases: Sequence[Case], data: DataConfig, *, seed: int) -> Parts:
    """Split cases by patient.

    Parameters
    ----------
    cases : sequence of Case
        With a ``split`` (train, validation, test) or a ``fold`` in their row; ``training_only`` is ``yes`` for a case
        that must neither validate nor test, as `medfuse feedback` writes it.
    data : DataConfig
        ``test_fold`` names the fold that tests. Without a ``validation`` split,
        ``validation_fraction`` of the training patients is held out by hash.
    seed : int

    Returns
    -------
    Parts
        A case without any label can only train.

    Raises
    ------
    DataError
        If a part is empty, a patient is in two, or a ``split`` puts a case that may only train elsewhere. The test part
        alone may be, where each case has a ``split`` that is not ``test``.
    """
    part = {id(case): _part_of(case, data) for case in cases}
    chosen = {name: [c for c in cases if part[id(c)] == name] for name in ("train", "validation", "test")}
    if not chosen["validation"]:
        held = inner_validation([c.patient_id for c in chosen["train"]], fraction=data.validation_fraction, seed=seed)
        chosen["validation"] = [c for c, out in zip(chosen["train"], held, strict=True) if out]
        chosen["train"] = [c for c, out in zip(chosen["train"], held, strict=True) if not out]
    labelled = {
        name: tuple(c for c in chosen[name] if c.targets and not _only_trains(c)) for name in ("validation", "test")
    }
    nothing_held_out = not chosen["test"] and all(case.row.get("split") for case in cases)
    if not labelled["test"] and not nothing_held_out:
        raise DataError("test part", "found no case", expected="at least one labelled case")
    return Parts(tuple(chosen["train"]), labelled["validation"], labelled["test"])


def _part_of(case: Case, data: DataConfig) -> str:
    if case.row.get("split"):
        name = case.row["split"].strip().lower()
        if name not in NAMES:
            raise DataError("manifest.csv column split", f"found {name!r}", expected="train, validation or test")
        if NAMES[name] != "train" and _only_trains(case):
            found = f"found a case whose label may only train in the {NAMES[name]} part"
            raise DataError(f"manifest.csv column {TRAINING_ONLY}", found, expected="split train")
        return NAMES[name]
    fold = case.row.get("fold", "")
    if not fold or data.test_fold is None:
        raise DataError("manifest.csv", "found neither a split nor a fold", expected="one of them for each case")
    return "test" if fold == str(data.test_fold) else "train"


def _only_trains(case: Case) -> bool:
    return case.row.get(TRAINING_ONLY, "").strip().casefold() in ("yes", "true", "1")
