"""What is known of a results folder without opening its model: whether it is finished, and from what it was made.

No torch is imported here: a finished run is answered in the time that listing its input takes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from medfuse.errors import UsageError
from medfuse.io.pseudonyms import private_folder
from medfuse.scoring.ledger import Counts, read_run

__all__ = ["RunArguments", "finished_run", "model_id_of", "recall_arguments", "remember_arguments"]

FINISHED = "finished"
CHECKSUMS = "sha256"


@dataclass(frozen=True, slots=True)
class RunArguments:
    """What a results folder was made from; paths are absolute.

    Parameters
    ----------
    source, model, reports, rois, key_file : str
        As on the command line; empty if not given.
    position : str
    query : tuple of str
        What a DICOMweb service was asked for.
    """

    source: str
    model: str
    reports: str = ""
    rois: str = ""
    position: str = "require"
    key_file: str = ""
    query: tuple[str, ...] = ()


def finished_run(folder: Path, *, identity: Mapping[str, str], source: str) -> Counts | None:
    """Return the cases of a run that has nothing left to do; None if it has, or if that cannot be told.

    Parameters
    ----------
    folder : Path
    identity : mapping of str to str
        What must be equal; other keys of the run's are not looked at.
    source : str
        Fingerprint of the input: see `medfuse.io.fingerprint.fingerprint`.
    """
    record = read_run(folder)
    if record is None or record.get("state") != FINISHED or record.get("source") != source:
        return None
    if any(record["identity"].get(key) != value for key, value in identity.items()):
        return None
    try:
        return Counts(int(record["scored"]), int(record["refused"]), int(record["warned"]))
    except (KeyError, TypeError, ValueError):
        return None


def model_id_of(model: str) -> str:
    """Return the id of a model bundle from its checksums; empty if it is no folder with them.

    Examples
    --------
    >>> model_id_of("absent")
    ''
    """
    try:
        return hashlib.sha256((Path(model) / CHECKSUMS).read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def remember_arguments(folder: Path, arguments: RunArguments) -> None:
    """Keep in the user's own folder what a run was made from: paths may name patients, and stay out of the results."""
    path = _kept(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(arguments), file)
    except OSError as error:
        raise UsageError("configuration folder", f"cannot be written ({type(error).__name__})") from error


def recall_arguments(folder: Path) -> RunArguments:
    """Return what a results folder was made from.

    Raises
    ------
    UsageError
        If that is not known here.
    """
    try:
        found = json.loads(_kept(folder).read_text(encoding="utf-8"))
        return RunArguments(**{**found, "query": tuple(found.get("query", ()))})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        expected = "INPUT and --model too, where the run was begun elsewhere"
        raise UsageError("--retry-refused", "found no memory of that run here", expected=expected) from error


def _kept(folder: Path) -> Path:
    digest = hashlib.blake2b(os.fsencode(os.path.realpath(folder)), digest_size=16).hexdigest()
    return private_folder() / "runs" / f"{digest}.json"
