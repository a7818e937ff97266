"""Readers' views -> labels in a manifest that may train a model, and never test it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from medfuse.io import Pseudonymizer
from medfuse.reporting.feedback import TRAINING_ONLY

__all__ = ["Joined", "join_views"]

ONLY_LABEL = "label"
HELD = ("test", "validation", "val")
"""Parts of a manifest's ``split`` whose labels stay as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """A manifest with readers' labels.

    Parameters
    ----------
    frame : DataFrame of str
    n_joined : int
        Labels that it gained.
    left : Counter of str
        Cases whose view was not joined, by reason.
    """

    frame: pd.DataFrame
    n_joined: int
    left: Counter[str]


def join_views(views: pd.DataFrame, frame: pd.DataFrame, names: Pseudonymizer) -> Joined:
    """Give the unlabelled rows of a manifest the labels that readers gave their cases.

    Parameters
    ----------
    views : DataFrame
        As `medfuse.reporting.feedback.collect_feedback` returns it.
    frame : DataFrame of str
        Of a `medfuse.io.Manifest`.
    names : Pseudonymizer
        Whose key made the pseudonyms of the explanations.

    Returns
    -------
    Joined
        A row that gained a label has ``training_only`` ``yes``, so that it neither validates nor tests. A label that is
        there stays; a row of a test or validation part stays as it is; so does one that readers label differently.
    """
    found = frame.copy()
    if TRAINING_ONLY not in found:
        found[TRAINING_ONLY] = ""
    keys = found["study_uid"].map(names.study)
    labels = [name for name in map(str, found) if name == ONLY_LABEL or name.startswith(f"{ONLY_LABEL}_")]
    n_joined, left = 0, Counter[str]()
    for (study, lesion, target), said in views.groupby(["study_key", "lesion_id", "target"], sort=True):
        given = {label for label in said["label"] if label}
        rows = _rows(found, keys == study, str(lesion))
        reason = _why_not(found, rows, labels, given)
        if reason:
            left[reason] += 1
            continue
        column = ONLY_LABEL if ONLY_LABEL in found else f"{ONLY_LABEL}_{target}"
        if column not in found:
            found[column] = ""
        found.loc[rows, column] = given.pop()
        found.loc[rows, TRAINING_ONLY] = "yes"
        n_joined += 1
    return Joined(found, n_joined, left)


def _rows(frame: pd.DataFrame, of_study: pd.Series[bool], lesion: str) -> pd.Series[bool]:
    """Return which row is the case's: a study without a lesion position was explained as a whole."""
    exact = of_study & (frame["lesion_id"] == lesion)
    return of_study if not exact.any() and of_study.sum() == 1 else exact


def _why_not(frame: pd.DataFrame, rows: pd.Series[bool], labels: list[str], given: set[str]) -> str:
    """Return why a view is not joined; empty if nothing speaks against it."""
    if not given:
        return "the reader could not tell"
    if len(given) > 1:
        return "readers give different labels"
    if not rows.any():
        return "the manifest has no such case"
    row = frame.loc[rows].iloc[0]
    if str(row.get("split", "")).strip().lower() in HELD:
        return "the case validates or tests"
    if row[TRAINING_ONLY] != "yes" and any(row[name] for name in labels):
        return "the case has a label already"
    return ""
