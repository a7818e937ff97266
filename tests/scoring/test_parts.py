"""A part is whole, or said to be damaged; a disk that takes no more is named."""

import errno
from pathlib import Path

import numpy as np
import pytest

from medfuse.errors import UsageError
from medfuse.scoring.parts import STATE, as_table, key_of, read_part, read_states, unwritable, write_part


def written(folder: Path) -> Path:
    states = np.array([(key_of("S1"), 7, 0), (key_of("S2"), 2**64 - 1, 1)], dtype=STATE)
    write_part(folder / "part-00000.parquet", as_table([{"study_key": "S1"}, {"study_key": "S2"}]), states)
    return folder / "part-00000.parquet"


def test_a_part_holds_its_rows_and_what_it_says_of_its_studies(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert read_part(path).to_pydict() == {"study_key": ["S1", "S2"]}
    assert read_states(path).tolist() == [(key_of("S1"), 7, 0), (key_of("S2"), 2**64 - 1, 1)]
    assert [one.name for one in tmp_path.iterdir()] == ["part-00000.parquet"]


@pytest.mark.parametrize("read", [read_states, read_part])
@pytest.mark.parametrize("harm", ["gone", "cut", "text", "folder"])
def test_what_is_no_whole_part_is_named(tmp_path: Path, read, harm: str) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    path.unlink()
    if harm == "folder":
        path.mkdir()
    elif harm != "gone":
        path.write_bytes(content[:-9] if harm == "cut" else b"study_key")
    with pytest.raises(UsageError, match=r"damaged part part-00000\.parquet"):
        read(path)


def test_why_results_cannot_be_written_is_told() -> None:
    assert "No space left on device" in str(unwritable(OSError(errno.ENOSPC, "No space left on device")))
    assert "(OSError)" in str(unwritable(OSError()))
