"""What a run has to tell MLflow, first written to a file of its own: nothing is lost when the store is away."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["Entry", "Journal", "Mark"]

NAME = "tracking.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to tell: what it is, what it holds, and its line, counted from 0."""

    line: int
    kind: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a store has the journal: every line before ``sent``, as run ``run_id``."""

    sent: int = 0
    run_id: str = ""


class Journal:
    """A file of one JSON object a line, only ever added to; no patient value is written there.

    Parameters
    ----------
    folder : Path
        The run's folder, which exists; the file is ``tracking.jsonl``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     journal = Journal(Path(folder))
    ...     journal.add("metrics", {"values": {"loss": 0.5}, "step": 0})
    ...     journal.mark("sqlite:///runs.db", Mark(1, "abc"))
    ...     journal.read()[0].kind, journal.read_mark("sqlite:///runs.db").sent
    ('metrics', 1)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME

    def add(self, kind: str, content: Mapping[str, Any]) -> None:
        """Write one thing down.

        Parameters
        ----------
        kind : str
        content : mapping
            What JSON can hold.
        """
        self._append({"kind": kind, **content})

    def mark(self, uri: str, mark: Mark) -> None:
        """Write down how far a store is."""
        self._append({"kind": "sent", "uri": uri, "sent": mark.sent, "run_id": mark.run_id})

    def read(self, start: int = 0) -> list[Entry]:
        """Return what was written from a line on, without the marks.

        A line that a killed process left torn counts as a line and holds nothing.
        """
        return [entry for entry in self._entries(start) if entry.kind != "sent"]

    def read_mark(self, uri: str) -> Mark:
        """Return how far a store is."""
        found = Mark()
        for entry in self._entries(0):
            if entry.kind == "sent" and entry.content["uri"] == uri:
                found = Mark(entry.content["sent"], entry.content["run_id"])
        return found

    def lock(self) -> BinaryIO | None:
        """Become the only one who sends this journal, until the file that is returned is closed.

        Returns
        -------
        file or None
            None if another process or thread is sending it.
        """
        held = self.path.open("rb")
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.close()
                return None
            except OSError:
                pass  # a file system without locks
        return held

    def _entries(self, start: int) -> list[Entry]:
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        read = [(number, _parse(line)) for number, line in enumerate(lines) if number >= start and line.endswith(b"\n")]
        return [Entry(number, content["kind"], content) for number, content in read if content]

    def _append(self, content: Mapping[str, Any]) -> None:
        # One write at the end of the file: threads and processes that add at once do not mix their lines.
        line = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            torn = (
                os.fstat(handle).st_size > 0 and os.lseek(handle, -1, os.SEEK_END) >= 0 and os.read(handle, 1) != b"\n"
            )
            os.write(handle, b"\n" + line if torn else line)
        finally:
            os.close(handle)


def _parse(line: bytes) -> Mapping[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) and isinstance(content.get("kind"), str) else None
