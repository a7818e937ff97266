"""DICOM results of scored cases -> the DICOMweb service that their studies came from; each is sent once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medfuse.errors import RetrievalError
from medfuse.io.dicomweb import DicomWeb
from medfuse.progress import Progress
from medfuse.scoring import parts
from medfuse.scoring.line_log import LineLog
from medfuse.scoring.pages import PAGES
from medfuse.scoring.retrieval import RETRIEVED, RetrievalRecord, tried_twice

__all__ = ["Storing", "store_results"]

RECORD = "stored.jsonl"


@dataclass(frozen=True, slots=True)
class Storing:
    """What became of the results.

    Parameters
    ----------
    n_stored, n_known : int
        Cases whose objects were sent now, and before.
    refused : mapping of str to RetrievalError
        By case: the service did not take its objects, twice.
    """

    n_stored: int
    n_known: int
    refused: Mapping[str, RetrievalError]


def store_results(service: DicomWeb, out: Path, *, progress: Progress) -> Storing:
    """Send what lies in OUT/explanations/<case>/*.dcm and was not sent yet. It carries the studies' real identity.

    Parameters
    ----------
    service : DicomWeb
    out : Path
        Results folder.
    progress : Progress

    Returns
    -------
    Storing

    Raises
    ------
    ScoringError
        If the service does not answer any more, or the folder cannot be written. The same call goes on from there.
    """
    sent = LineLog(out / RETRIEVED / RECORD)
    known = {(str(line.get("case")), str(line.get("sha256"))) for line in sent.read()}
    record = RetrievalRecord(out)
    refused: dict[str, RetrievalError] = {}
    n_stored = n_known = 0
    try:
        for folder in progress(sorted(path for path in (out / PAGES).glob("*") if path.is_dir())):
            digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.dcm"))}
            new = [path for path, digest in digests.items() if (folder.name, digest) not in known]
            if not new:
                n_known += bool(digests)
                continue
            try:
                tried_twice(service, partial(service.store, new))
            except RetrievalError as error:
                refused[folder.name] = error
                continue
            for path in new:
                sent.add({"case": folder.name, "file": path.name, "sha256": digests[path]})
            record.add_stored(folder.name.partition("-")[0], len(new))
            n_stored += 1
    except OSError as error:
        raise parts.unwritable(error) from error
    return Storing(n_stored, n_known, refused)
