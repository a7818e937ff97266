"""Who goes into which part of the data: by patient, by hash, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from medfuse.errors import DataError, UsageError

__all__ = ["check_no_patient_leaks", "fold_of", "hash_fraction", "inner_validation"]


def hash_fraction(*parts: object) -> float:
    """Turn any parts into a number in [0, 1) that never changes.

    Parameters
    ----------
    *parts : object
        Joined by their ``str`` with a separator that no part holds.

    Returns
    -------
    float
        In [0, 1), uniform over different parts.

    Examples
    --------
    >>> hash_fraction("fold", 0, "LIDC-IDRI-0001") == hash_fraction("fold", 0, "LIDC-IDRI-0001")
    True
    """
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def fold_of(patient: str, *, n_folds: int = 5, seed: int = 0) -> int:
    """Return the fold of a patient.

    Parameters
    ----------
    patient : str
        Any stable patient identifier.
    n_folds : int
        At least 2.
    seed : int
        Another seed gives another, independent split.

    Returns
    -------
    int
        In ``range(n_folds)``.

    Raises
    ------
    UsageError
        If ``n_folds`` is below 2.

    Examples
    --------
    >>> [fold_of(f"p{i}") for i in range(4)]
    [4, 0, 2, 1]
    """
    if n_folds < 2:
        raise UsageError("n_folds", f"found {n_folds}", expected="2 or more")
    return int(hash_fraction("fold", seed, patient) * n_folds)


def inner_validation(patients: Sequence[str], *, fraction: float = 0.2, seed: int = 0) -> list[bool]:
    """Mark the cases of the patients that are held out for validation.

    Parameters
    ----------
    patients : sequence of str
        The patient of each training case.
    fraction : float
        Expected share of patients held out, in (0, 1).
    seed : int

    Returns
    -------
    list of bool
        True for validation; one entry a case. At least one patient is on each side.

    Raises
    ------
    UsageError
        If there are fewer than 2 patients or the fraction is outside (0, 1).

    Examples
    --------
    >>> inner_validation(["a", "a", "b", "c", "d"], fraction=0.4)
    [True, True, False, False, True]
    """
    unique = sorted(set(patients), key=lambda p: hash_fraction("inner", seed, p))
    if len(unique) < 2 or not 0 < fraction < 1:
        raise UsageError(
            "inner validation",
            f"found {len(unique)} patients and fraction {fraction}",
            expected="2 or more patients and a fraction in (0, 1)",
        )
    n_held = min(max(round(len(unique) * fraction), 1), len(unique) - 1)
    held = set(unique[:n_held])
    return [patient in held for patient in patients]


def check_no_patient_leaks(parts: Mapping[str, Iterable[str]]) -> None:
    """Refuse a split in which one patient is in two parts.

    Parameters
    ----------
    parts : mapping of str to iterable of str
        Patients by name of the part.

    Raises
    ------
    DataError
        Naming the two parts and how many patients they share.

    Examples
    --------
    >>> check_no_patient_leaks({"train": ["a", "b"], "test": ["c"]})
    """
    seen = {name: set(patients) for name, patients in parts.items()}
    names = list(seen)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if shared := len(seen[first] & seen[second]):
                raise DataError(
                    f"split {first} / {second}",
                    f"found {shared} patients in both",
                    expected="each patient in one part",
                )
