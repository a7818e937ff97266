"""Parts of a results table: Parquet files that are whole or not there, each with what it holds in its footer."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medfuse.errors import ScoringError, UsageError
from medfuse.scoring.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "STATE", "States", "as_table", "key_of", "part_paths", "read_part", "read_states",
    "sync_folder", "unwritable", "write_part",
]  # fmt: skip

STATE = np.dtype([("study", "<u8"), ("digest", "<u8"), ("refused", "u1")])
"""Of a study: hash of its key, digest of its content, whether a case of it is refused."""

States = NDArray[np.void]
FOOTER = b"medfuse.studies"
PATTERN = "part-*.parquet"


def key_of(study_key: str) -> int:
    """Return 64 bits that stand for a study's pseudonym in little memory.

    Examples
    --------
    >>> key_of("S0123456789abcdef") == key_of("S0123456789abcdef") != key_of("S0123456789abcdee")
    True
    """
    return int.from_bytes(hashlib.blake2b(study_key.encode(), digest_size=8).digest(), "little")


def part_paths(folder: Path) -> list[Path]:
    """Return the parts in a folder, by name."""
    return sorted(folder.glob(PATTERN))


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Return rows as a table of text and float64."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows))


def write_part(path: Path, table: pa.Table, states: States) -> None:
    """Write a part under a temporary name, wait until the disk holds it, and only then give it its name.

    Parameters
    ----------
    path : Path
        Another part of that name is replaced at once as a whole.
    table : Table
    states : ndarray of STATE
        Of the studies in it.

    Raises
    ------
    ScoringError
        If the disk is full or the folder is gone.
    """
    import pyarrow.parquet as pq

    partial = path.with_name(f".{path.name}.partial")
    try:
        with pq.ParquetWriter(partial, table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({FOOTER: base64.b64encode(states.tobytes())})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(error) from error


def read_states(path: Path) -> States:
    """Read from its footer which studies a part holds.

    Raises
    ------
    UsageError
        If it is no part, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(path).metadata or {}
        return np.frombuffer(base64.b64decode(footer[FOOTER], validate=True), dtype=STATE)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def read_part(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part, or some columns of it; one that it does not have is left out.

    Raises
    ------
    UsageError
        If it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            found = file.read(columns=None if columns is None else [name for name in columns if name in names])
            return found.replace_schema_metadata(None)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def unwritable(error: OSError) -> ScoringError:
    """Return why a run stops that cannot write its results."""
    found = f"cannot be written ({error.strerror or type(error).__name__})"
    return ScoringError("--out", found, expected="room and a folder that stays; the same command then goes on")


def _damaged(path: Path, error: Exception) -> UsageError:
    found = f"found a damaged part {path.name} ({type(error).__name__})"
    return UsageError("--out", found, expected="whole parts: take it away, and its studies are scored again")


def sync_folder(folder: Path) -> None:
    """Wait until the disk holds the names in a folder, where the system can say so."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
