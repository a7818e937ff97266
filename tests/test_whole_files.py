from pathlib import Path

import pytest

from medfuse.whole_files import write_whole


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "run" / "run.json"
    for data in (b"first", b"second"):
        write_whole(path, data, durable=durable)
        assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_whole(path, b"first")

    def fails(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, b"second", durable=True)
    assert path.read_bytes() == b"first"
