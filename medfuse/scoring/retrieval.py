"""Studies that a DICOMweb service lists -> a folder that is scored as any archive; each is fetched whole, and once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from medfuse.errors import DataError, RetrievalError, ScoringError
from medfuse.io import Pseudonymizer, StudyEntry
from medfuse.io.dicomweb import DicomWeb, ListedStudy, RetrievedStudy
from medfuse.progress import Progress
from medfuse.scoring import parts
from medfuse.scoring.line_log import LineLog

__all__ = ["Retrieval", "RetrievalRecord", "RetrievedStudies", "retrieve_studies", "tried_twice"]

RETRIEVED, STUDIES = "retrieved", "studies"
RECORD = "retrieved.jsonl"
PAUSE_SECONDS = 2.0
"""Before a second try."""

MIN_FREE_BYTES = 2**30

T = TypeVar("T")


class RetrievalRecord:
    """Which studies were retrieved, and with how many instances; a line a study, the last one counts.

    Parameters
    ----------
    out : Path
        Results folder.
    """

    def __init__(self, out: Path) -> None:
        self.studies = out / RETRIEVED / STUDIES
        self._log = LineLog(out / RETRIEVED / RECORD)
        self._instances = {str(line.get("study_key")): line.get("instances") for line in self._log.read()}

    def holds(self, study_key: str, n_instances: int | None) -> bool:
        """Tell whether a study is there, with as many instances as the service lists now, if it tells."""
        known = self._instances.get(study_key)
        return known is not None and n_instances in (None, known) and (self.studies / study_key).is_dir()

    def add(self, study_key: str, n_instances: int) -> None:
        """Keep that a study is there."""
        self._log.add({"study_key": study_key, "instances": n_instances})
        self._instances[study_key] = n_instances

    def add_stored(self, study_key: str, n_stored: int) -> None:
        """Keep that the service has so many instances more of a study: results, which need not be retrieved."""
        if isinstance(known := self._instances.get(study_key), int):
            self.add(study_key, known + n_stored)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What came of the studies that a service lists.

    Parameters
    ----------
    folder : Path
        Of the studies, each in a folder that its pseudonym names.
    listed : tuple of str
        Real study_uids, as the service lists them.
    refused : mapping of str to RetrievalError
        By study_uid: neither of two tries gave it whole.
    n_known, n_retrieved, n_bytes : int
        Studies that were there before, studies that came now, and bytes of those.
    outdated : tuple of str
        Pseudonyms of studies that have changed at the service and did not come again: their earlier copies stay.
    """

    folder: Path
    listed: tuple[str, ...] = field(repr=False)
    refused: Mapping[str, RetrievalError] = field(repr=False)
    n_known: int
    n_retrieved: int
    n_bytes: int
    outdated: tuple[str, ...]


def retrieve_studies(
    service: DicomWeb, listed: Sequence[ListedStudy], *, out: Path, names: Pseudonymizer, progress: Progress
) -> Retrieval:
    """Retrieve the studies that are not there yet into OUT/retrieved/studies/<study key>/.

    Parameters
    ----------
    service : DicomWeb
    listed : sequence of ListedStudy
    out : Path
        Results folder, which no other process writes to.
    names : Pseudonymizer
    progress : Progress

    Returns
    -------
    Retrieval

    Raises
    ------
    ScoringError
        If the disk is full, the folder is gone, or the service does not answer any more. What was retrieved stays, and
        the same call goes on from there.
    """
    try:
        record = RetrievalRecord(out)
        record.studies.mkdir(parents=True, exist_ok=True)
        _remove_partials(record.studies)
        refused: dict[str, RetrievalError] = {}
        outdated: list[str] = []
        n_known = n_bytes = 0
        for study in progress(listed):
            key = names.study(study.study_uid)
            if record.holds(key, study.n_instances):
                n_known += 1
                continue
            try:
                came = tried_twice(service, partial(_retrieve, service, study, record.studies / key, names))
            except RetrievalError as error:
                if (record.studies / key).is_dir():
                    outdated.append(key)
                else:
                    refused[study.study_uid] = error
            else:
                record.add(key, came.n_instances)
                n_bytes += came.n_bytes
    except OSError as error:
        raise parts.unwritable(error) from error
    n_retrieved = len(listed) - n_known - len(refused) - len(outdated)
    uids = tuple(study.study_uid for study in listed)
    return Retrieval(record.studies, uids, refused, n_known, n_retrieved, n_bytes, tuple(outdated))


class RetrievedStudies(Collection[StudyEntry]):
    """Every study that a service lists: as the archive gives it, or with why it cannot be scored.

    Parameters
    ----------
    found : collection of StudyEntry
        The folder's own.
    retrieval : Retrieval
    names : Pseudonymizer
    """

    def __init__(self, found: Collection[StudyEntry], retrieval: Retrieval, names: Pseudonymizer) -> None:
        self._found = found
        self._lost = {f"folder {names.study(uid)}": uid for uid in retrieval.listed}
        present = {entry.study_uid for entry in self._entries()}
        no_image = DataError("study", "found no image in what the service sent", expected="a series of images")
        others: dict[str, DataError] = dict.fromkeys(retrieval.listed, no_image) | dict(retrieval.refused)
        self._refused = [StudyEntry(uid, "", refusal=why) for uid, why in others.items() if uid not in present]

    def __len__(self) -> int:
        return len(self._found) + len(self._refused)

    def __contains__(self, item: object) -> bool:
        return any(entry == item for entry in self)

    def __iter__(self) -> Iterator[StudyEntry]:
        yield from self._entries()
        yield from self._refused

    def _entries(self) -> Iterator[StudyEntry]:
        """Yield what the folder holds; a study of which no file can be read has its id from the list."""
        for entry in self._found:
            uid = self._lost.get(entry.study_uid)
            yield entry if uid is None else replace(entry, study_uid=uid)


def tried_twice(service: DicomWeb, action: Callable[[], T]) -> T:
    """Ask a service again where it fails.

    Parameters
    ----------
    service : DicomWeb
    action : callable

    Raises
    ------
    RetrievalError
        If it fails again.
    ScoringError
        If the service does not answer anything any more.
    """
    for pause in (PAUSE_SECONDS, 0.0):
        try:
            return action()
        except RetrievalError as error:
            refusal = error
            time.sleep(pause)
    if not service.is_there():
        expected = "a service that answers; the same command then goes on"
        raise ScoringError("DICOMweb service", "it does not answer any more", expected=expected)
    raise refusal


def _retrieve(service: DicomWeb, study: ListedStudy, folder: Path, names: Pseudonymizer) -> RetrievedStudy:
    """Fetch a study under another name, and name it once it is whole."""
    begun = folder.with_name(f".{folder.name}.partial")
    begun.mkdir()
    try:
        came = service.retrieve(study.study_uid, begun, names=names, check_room=lambda: _check_room(begun))
        if study.n_instances is not None and came.n_instances < study.n_instances:
            found = f"the service lists {study.n_instances} instances and sent {came.n_instances}"
            raise RetrievalError("study", found, expected="all of them")
        _put_in_place(begun, folder)
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return came


def _put_in_place(begun: Path, folder: Path) -> None:
    """Give a study its name, in the place of an earlier copy."""
    earlier = folder.with_name(f".{folder.name}.earlier")
    if folder.exists():
        folder.rename(earlier)
    begun.rename(folder)
    parts.sync_folder(folder)
    parts.sync_folder(folder.parent)
    shutil.rmtree(earlier, ignore_errors=True)


def _remove_partials(studies: Path) -> None:
    """Remove what a killed run left half-retrieved."""
    for left in studies.glob(".S*"):
        shutil.rmtree(left, ignore_errors=True)


def _check_room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        found = f"less than {MIN_FREE_BYTES / 2**30:.0f} GB is free on its disk"
        raise ScoringError("--out", found, expected="room for the studies; the same command then goes on")
