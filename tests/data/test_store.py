from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medfuse.data.store import INDEX, BoxStore, StoredBox, _descriptor
from medfuse.errors import DataError, UsageError

SHAPE = (1, 4, 4, 4)
FACTS = {"unit": "HU", "modality": "CT", "body_part": "CHEST"}
BYTES = 128


def steps(number: int) -> NDArray[np.uint16]:
    return np.random.default_rng(number).integers(0, 65535, SHAPE, dtype=np.uint16)


def name(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


def fill(store: BoxStore, numbers: range) -> dict[int, StoredBox]:
    return {n: store.add(name(n), steps(n), FACTS, request=name(-n)) for n in numbers}


def packs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pack"))


def test_box_is_found_by_its_request_and_by_its_key_in_a_later_run(tmp_path: Path) -> None:
    with BoxStore(tmp_path / "a" / "boxes", max_bytes=10**6) as store:
        fill(store, range(1, 6))
    with BoxStore(tmp_path / "a" / "boxes", max_bytes=10**6) as store:
        assert store.find(b"another question") is None
        for n in range(1, 6):
            box, facts = store.find(name(-n))
            assert np.array_equal(box.read(), steps(n))
            assert facts == FACTS
        assert store.find_key(name(9), request=b"new") is None
        box, _ = store.find_key(name(3), request=b"new")
        assert np.array_equal(box.read(), steps(3))
        assert store.find(b"new")[0] == box
        assert store.size() == 5 * BYTES


def test_folder_holds_two_bytes_a_voxel_and_is_the_users_alone(tmp_path: Path) -> None:
    with BoxStore(tmp_path / "boxes", max_bytes=10**6) as store:
        fill(store, range(1, 4))
    (pack,) = packs(tmp_path / "boxes")
    assert pack.stat().st_size == 3 * BYTES
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "boxes", *(tmp_path / "boxes").iterdir())} == {0}


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "facts"])
def test_damaged_box_is_forgotten_alone_and_can_be_made_again(tmp_path: Path, damage: str) -> None:
    with BoxStore(tmp_path, max_bytes=10**6) as store:
        fill(store, range(1, 4))
    (pack,) = packs(tmp_path)
    if damage == "flip":
        data = bytearray(pack.read_bytes())
        data[2 * BYTES + 5] ^= 1
        pack.write_bytes(data)
    elif damage == "cut":
        os.truncate(pack, 3 * BYTES - 1)
    elif damage == "remove":
        pack.unlink()
    else:
        with sqlite3.connect(tmp_path / INDEX) as connection:
            connection.execute("UPDATE boxes SET facts = replace(facts, 'CHEST', 'HEAD') WHERE key = ?", (name(3),))
        connection.close()
    _descriptor.cache_clear()  # as in another process
    with BoxStore(tmp_path, max_bytes=10**6) as store:
        assert store.find(name(-3)) is None
        assert [store.find(name(-n)) is None for n in (1, 2)] == [damage == "remove"] * 2
        store.add(name(3), steps(3), FACTS, request=name(-3))
        assert np.array_equal(store.find(name(-3))[0].read(), steps(3))
    with BoxStore(tmp_path, max_bytes=10**6) as store:
        assert np.array_equal(store.find(name(-3))[0].read(), steps(3))


@pytest.mark.parametrize("damage", ["text", "cut", "version"])
def test_damaged_index_is_begun_anew(tmp_path: Path, damage: str) -> None:
    with BoxStore(tmp_path, max_bytes=10**6) as store:
        fill(store, range(1, 40))
    if damage == "text":
        (tmp_path / INDEX).write_text("no database at all" * 100)
    elif damage == "cut":
        os.truncate(tmp_path / INDEX, 5000)
    else:
        connection = sqlite3.connect(tmp_path / INDEX)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    with BoxStore(tmp_path, max_bytes=10**6) as store:
        assert store.find(name(-1)) is None
        assert not packs(tmp_path)
        fill(store, range(1, 3))
        assert store.find(name(-1)) is not None


def test_limit_is_kept_and_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    limit = 64 * BYTES
    clock = iter(range(10**6))
    with pytest.MonkeyPatch.context() as patch, BoxStore(tmp_path, max_bytes=limit) as store:
        patch.setattr(time, "time", lambda: 1000.0 * next(clock))
        fill(store, range(1, 61))
        for n in range(1, 5):
            assert store.find(name(-n)) is not None  # the oldest, but in use again
        fill(store, range(61, 91))
        assert store.size() <= limit
        assert sum(path.stat().st_size for path in packs(tmp_path)) == store.size()
        kept = [n for n in range(1, 91) if store.find(name(-n)) is not None]
    assert set(kept) >= {1, 2, 3, 4, *range(61, 91)}
    assert 5 not in kept


def test_box_that_is_held_can_be_read_after_it_made_room(tmp_path: Path) -> None:
    with BoxStore(tmp_path, max_bytes=20 * BYTES) as store:
        held = fill(store, range(1, 60))
        assert store.find(name(-1)) is None
    assert all(np.array_equal(box.read(), steps(n)) for n, box in held.items())


def test_data_that_cannot_fit_the_limit_are_refused_with_what_they_need(tmp_path: Path) -> None:
    with BoxStore(tmp_path, max_bytes=10**9) as store:
        store.check_room(1000, 800_000)
        with pytest.raises(UsageError, match=r"max_gb: found 1 GB, and 2000 images of 800000 bytes; expected 1\.83 at"):
            store.check_room(2000, 800_000)
        with pytest.raises(UsageError, match="max_gb"):
            store.add(name(1), np.zeros((1, 1024, 1024, 512), np.uint16), FACTS, request=b"x")


def test_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"data\.cache\.folder"):
        BoxStore(tmp_path / "file" / "boxes", max_bytes=10**6)


def test_pack_removed_under_a_box_that_was_never_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cut or removed"):
        StoredBox(str(tmp_path / "none.pack"), 0, SHAPE).read()


def add_many(folder: Path, numbers: range) -> None:
    with BoxStore(folder, max_bytes=10**6) as store:
        fill(store, numbers)


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    # Two of them write the same boxes.
    shares = [range(1, 81), range(41, 121), range(1, 81), range(121, 161)]
    workers = [context.Process(target=add_many, args=(tmp_path, share)) for share in shares]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    with BoxStore(tmp_path, max_bytes=10**6) as store:
        assert all(np.array_equal(store.find(name(-n))[0].read(), steps(n)) for n in range(1, 161))


def add_forever(folder: Path) -> None:
    with BoxStore(folder, max_bytes=10**5) as store:
        while True:
            fill(store, range(1, 1000))


def test_killed_writer_leaves_only_whole_boxes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(5):
        worker = context.Process(target=add_forever, args=(tmp_path,))
        worker.start()
        time.sleep(0.05 + 0.03 * number)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        with BoxStore(tmp_path, max_bytes=10**5) as store:
            found = {n: store.find(name(-n)) for n in range(1, 1000)}
            assert all(np.array_equal(hit[0].read(), steps(n)) for n, hit in found.items() if hit is not None)
            fill(store, range(2000, 2003))
