"""What the DICOM standard says must become of each attribute: Table E.1-1 of PS3.15, with the options taken."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from importlib import resources

__all__ = ["EDITION", "METHODS", "Action", "actions", "data_lines", "methods"]

EDITION = "2026c"
TABLE = "ps3_15_table_e1_1.csv"

OPTIONS = ("modified_dates", "descriptors", "structured", "graphics")
"""Columns that always hold; `CHARACTERISTICS` holds when asked for."""

CHARACTERISTICS = "patient"

METHODS = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "graphics": ("113103", "Clean Graphics Option"),
    "structured": ("113104", "Clean Structured Content Option"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "modified_dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "patient": ("113108", "Retain Patient Characteristics Option"),
}
"""Code and meaning of the profile and each option. Source: DICOM PS3.16, CID 7050."""


class Action(StrEnum):
    """What becomes of an attribute."""

    REMOVE = "remove"
    EMPTY = "empty"
    DUMMY = "dummy"
    CLEAN = "clean"


_BASIC = {"X": Action.REMOVE, "Z": Action.EMPTY, "X/Z": Action.EMPTY, "U": Action.CLEAN, "X/Z/U*": Action.CLEAN}
"""Of the actions that depend on the type in an IOD, the one that is allowed for every type; with D, that is a dummy."""


@lru_cache
def actions(*, characteristics: bool = False) -> Mapping[int, Action]:
    """Return what becomes of each attribute that the standard names.

    Parameters
    ----------
    characteristics : bool
        Take the Retain Patient Characteristics Option: sex, age, size, weight and the like stay.

    Returns
    -------
    mapping of int to Action
        By tag. Private attributes, curves and overlays go whole and are not in it.

    Notes
    -----
    Source: DICOM PS3.15 Annex E, Table E.1-1; E.3 says which option outweighs the Basic Profile.

    Examples
    --------
    >>> actions()[0x00101010].value, actions(characteristics=True)[0x00101010].value
    ('remove', 'clean')
    >>> actions()[0x0020000D].value, actions()[0x00080090].value
    ('clean', 'empty')
    """
    columns = (*OPTIONS, CHARACTERISTICS) if characteristics else OPTIONS
    return {
        int(row["tag"], 16): _action(row, columns) for row in csv.DictReader(data_lines(TABLE)) if "x" not in row["tag"]
    }


def _action(row: Mapping[str, str], columns: tuple[str, ...]) -> Action:
    if any(row[column] in ("C", "K") for column in columns):
        return Action.CLEAN
    return _BASIC.get(row["basic"], Action.DUMMY)


def methods(*, characteristics: bool = False) -> list[tuple[str, str]]:
    """Return code and meaning of the profile and the options that are taken, for DeidentificationMethodCodeSequence.

    Examples
    --------
    >>> [code for code, meaning in methods()]
    ['113100', '113103', '113104', '113105', '113107']
    """
    return [method for name, method in METHODS.items() if characteristics or name != CHARACTERISTICS]


def data_lines(name: str) -> list[str]:
    """Return the lines of a data file of this room, comments left out."""
    text = (resources.files("medfuse.io") / "data" / name).read_text(encoding="ascii")
    return [line for line in text.splitlines() if not line.startswith("#")]
