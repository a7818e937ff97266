"""What is wrong with a manifest, or will mislead, before anything is trained on it."""

from __future__ import annotations

import difflib
import hashlib
import re
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfuse.data.table import ONLY_LABEL, is_label
from medfuse.errors import DataError, MedfuseError
from medfuse.evaluation import auroc
from medfuse.io import Manifest, Pseudonymizer, read_study
from medfuse.io.manifest import PRIVATE
from medfuse.io.report_files import read_report

__all__ = ["ManifestCheck", "Problem", "check_manifest"]

FEW = 10
"""Cases of a class below which no figure of a fold means much."""
TELLS = 0.98
"""AUROC from which on a column alone tells a label."""
LIKE_LABEL = 0.75
"""A column this like 'label' is a slip of the pen where no label column is there."""
SHORTEST_TEXT = 40
"""Characters below which two patients may well share a report."""

Progress = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or may be.

    Parameters
    ----------
    kind : {"error", "warning"}
        An error makes figures untrue; a warning is for a person to judge.
    where : str
        Row or column; never a patient's value.
    found : str
    """

    kind: Literal["error", "warning"]
    where: str
    found: str


@dataclass(frozen=True, slots=True)
class ManifestCheck:
    """What a manifest holds, and what is wrong with it.

    Parameters
    ----------
    n_patients, n_studies, n_cases : int
    labels : mapping of str to mapping of str to int
        Cases by label column and class; a blank is ``"unknown"``.
    problems : tuple of Problem
    """

    n_patients: int
    n_studies: int
    n_cases: int
    labels: Mapping[str, Mapping[str, int]]
    problems: tuple[Problem, ...]


def check_manifest(manifest: Manifest, *, progress: Progress = lambda names: names) -> ManifestCheck:
    """Check labels, files, duplicates and the split by patient; of images their headers are read, of masks all.

    Parameters
    ----------
    manifest : Manifest
        Its cells are checked already; see `medfuse.io.read_manifest`.
    progress : callable
        Wraps the images while their contents are compared.

    Returns
    -------
    ManifestCheck
    """
    frame = manifest.frame
    part = _parts(frame)
    problems = [
        *_split_patients(frame, part),
        *_labels(frame, part),
        *_telling_columns(frame),
        *_same_images(manifest, part, progress),
        *_unread(manifest),
        *_reports(manifest, part),
    ]
    labels = {
        column: dict(Counter(value or "unknown" for value in frame[column]).most_common())
        for column in _label_columns(frame)
    }
    order = {"error": 0, "warning": 1}
    return ManifestCheck(
        frame["patient_id"].nunique(),
        frame["study_uid"].nunique(),
        len(frame),
        labels,
        tuple(sorted(problems, key=lambda one: order[one.kind])),
    )


def _starting(frame: pd.DataFrame, *prefixes: str) -> list[str]:
    return [name for name in map(str, frame.columns) if name.startswith(prefixes)]


def _label_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in map(str, frame.columns) if is_label(name)]


def _no_labels(frame: pd.DataFrame) -> Problem:
    """Warn of a manifest without labels, which can be scored; one whose column is near to a label's is wrong."""
    near = difflib.get_close_matches(ONLY_LABEL, list(map(str, frame.columns)), n=1, cutoff=LIKE_LABEL)
    if near:
        return Problem("error", "columns", f"found column {near[0]!r} and no label; expected label_<target>")
    found = "found no label_<target>; without one nothing can be trained or evaluated"
    return Problem("warning", "columns", found)


def _parts(frame: pd.DataFrame) -> pd.Series[str]:
    """Return the fold or split of each row, empty where the manifest has none."""
    for column in ("fold", "split"):
        if column in frame:
            return frame[column].astype(str)
    return pd.Series("", index=frame.index)


def _split_patients(frame: pd.DataFrame, part: pd.Series[str]) -> Iterator[Problem]:
    for patient, rows in part.groupby(frame["patient_id"]):
        del patient  # its id is nobody's business
        if rows.nunique() > 1:
            found = f"found a patient in {rows.nunique()} folds or splits; expected one"
            yield Problem("error", _rows(rows.index), found)


def _labels(frame: pd.DataFrame, part: pd.Series[str]) -> Iterator[Problem]:
    columns = _label_columns(frame)
    if not columns:
        yield _no_labels(frame)
    for column in columns:
        known = frame[column][frame[column] != ""]
        if known.nunique() < 2:
            yield Problem("error", column, f"found {known.nunique()} classes; expected 2 or more")
            continue
        alone = known.index[~known.duplicated(keep=False)]
        if len(alone):
            found = f"found a class of one case alone in {column}; expected a class of the target"
            yield Problem("error", _rows(alone), found)
        for fold, values in known.groupby(part[known.index]):
            counts = {name: int((values == name).sum()) for name in sorted(known.unique())}
            if min(counts.values()) < FEW:
                named = f"fold or split {fold}" if fold else "the manifest"
                classes = ", ".join(f"{name!r} {n}" for name, n in counts.items() if n < FEW)
                yield Problem("warning", column, f"found few cases of a class in {named}: {classes}")


def _telling_columns(frame: pd.DataFrame) -> Iterator[Problem]:
    """Name free columns that tell a binary label alone: a number made from it is no input and no baseline."""
    known_for = (*_label_columns(frame), *_starting(frame, *PRIVATE), "lesion_id", "fold", "split")
    free = [column for column in _starting(frame, "") if column not in known_for]
    for label in _label_columns(frame):
        known = frame[frame[label] != ""]
        classes = sorted(known[label].unique())
        if len(classes) != 2 or min(known[label].value_counts()) < FEW:
            continue
        positive = (known[label] == classes[1]).to_numpy()
        for column in free:
            area = _area(known[column], positive)
            if area is not None and max(area, 1 - area) >= TELLS:
                found = f"tells {label} alone (AUROC {max(area, 1 - area):.2f}); expected no column that the label made"
                yield Problem("warning", column, found)


def _area(values: pd.Series[str], positive: NDArray[np.bool_]) -> float | None:
    filled = (values != "").to_numpy()
    if positive[filled].all() or not positive[filled].any():
        return None
    numbers = pd.to_numeric(values[filled], errors="coerce")
    if numbers.isna().any():
        names = values[filled]
        if names.nunique() > max(2, filled.sum() // FEW):  # free text, or an id
            return None
        # Of a category, the share of positives in it says the most that it can tell.
        numbers = pd.Series(positive[filled], index=names.index).groupby(names).transform("mean")
    return float(auroc(positive[filled], numbers.to_numpy(dtype=float)).value)


def _same_images(manifest: Manifest, part: pd.Series[str], progress: Progress) -> Iterator[Problem]:
    frame = manifest.frame
    columns = _starting(frame, "image_path")
    names = sorted({name for column in columns for name in frame[column] if name})
    by_content: dict[str, set[str]] = defaultdict(set)
    for name in progress(names):
        by_content[_digest(manifest.root / name)].add(name)
    for same in by_content.values():
        rows = frame.index[frame[columns].isin(same).any(axis=1)] if len(same) > 1 else frame.index[:0]
        if frame.loc[rows, "patient_id"].nunique() > 1:
            crosses = part[rows].nunique() > 1
            found = "found one image under several patients" + (" in several folds or splits" if crosses else "")
            yield Problem("error" if crosses else "warning", _rows(rows), found)


def _unread(manifest: Manifest) -> Iterator[Problem]:
    """Name the rows whose image, report, mask or position a training would refuse; voxels are not read."""
    frame = manifest.frame
    row_of = {case: row for row, case in enumerate(zip(frame["study_uid"], frame["lesion_id"], strict=True))}
    rows: dict[str, list[int]] = defaultdict(list)
    nobody = Pseudonymizer(secrets.token_bytes(32))
    for entry in manifest.entries():
        refusals: list[tuple[str, MedfuseError]] = []
        try:
            read_study(entry, pseudonymizer=nobody, refusals=refusals, whole=False)
        except DataError as error:
            refusals = refusals or [(lesion.lesion_id, error) for lesion in entry.lesions]
        for lesion_id, refusal in refusals:
            rows[str(refusal)].append(row_of[entry.study_uid, lesion_id])
    for message, some in rows.items():
        yield Problem("error", _rows(pd.Index(sorted(some))), message)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _reports(manifest: Manifest, part: pd.Series[str]) -> Iterator[Problem]:
    frame = manifest.frame
    texts = _texts(manifest)
    long = texts[texts.str.len() >= SHORTEST_TEXT]
    for same in long.groupby(long).groups.values():
        if frame.loc[same, "patient_id"].nunique() > 1 and part[same].nunique() > 1:
            yield Problem("warning", _rows(same), "found one report under several patients in several folds or splits")
    for label in _label_columns(frame):
        for name in sorted({value for value in frame[label] if len(value) > 2 and value.isalpha()}):
            holds = texts.str.contains(rf"\b{re.escape(name)}\b", flags=re.IGNORECASE)
            if holds.any():
                found = f"{holds.sum()} reports hold the name of class {name!r}; data.text.mask_terms can hide it"
                yield Problem("warning", label, found)


def _texts(manifest: Manifest) -> pd.Series[str]:
    frame = manifest.frame
    texts = frame.get("report_text", pd.Series("", index=frame.index)).astype(str)
    if "report_path" in frame:
        paths = frame["report_path"]
        read = {name: _text(manifest.root / name) for name in set(paths) if name}
        texts = texts.where(paths == "", paths.map(read))
    return texts


def _text(path: Path) -> str:
    try:
        return read_report(path).text
    except DataError:  # named as what cannot be read
        return ""


def _rows(index: pd.Index[Any]) -> str:
    """Name rows as a spreadsheet does, the header being row 1."""
    shown = ", ".join(str(row + 2) for row in index[:5])
    return f"row{'s' if len(index) > 1 else ''} {shown}" + (f" and {len(index) - 5} more" if len(index) > 5 else "")
