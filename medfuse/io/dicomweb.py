"""A DICOMweb service: the studies it lists (QIDO-RS), a study of it (WADO-RS), results for it (STOW-RS)."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from medfuse.errors import RetrievalError, ScoringError, UsageError
from medfuse.io.dicomweb_session import TOKEN, open_session
from medfuse.io.multipart import boundary_of, part_pieces
from medfuse.io.pseudonyms import Pseudonymizer

__all__ = ["DicomWeb", "ListedStudy", "RetrievedStudy"]

STUDY_UID, N_INSTANCES = "0020000D", "00201208"
UID = re.compile(r"[0-9.]{1,64}")
STUDIES_A_PAGE = 500
ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Bytes as they are stored, whatever their encoding. Source: DICOM PS3.18 8.7.3."""

CHUNK_BYTES = 2**20
MAX_STUDY_BYTES = 16 * 2**30
MAX_STUDY_SECONDS = 3600.0
CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
WHERE = "DICOMweb service"


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """A study that a service lists.

    Parameters
    ----------
    study_uid : str
        Real: it is never shown, logged or written.
    n_instances : int, optional
        NumberOfStudyRelatedInstances, where the service tells it.
    """

    study_uid: str = field(repr=False)
    n_instances: int | None = None


@dataclass(frozen=True, slots=True)
class RetrievedStudy:
    """A study that came whole: how many instances, and bytes of them."""

    n_instances: int
    n_bytes: int


class DicomWeb:
    """A DICOMweb service.

    Parameters
    ----------
    address : str
        Its URL; see `medfuse.io.dicomweb_session.checked_address`.

    Raises
    ------
    UsageError
        See `medfuse.io.dicomweb_session.open_session`.
    """

    def __init__(self, address: str) -> None:
        self._session = open_session(address)
        from dicomweb_client.api import DICOMwebClient

        self._address = address
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        self._client = DICOMwebClient(address, session=self._session, permissive_uid=True, timeout=timeout)
        self._client.host = urlsplit(address).netloc  # with its port, which the client leaves out of the header
        self._client.set_http_retry_params(retry=False)  # who calls says what is tried again

    def studies(self, query: Mapping[str, str]) -> Iterator[ListedStudy]:
        """List studies, page after page.

        Parameters
        ----------
        query : mapping of str to str
            See `medfuse.io.dicomweb_query.parse_query`.

        Yields
        ------
        ListedStudy
            Each once.

        Raises
        ------
        UsageError
            If there is no DICOMweb service, or it takes neither credentials nor query.
        ScoringError
            If it cannot be reached, or fails.

        Notes
        -----
        Source: DICOM PS3.18 10.6 (Search Transaction).
        """
        seen: set[str] = set()
        n_listed = 0
        while page := self._page(query, n_listed):
            n_listed += len(page)
            n_before = len(seen)
            for study in page:
                if study.study_uid not in seen:
                    seen.add(study.study_uid)
                    yield study
            if len(seen) == n_before:
                return  # a service that knows no offset gives the same page again

    def is_there(self) -> bool:
        """Tell whether the service answers at all."""
        try:
            self._page({}, 0, limit=1)
        except (UsageError, ScoringError):
            return False
        return True

    def retrieve(
        self, study_uid: str, folder: Path, *, names: Pseudonymizer, check_room: Callable[[], None]
    ) -> RetrievedStudy:
        """Write the instances of a study, byte by byte as the service sends them.

        Parameters
        ----------
        study_uid : str
        folder : Path
            An empty one. A file is named by a keyed digest of its content: never by an id, and never as another was.
        names : Pseudonymizer
        check_room : callable
            Asked before each chunk; raises where the disk is full.

        Returns
        -------
        RetrievedStudy

        Raises
        ------
        RetrievalError
            If the service does not give it, or not whole, within `MAX_STUDY_BYTES` and `MAX_STUDY_SECONDS`.

        Notes
        -----
        Source: DICOM PS3.18 10.4 (Retrieve Transaction). The bytes are taken from the wire here: dicomweb-client takes
        an answer that broke off for a whole one, and holds an instance of any size in memory.
        """
        if not UID.fullmatch(study_uid):
            raise RetrievalError("study", "found a StudyInstanceUID that is none", expected="digits and dots")
        with _as_retrieval_error("study"):
            response = self._session.get(
                f"{self._address}/studies/{study_uid}",
                headers={"Accept": ANY_SYNTAX},
                stream=True,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
            )
            with response:
                if response.status_code != 200:
                    raise RetrievalError("study", f"the service answered HTTP {response.status_code}", expected="200")
                boundary = boundary_of(response.headers.get("Content-Type", ""))
                chunks = _bounded(response.iter_content(CHUNK_BYTES), check_room)
                return _write_parts(part_pieces(chunks, boundary), folder, names)

    def store(self, paths: Sequence[Path]) -> None:
        """Send DICOM files.

        Parameters
        ----------
        paths : sequence of Path
            Of one study; a service that has an instance already keeps it.

        Raises
        ------
        RetrievalError
            If the service does not take all of them.

        Notes
        -----
        Source: DICOM PS3.18 10.5 (Store Transaction).
        """
        import pydicom

        datasets = [pydicom.dcmread(path) for path in paths]
        with _as_retrieval_error("results"):
            answer = self._client.store_instances(datasets)
            items = answer.get("ReferencedSOPSequence") or ()
            taken = {str(item.get("ReferencedSOPInstanceUID", "")) for item in items}
            missing = [one for one in datasets if str(one.SOPInstanceUID) not in taken]
            if answer.get("FailedSOPSequence") or not all(map(self._has, missing)):
                raise RetrievalError("results", "the service did not take all of them", expected="rights to store")

    def _has(self, dataset: Any) -> bool:
        """Tell whether the service lists an instance; asked where its answer to a store does not say so."""
        found = self._client.search_for_instances(
            dataset.StudyInstanceUID,
            dataset.SeriesInstanceUID,
            search_filters={"SOPInstanceUID": str(dataset.SOPInstanceUID)},
        )
        return bool(found)

    def _page(self, query: Mapping[str, str], offset: int, *, limit: int = STUDIES_A_PAGE) -> list[ListedStudy]:
        fields = ["NumberOfStudyRelatedInstances"]
        try:
            with _as_retrieval_error("list of studies") as status:
                found = self._client.search_for_studies(
                    limit=limit, offset=offset, fields=fields, search_filters=dict(query)
                )
                return [_listed(item) for item in found]
        except RetrievalError as error:
            raise _listing_error(error, status[0], has_query=bool(query)) from None


def _listed(item: Any) -> ListedStudy:
    """Read a line of a list. Source: DICOM PS3.18 F.2 (JSON model)."""
    try:
        uid = str(item[STUDY_UID]["Value"][0])
        (number,) = item.get(N_INSTANCES, {}).get("Value") or (None,)
        return ListedStudy(uid, None if number is None else int(number))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise RetrievalError(WHERE, "found no list of studies", expected="DICOM JSON with a StudyInstanceUID") from None


def _listing_error(error: RetrievalError, status: int, *, has_query: bool) -> UsageError | ScoringError:
    """Say who must do something: who typed the command, or who runs the service."""
    if status in (401, 403):
        expected = f"a token in {TOKEN}, or user and password in ~/.netrc, with the right to read"
        return UsageError(WHERE, f"it refused who asks (HTTP {status})", expected=expected)
    if status == 400 and has_query:
        return UsageError("--query", "the service does not understand it (HTTP 400)", expected="keywords that it knows")
    if status == 200 or 300 <= status < 500:
        found = f"found none at this address (HTTP {status})"
        return UsageError(WHERE, found, expected="the address that /studies follows")
    return ScoringError(WHERE, error.found, expected="a service that answers; the same command then goes on")


@contextmanager
def _as_retrieval_error(where: str) -> Iterator[list[int]]:
    """Turn what goes wrong on the wire into why a study is refused; URLs, which hold UIDs, are left out.

    Yields a list with the status of an answer that was refused; 200 if it was no list, 0 if there was none.
    """
    import requests

    status = [0]
    try:
        yield status
    except RetrievalError:
        status[0] = 200
        raise
    except requests.exceptions.TooManyRedirects:
        status[0] = 302
        raise RetrievalError(where, "the service sends elsewhere (HTTP 3xx)", expected="its own address") from None
    except requests.exceptions.Timeout:
        raise RetrievalError(where, "the service did not answer in time", expected="a service that answers") from None
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError):  # no JSON or XML, or none of DICOM
        status[0] = 200
        raise RetrievalError(where, "found an answer that is no DICOM", expected="a DICOMweb service") from None
    except requests.exceptions.HTTPError as error:
        status[0] = 500 if error.response is None else error.response.status_code
        raise RetrievalError(where, f"the service answered HTTP {status[0]}", expected="200") from None
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
        raise RetrievalError(where, "the answer broke off", expected="a whole answer") from None
    except requests.exceptions.RequestException as error:
        found = f"the service cannot be reached ({type(error).__name__})"
        raise RetrievalError(where, found, expected="a service that answers") from None


def _bounded(chunks: Iterator[bytes], check_room: Callable[[], None]) -> Iterator[bytes]:
    """Pass the bytes of an answer on, as far as one study may go."""
    n_bytes, started = 0, time.monotonic()
    for chunk in chunks:
        n_bytes += len(chunk)
        if n_bytes > MAX_STUDY_BYTES:
            raise RetrievalError("study", f"found more than {MAX_STUDY_BYTES / 2**30:.0f} GB", expected="less")
        if time.monotonic() - started > MAX_STUDY_SECONDS:
            found = f"it did not come within {MAX_STUDY_SECONDS / 60:.0f} minutes"
            raise RetrievalError("study", found, expected="a faster service")
        check_room()
        yield chunk


def _write_parts(pieces: Iterator[bytes | None], folder: Path, names: Pseudonymizer) -> RetrievedStudy:
    """Write each part as a file that takes its name once the disk holds it."""
    n_parts = n_bytes = 0
    partial = folder / "part"
    while (piece := next(pieces, b"")) != b"":
        digest = hashlib.sha256()
        with partial.open("wb") as file:
            while piece is not None:
                file.write(piece)
                digest.update(piece)
                n_bytes += len(piece)
                piece = next(pieces)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / f"{names.file(digest.hexdigest())}.dcm")
        n_parts += 1
    return RetrievedStudy(n_parts, n_bytes)
