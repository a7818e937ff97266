"""A file of JSON lines that only grows; a line that a killed process left unfinished is passed over."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["LineLog"]


class LineLog:
    """A file of JSON lines.

    Parameters
    ----------
    path : Path
        Its folder is made with the first line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = LineLog(Path(folder) / "log.jsonl")
    ...     log.add({"case": "S1-1"})
    ...     _ = log.path.write_text(log.path.read_text() + '{"case": "S2')
    ...     log.add({"case": "S3-1"})
    ...     list(log.read())
    [{'case': 'S1-1'}, {'case': 'S3-1'}]
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the lines."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict):
                    yield found

    def add(self, line: dict[str, Any]) -> None:
        """Add a line, and wait until the disk holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
