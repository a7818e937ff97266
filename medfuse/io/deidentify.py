"""DICOM files -> the same files without their patients: PS3.15 Annex E, keyed, resumable, pixels untouched."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from medfuse import __version__
from medfuse.errors import DataError, UsageError
from medfuse.io.containers import Problems
from medfuse.io.deidentify_burned_in import pixel_reason
from medfuse.io.deidentify_dataset import clean_dataset
from medfuse.io.deidentify_elements import RawFile, encode_file, read_raw
from medfuse.io.deidentify_identity import Identity, identity_of, text_of
from medfuse.io.deidentify_table import EDITION, methods
from medfuse.io.dicom_start import read_start
from medfuse.io.files import input_files, is_archive
from medfuse.io.inflating import open_with_head
from medfuse.io.pseudonyms import Pseudonymizer
from medfuse.whole_files import write_whole

__all__ = ["Deidentification", "Profile", "deidentified_bytes", "deidentify"]

RECORD = "deidentify.json"
WHERE = "DICOM file"
STANDARD_CLASSES = "1.2.840.10008.5.1.4."
DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
DIRECTORY = "1.2.840.10008.1.3.10"
IDENTIFIERS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")

Count = Callable[[Iterable[Path]], Iterable[Path]]
"""Shows how far a run is."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Which options are taken beside those that always are.

    Parameters
    ----------
    characteristics : bool
        Keep sex, age (up to 90), size, weight and the like: the Retain Patient Characteristics Option.
    allow_burned_in : bool
        Write images whose pixels may hold text; they say PatientIdentityRemoved NO.
    """

    characteristics: bool = False
    allow_burned_in: bool = False


@dataclass(slots=True)
class Deidentification:
    """What a run did. Files are named by their pseudonyms.

    Parameters
    ----------
    n_written, n_there, n_ignored : int
        Files written, found written by an earlier run, and no DICOM images or objects.
    refused : list of (str, DataError)
    flagged : list of (str, str)
        Written though their pixels may hold text, and why.
    """

    n_written: int = 0
    n_there: int = 0
    n_ignored: int = 0
    refused: list[tuple[str, DataError]] = field(default_factory=list)
    flagged: list[tuple[str, str]] = field(default_factory=list)


def deidentify(
    source: Path, out: Path, *, pseudonymizer: Pseudonymizer, profile: Profile | None = None, count: Count = iter
) -> Deidentification:
    """De-identify DICOM files.

    Parameters
    ----------
    source : Path
        A DICOM file, or a folder, zip, tar or DICOMDIR of them. What is no DICOM file is left out, DICOMDIR too.
    out : Path
        A folder, which gets <patient>/<study>/<series>/<file>.dcm, all pseudonyms. Files that are there stay, so that
        a run goes on where another stopped.
    pseudonymizer : Pseudonymizer
        Its key gives pseudonyms, UIDs and the shift of dates: the same in every run.
    profile : Profile, optional
    count : callable
        Wraps the files, for example to show how far it is.

    Returns
    -------
    Deidentification
        One file that is refused does not stop the others.

    Raises
    ------
    UsageError
        If there is no DICOM file, `out` lies in `source`, or a run of other options or another key wrote there.

    Notes
    -----
    Source: DICOM PS3.15 Annex E.
    """
    profile = profile or Profile()
    _check_places(source, out)
    _keep_record(out, pseudonymizer, profile)
    done = Deidentification()
    problems: Problems = []
    for path in count(input_files(source, problems=problems)):
        name = pseudonymizer.file(os.path.relpath(path, source.parent))
        try:
            _deidentify_file(path, out, name, names=pseudonymizer, profile=profile, done=done)
        except DataError as error:
            done.refused.append((name, error))
        except OSError as error:
            done.refused.append(
                (name, DataError(WHERE, f"cannot be read or written ({type(error).__name__})", expected="a whole file"))
            )
    done.refused += [(pseudonymizer.file(os.path.relpath(path, source.parent)), error) for path, error in problems]
    if not (done.n_written or done.n_there or done.refused):
        raise UsageError("IN", "found no DICOM file", expected="a DICOM file, or a folder, zip or tar of them")
    return done


def _check_places(source: Path, out: Path) -> None:
    if not source.exists():
        raise UsageError("IN", "found no such file or folder", expected="DICOM files")
    if out.exists() and not out.is_dir():
        raise UsageError("OUT", "found a file", expected="a folder")
    if is_archive(source) and out.resolve().is_relative_to(source.resolve()):
        raise UsageError("OUT", "found a folder within IN", expected="a folder elsewhere")


def _keep_record(out: Path, names: Pseudonymizer, profile: Profile) -> None:
    """Write how the files of a folder are made; refuse to mix them with others."""
    check = hmac.new(names.key, b"deidentify key check", hashlib.sha256).hexdigest()[:16]
    record = {
        "made_by": f"medfuse {__version__}",
        "table": f"DICOM PS3.15 {EDITION} Table E.1-1",
        "methods": [f"{code} {meaning}" for code, meaning in methods(characteristics=profile.characteristics)],
        "key_check": check,
    }
    path = out / RECORD
    if path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"OUT/{RECORD}", "cannot be read", expected="the file that medfuse wrote") from error
        for key, what in (("key_check", "another key"), ("methods", "other options"), ("table", "another table")):
            if there.get(key) != record[key]:
                raise UsageError("OUT", f"found files that were made with {what}", expected="an empty folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError("OUT", "found files of another kind", expected="an empty or new folder")
    write_whole(path, (json.dumps(record, indent=2) + "\n").encode())


def _deidentify_file(
    path: Path, out: Path, name: str, *, names: Pseudonymizer, profile: Profile, done: Deidentification
) -> None:
    raw = _read(path)
    if raw is None:
        done.n_ignored += 1
        return
    identity = identity_of(raw.elements, names)
    study, series = (text_of(raw.elements, keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID"))
    target = out / identity.pseudonym / names.study(study) / names.series(series) / f"{name}.dcm"
    if target.exists():
        done.n_there += 1
        return
    reason = pixel_reason(raw, identity)
    if reason and not profile.allow_burned_in:
        found = f"found pixels that may show the patient's identity ({reason})"
        raise DataError(WHERE, found, expected="an image without text, or --allow-burned-in after a look at it")
    data = deidentified_bytes(raw, identity, characteristics=profile.characteristics, removed=not reason)
    write_whole(target, data)
    done.n_written += 1
    if reason:
        done.flagged.append((name, reason))


def _read(path: Path) -> RawFile | None:
    file, head = open_with_head(path)
    with file:
        start = read_start(head)
        if start is None or start.sop_class == DIRECTORY:
            return None
        raw = read_raw(file, start)
    _check(raw)
    return raw


def _check(raw: RawFile) -> None:
    """Refuse what the profile cannot be applied to."""
    kind = text_of(raw.elements, "SOPClassUID")
    missing = [keyword for keyword in ("SOPClassUID", *IDENTIFIERS) if not text_of(raw.elements, keyword)]
    if missing:
        raise DataError(WHERE, f"found no {', '.join(missing)}", expected="them in each file")
    if not re.fullmatch(r"[\d.]+", kind) or not kind.startswith(STANDARD_CLASSES):
        raise DataError(
            WHERE, "found a private SOP class", expected="one that the standard knows, and its table cleans"
        )
    if kind.startswith(DOCUMENTS):
        raise DataError(WHERE, "found an encapsulated document", expected="an image or object whose content is DICOM")


def deidentified_bytes(
    raw: RawFile, identity: Identity, *, characteristics: bool = False, removed: bool = True
) -> bytes:
    """Return a file without its patient.

    Parameters
    ----------
    raw : RawFile
    identity : Identity
    characteristics : bool
        Keep sex, age, size, weight and the like.
    removed : bool
        What PatientIdentityRemoved shall say.

    Returns
    -------
    bytes
        The element of the pixels as it was.

    Raises
    ------
    DataError
        If one of the patient's names or ids still is in it: it is searched before it is given out.
    """
    elements = clean_dataset(raw.elements, identity, characteristics=characteristics, removed=removed)
    kind, instance = (text_of(elements, keyword) for keyword in ("SOPClassUID", "SOPInstanceUID"))
    if identity.is_in(encode_file(replace(raw, elements=elements, pixels=b""), kind, instance)):
        raise DataError(WHERE, "found a name or id that would stay in it", expected="none after cleaning")
    return encode_file(replace(raw, elements=elements), kind, instance)
