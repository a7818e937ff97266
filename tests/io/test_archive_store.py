"""Facts of files come back as they went in, the next run meets only what changed, and no damage stops a run."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse.io.archive_store import BASES_AT_HAND, FILES_A_COMMIT, ArchiveStore, kept_store

FACTS = st.dictionaries(st.text("abc@", max_size=2), st.one_of(st.text(max_size=5), st.integers(0, 2**40)), max_size=5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), FACTS), max_size=30))
def test_facts_of_slices_come_back_by_series_and_path(slices: list[tuple[int, dict[str, Any]]]) -> None:
    with ArchiveStore(None) as store:
        for number, (series, facts) in enumerate(slices):
            store.add_slice(b"%03d" % number, (1, number), ("study", f"{series}"), facts)
        store.finish()
        assert list(store.series()) == [("study", f"{series}") for series in sorted({series for series, _ in slices})]
        for ids in store.series():
            expected = [
                (b"%03d" % n, (1, n), facts) for n, (series, facts) in enumerate(slices) if f"{series}" == ids[1]
            ]
            assert list(store.slices(ids)) == expected


def test_more_series_than_are_at_hand_come_back(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path / "s") as store:
        for number in range(3 * BASES_AT_HAND):
            for part in range(2):
                store.add_slice(b"%d-%d" % (part, number), (1, 1), ("a", f"{number}"), {"x": str(number), "y": part})
        store.finish()
        found = {ids[1]: [facts["x"] for _, _, facts in store.slices(ids)] for ids in store.series()}
    assert found == {str(number): [str(number)] * 2 for number in range(3 * BASES_AT_HAND)}


def test_next_run_knows_what_is_unchanged_and_forgets_what_is_gone(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path / "s") as store:
        for name in (b"same", b"changed", b"gone"):
            assert not store.has(name, (1, 1))
            store.add_slice(name, (1, 1), ("a", "b"), {"x": 1})
        store.add(b"junk\xff", (5, 5), "other", {})
        store.finish()
    with ArchiveStore(tmp_path / "s") as store:
        assert store.has(b"same", (1, 1)) and store.has(b"junk\xff", (5, 5))
        assert not store.has(b"changed", (1, 2)) and not store.has(b"changed", (2, 1))
        store.add_slice(b"changed", (1, 2), ("a", "c"), {"x": 2})
        store.finish()
        assert list(store.series()) == [("a", "b"), ("a", "c")] and store.count("other") == 1
        assert [path for path, _, _ in store.slices(("a", "b"))] == [b"same"]


def test_special_files_are_sorted_and_others_only_counted() -> None:
    with ArchiveStore(None) as store:
        for path, kind in ((b"z", "nifti"), (b"a", "mask"), (b"b", "other")):
            store.add(path, (1, 1), kind, {"k": kind} if kind == "nifti" else {})
        store.finish()
        assert list(store.special()) == [(b"a", "mask", {}), (b"z", "nifti", {"k": "nifti"})]


def test_verdicts_are_kept_while_they_are_used(tmp_path: Path) -> None:
    for run, known in enumerate([None, {"a": 1}, {"a": 1}]):
        with ArchiveStore(tmp_path / "s") as store:
            assert store.verdict(b"1") == known and store.verdict(b"2") == ({"b": 2} if run == 1 else None)
            if run == 0:
                store.keep_verdict(b"1", {"a": 1})
                store.keep_verdict(b"2", {"b": 2})
        if run == 1:
            with ArchiveStore(tmp_path / "s") as store:
                assert store.verdict(b"1") == {"a": 1}
    with ArchiveStore(tmp_path / "s") as store:
        assert store.verdict(b"2") is None


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_kept_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "s"
    before = os.umask(0)
    try:
        with ArchiveStore(path) as store:
            store.add(b"a", (1, 1), "other", {})
            assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "middle"])
def test_damaged_file_is_made_anew_with_a_warning(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s"
    with ArchiveStore(path) as store:
        for number in range(2000):
            store.add(b"%d" % number, (1, 1), "other", {})
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "text": b"no database" * 999, "cut": whole[:50], "middle": b"\xff" * 3000 + whole[3000:]}[damage]
    )
    with ArchiveStore(path) as store:
        assert not store.has(b"1", (1, 1)) and store.is_kept
        store.add(b"1", (1, 1), "other", {})
    assert ("damaged" in caplog.text) == (damage != "empty")
    with ArchiveStore(path) as store:
        assert store.has(b"1", (1, 1))


def test_file_of_another_version_is_made_anew(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path / "s", made_by="one") as store:
        store.add(b"1", (1, 1), "other", {})
    with ArchiveStore(tmp_path / "s", made_by="two") as store:
        assert not store.has(b"1", (1, 1))


def test_file_in_use_is_left_alone_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ArchiveStore(tmp_path / "s") as first:
        with ArchiveStore(tmp_path / "s") as second:
            second.add(b"1", (1, 1), "other", {})
            assert not second.is_kept
        first.add(b"2", (1, 1), "other", {})
    assert "cannot be used" in caplog.text
    with ArchiveStore(tmp_path / "s") as store:
        assert store.has(b"2", (1, 1)) and not store.has(b"1", (1, 1))


def test_place_that_cannot_be_written_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    with ArchiveStore(tmp_path / "file" / "s") as store:
        store.add(b"1", (1, 1), "other", {})
        store.finish()
        assert store.count("other") == 1
    assert "cannot be used" in caplog.text


def test_what_was_read_survives_an_error_and_a_kill(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ArchiveStore(tmp_path / "s") as store:
        store.add(b"1", (1, 1), "other", {})
        raise KeyboardInterrupt
    code = (
        "import os, signal, sys; from pathlib import Path; from medfuse.io.archive_store import ArchiveStore\n"
        "store = ArchiveStore(Path(sys.argv[1]))\n"
        f"for n in range({FILES_A_COMMIT} * 3 + 7): store.add(b'k%d' % n, (1, 1), 'other', {{}})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], check=False)
    assert done.returncode == -9
    with ArchiveStore(tmp_path / "s") as store:
        known = [store.has(b"k%d" % n, (1, 1)) for n in range(FILES_A_COMMIT * 3 + 7)]
        assert store.has(b"1", (1, 1)) and sum(known) == FILES_A_COMMIT * 3


def test_nothing_stays_of_a_store_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        with ArchiveStore(None) as store:
            for number in range(20_000):
                store.add(b"%d" % number, (1, 1), "nifti", {"text": "x" * 300})
        assert list(Path(folder).iterdir()) == []


def test_kept_store_lies_in_the_users_own_folder_and_names_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDFUSE_CONFIG_DIR", str(tmp_path))
    path = kept_store(Path("/data/Smith"))
    assert path.is_relative_to(tmp_path) and "Smith" not in str(path)
    assert path == kept_store(Path("/data/../data/Smith")) != kept_store(Path("/data/Jones"))


def test_file_is_a_database(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path / "s") as store:
        store.add(b"1", (1, 1), "other", {})
    connection = sqlite3.connect(tmp_path / "s")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
