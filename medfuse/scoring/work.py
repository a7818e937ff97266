"""What is to be done: a study each, under its pseudonym, with a digest of all that its answer follows from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medfuse.data.table import LABEL
from medfuse.errors import DataError
from medfuse.io import LesionEntry, Pseudonymizer, StudyEntry
from medfuse.io.containers import container_of, open_bytes
from medfuse.io.report_files import MAX_REPORT_BYTES
from medfuse.io.series_files import SeriesFiles
from medfuse.io.studies import ReportSource
from medfuse.io.volumes import ImageSource, source_files
from medfuse.types import ReportText

__all__ = ["GIVEN_NAMES", "Work", "digest_of", "to_works"]

DIGEST_BYTES = 8
UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Work:
    """One study to score.

    Parameters
    ----------
    study_key : str
        Keyed pseudonym.
    digest : int
        See `digest_of`.
    entry : StudyEntry
        Its ids are pseudonyms already: the key stays where the command runs.
    """

    study_key: str
    digest: int
    entry: StudyEntry


class _GivenNames(Pseudonymizer):
    """For entries whose ids are pseudonyms already."""

    def study(self, study_uid: str) -> str:
        """Return it as it is."""
        return study_uid

    def patient(self, patient_id: str) -> str:
        """Return it as it is."""
        return patient_id


GIVEN_NAMES: Pseudonymizer = _GivenNames(bytes(32))


def to_works(entries: Iterable[StudyEntry], names: Pseudonymizer) -> Iterator[Work]:
    """Give each study its pseudonym and its digest.

    Parameters
    ----------
    entries : iterable of StudyEntry
    names : Pseudonymizer

    Yields
    ------
    Work
    """
    for entry in entries:
        key = names.study(entry.study_uid)
        given = replace(entry, study_uid=key, patient_id=names.patient(entry.patient_id))
        yield Work(key, digest_of(entry), given)


def digest_of(entry: StudyEntry) -> int:
    """Return a digest of what a study's answer follows from, so that a late report or a new slice is noticed.

    Parameters
    ----------
    entry : StudyEntry

    Returns
    -------
    int
        64 bits. In it are the report's text, the lesions, and of the images the files' names, which a DICOM archive
        never gives to other content; of NIfTI files and masks also size and time. Where the archive lies has no part
        in it.
    """
    told = [
        sorted((key, _source(source)) for key, source in entry.images.items()),
        _report(entry.report),
        [_lesion(lesion) for lesion in entry.lesions],
        _objects(entry),
        entry.unit,
        str(entry.refusal or ""),
    ]
    return int.from_bytes(hashlib.blake2b(repr(told).encode(), digest_size=DIGEST_BYTES).digest(), "big")


def _source(source: ImageSource) -> object:
    if isinstance(source, SeriesFiles):
        return _short(source.names)
    if isinstance(source, Path):
        try:
            return [_version(path) for path in source_files(source)]
        except DataError:
            return UNKNOWN
    return [path.name for path in source_files(source)]


def _lesion(lesion: LesionEntry) -> object:
    return [
        lesion.lesion_id,
        sorted(lesion.channels.items()),
        lesion.centre,
        lesion.size_mm,
        UNKNOWN if lesion.mask is None else _version(lesion.mask),
        _report(lesion.report),
        lesion.diameter_mm,
        sorted((name, text) for name, text in lesion.columns.items() if not name.startswith(LABEL)),
        str(lesion.refusal or ""),
    ]


def _report(report: ReportSource | None) -> object:
    """Return a digest of a report's text, or of its file's bytes; one that cannot be read has none."""
    if report is None:
        return UNKNOWN
    if isinstance(report, ReportText):
        return _short(f"{report.status} {report.text}")
    try:
        with open_bytes(report) as file:
            return hashlib.blake2b(file.read(MAX_REPORT_BYTES + 1), digest_size=16).digest()
    except (OSError, DataError):
        return UNKNOWN


def _short(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()


def _objects(entry: StudyEntry) -> object:
    """Return the versions of the SEG and RTSTRUCT objects that a study's lesions are read from."""
    if entry.find_lesions is None:
        return UNKNOWN
    arguments = getattr(entry.find_lesions, "args", ())
    objects = arguments[0] if arguments and isinstance(arguments[0], Sequence) else ()
    return [_version(path) for path, _ in objects]


def _version(path: Path) -> tuple[str, int, int]:
    """Return name, size and time of a file, of a member of a zip or tar those of the whole."""
    within = container_of(path)
    try:
        found = (path if within is None else within[0]).stat()
    except OSError:
        return path.name, -1, -1
    return path.name, found.st_size, found.st_mtime_ns
