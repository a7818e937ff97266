"""Parting slices by an attribute, by position, or by what counts them at their position. No decision is made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medfuse.io.dicom_geometry import SAME_PLACE_MM, along_normal
from medfuse.io.dicom_headers import SliceHeader

__all__ = ["Places", "count_places", "labels", "parts", "phases", "places", "ranks"]

Places = NDArray[np.intp]
Value = tuple[float, ...] | str

TOLERANCES = {"ImageOrientationPatient": 1e-4, "PixelSpacing": 1e-4, "EchoTime": 2e-3, "AcquisitionTime": 0.0}
"""Numbers nearer than this are one, as a share of those above 1."""

EQUAL = 1e-6


def labels(slices: Sequence[SliceHeader], keyword: str) -> list[int]:
    """Return each value of an attribute as its number in rising order; numbers within a tolerance are one.

    Parameters
    ----------
    slices : sequence of SliceHeader
    keyword : str

    Returns
    -------
    list of int
        One a slice, from 0.
    """
    texts = [item.values.get(keyword, "") for item in slices]
    if len(set(texts)) == 1:
        return [0] * len(texts)
    tolerance, found = TOLERANCES.get(keyword, EQUAL), dict[str, int]()
    kept: list[Value] = []
    for value, text in sorted(((_value(text), text) for text in set(texts)), key=_order):
        # Sorted by their first numbers, equal ones are neighbours; only of several numbers they need not be.
        first = 0 if tolerance > EQUAL else max(len(kept) - 1, 0)
        same = next((n for n in range(first, len(kept)) if _equal(kept[n], value, tolerance)), None)
        if same is None:
            kept.append(value)
        found[text] = len(kept) - 1 if same is None else same
    return [found[text] for text in texts]


def parts(slices: Sequence[SliceHeader], numbers: Sequence[int]) -> list[list[SliceHeader]]:
    """Return the slices of each number, in their order.

    Parameters
    ----------
    slices : sequence of SliceHeader
    numbers : sequence of int
        One a slice, from 0 without a gap.

    Returns
    -------
    list of list of SliceHeader
    """
    found: list[list[SliceHeader]] = [[] for _ in range(max(numbers) + 1)]
    for item, number in zip(slices, numbers, strict=True):
        found[number].append(item)
    return found


def places(slices: Sequence[SliceHeader], *, where: str) -> Places:
    """Return each slice's position as its number along the normal.

    Parameters
    ----------
    slices : sequence of SliceHeader
    where : str
        For error messages.

    Returns
    -------
    ndarray of int, shape (slices,)
        Equal for slices at one position.
    """
    _, along = along_normal(slices, where=where)
    order = np.argsort(along, kind="stable")
    found = np.empty(len(along), dtype=np.intp)
    found[order] = np.cumsum(np.diff(along[order], prepend=along[order[0]]) > SAME_PLACE_MM)
    return found


def count_places(numbers: Sequence[int], at: Places) -> list[int]:
    """Count the positions that the slices of each number lie at.

    Parameters
    ----------
    numbers : sequence of int
        One a slice, from 0 without a gap.
    at : ndarray of int, shape (slices,)
        Position of each.

    Returns
    -------
    list of int

    Examples
    --------
    >>> count_places([0, 0, 1, 1], np.array([0, 1, 2, 2]))
    [2, 1]
    """
    found = {(number, int(place)) for number, place in zip(numbers, at, strict=True)}
    counted = Counter(number for number, _ in found)
    return [counted[number] for number in range(max(numbers) + 1)]


def phases(slices: Sequence[SliceHeader], keyword: str, at: Places) -> list[int] | None:
    """Return each value of an attribute as its number, as `labels` does, if each is there once at each position.

    Parameters
    ----------
    slices : sequence of SliceHeader
    keyword : str
    at : ndarray of int, shape (slices,)
        Position of each.

    Returns
    -------
    list of int or None
        None if a value is absent at a position or there twice.
    """
    numbers, n_places = labels(slices, keyword), int(at.max()) + 1
    covered = count_places(numbers, at)
    return numbers if min(covered) == n_places and len(slices) == n_places * len(covered) else None


def ranks(slices: Sequence[SliceHeader], keyword: str, at: Places) -> list[int] | None:
    """Count the slices at each position by an attribute.

    Parameters
    ----------
    slices : sequence of SliceHeader
    keyword : str
    at : ndarray of int, shape (slices,)
        Position of each.

    Returns
    -------
    list of int or None
        How many slices at the same position have a lower value; None if some have equal ones, or none.
    """
    values = [_value(item.text(keyword)) for item in slices]
    numbers = [value for value in values if isinstance(value, tuple)]
    if len(numbers) < len(values) or len(set(zip(at.tolist(), numbers, strict=True))) < len(numbers):
        return None
    found, counted = [0] * len(numbers), Counter[int]()
    for index in sorted(range(len(numbers)), key=numbers.__getitem__):
        found[index] = counted[int(at[index])]
        counted[int(at[index])] += 1
    return found


def _value(text: str) -> Value:
    try:
        return tuple(float(part) for part in text.split("\\"))
    except ValueError:
        return text


def _order(item: tuple[Value, str]) -> tuple[bool, tuple[float, ...], str]:
    value, text = item
    return (True, (), text) if isinstance(value, str) else (False, value, text)


def _equal(one: Value, other: Value, tolerance: float) -> bool:
    if isinstance(one, str) or isinstance(other, str) or len(one) != len(other):
        return one == other
    return all(abs(a - b) <= tolerance * max(1.0, abs(a)) for a, b in zip(one, other, strict=True))
