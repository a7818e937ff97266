"""Writing files that are either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file that takes its name only once it is whole; one of that name stands until then.

    Parameters
    ----------
    path : Path
        Its folder is made where needed.
    data : bytes
    durable : bool
        Wait until the disk holds it, so that even a power cut leaves one of the two.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "new" / "run.json", b"{}")
    ...     [file.name for file in (Path(folder) / "new").iterdir()]
    ['run.json']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk gets back what was written of it
        raise
    partial.replace(path)
