"""Keyed pseudonyms: the same id gives the same pseudonym, and nobody without the key can go back."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from medfuse.errors import UsageError

__all__ = ["CONFIG_DIR", "Pseudonymizer", "key_path", "load_pseudonymizer", "private_folder"]

CONFIG_DIR = "MEDFUSE_CONFIG_DIR"
"""Environment variable that names another configuration folder."""

KEY_BYTES = 32
WHERE = "pseudonym key"


@dataclass(frozen=True, slots=True)
class Pseudonymizer:
    """Turns ids into pseudonyms by HMAC-SHA256.

    Parameters
    ----------
    key : bytes
        32 bytes.

    Notes
    -----
    Source: RFC 2104 (HMAC). 64 bits are kept: among a million ids a clash has a chance of 3e-8.

    Examples
    --------
    >>> names = Pseudonymizer(bytes(32))
    >>> names.patient("Ann") == names.patient("Ann"), names.patient("Ann")[1:] == names.study("Ann")[1:]
    (True, False)
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise UsageError(WHERE, f"found {len(self.key)} bytes", expected=f"{KEY_BYTES}")

    def patient(self, patient_id: str) -> str:
        """Return the pseudonym of a PatientID: P and 16 hexadecimal digits."""
        return "P" + self._digest("patient", patient_id)

    def study(self, study_uid: str) -> str:
        """Return the pseudonym of a StudyInstanceUID: S and 16 hexadecimal digits."""
        return "S" + self._digest("study", study_uid)

    def series(self, series_uid: str) -> str:
        """Return the pseudonym of a SeriesInstanceUID: E and 16 hexadecimal digits."""
        return "E" + self._digest("series", series_uid)

    def file(self, path: str) -> str:
        """Return the pseudonym of a file's path: F and 16 hexadecimal digits."""
        return "F" + self._digest("file", path)

    def _digest(self, kind: str, value: str) -> str:
        # The kind keeps a patient and a study of one id apart.
        message = f"{kind}\x1f{value}".encode(errors="surrogateescape")
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:16]


def load_pseudonymizer(key_file: Path | None = None) -> Pseudonymizer:
    """Load the key, making it at first use.

    Parameters
    ----------
    key_file : Path, optional
        By default ``pseudonym.key`` in the user's configuration folder, or in the folder that the environment
        variable `CONFIG_DIR` names. Back it up: without it no later run gives the same pseudonyms. It is never
        written to an output.

    Returns
    -------
    Pseudonymizer

    Raises
    ------
    UsageError
        If the file is no key, others may read it, or it cannot be made. A key file that was named must exist.
    """
    path = key_file or key_path()
    if key_file is not None and not path.exists():
        raise UsageError(WHERE, "found no such file", expected="a key that medfuse made")
    try:
        if not path.exists():
            _make_key(path)
        if os.name == "posix" and path.stat().st_mode & 0o077:
            expected = f"permissions 0600: run chmod 600 {path}, if nobody else can have copied it"
            raise UsageError(WHERE, "found a key that others may read", expected=expected)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        expected = "64 hexadecimal digits; restore the file from a backup"
        raise UsageError(WHERE, f"cannot be read as a key ({type(error).__name__})", expected=expected) from error
    return Pseudonymizer(key)


def key_path() -> Path:
    """Return where the user's own key lies, or will."""
    return private_folder() / "pseudonym.key"


def private_folder() -> Path:
    """Return the user's own folder: what names patients is kept here, readable by nobody else, and nowhere else."""
    from platformdirs import user_config_path

    folder = os.environ.get(CONFIG_DIR)
    return Path(folder) if folder else user_config_path("medfuse", appauthor=False)


def _make_key(path: Path) -> None:
    """Make a key file whole or not at all; if another process is first, its key stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
        file.flush()
        os.fsync(descriptor)
    try:
        # A link fails if the name is taken; a rename would replace the other process's key.
        path.hardlink_to(partial)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
