import json
import multiprocessing
from pathlib import Path

import pytest

from medfuse.training.journal import Journal, Mark

STORE = "sqlite:///runs.db"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_entries_come_back_in_order_without_the_marks(journal: Journal) -> None:
    for step in range(3):
        journal.add("metrics", {"values": {"loss": 1 / (step + 1)}, "step": step})
        journal.mark(STORE, Mark(2 * step + 1, "run"))
    assert [entry.content["step"] for entry in journal.read()] == [0, 1, 2]
    assert [entry.content["step"] for entry in journal.read(2)] == [1, 2]


def test_each_store_has_its_own_mark(journal: Journal) -> None:
    journal.mark(STORE, Mark(3, "one"))
    journal.mark("https://elsewhere", Mark(1, "two"))
    assert journal.read_mark(STORE) == Mark(3, "one")
    assert journal.read_mark("https://elsewhere") == Mark(1, "two")
    assert journal.read_mark("other") == Mark()


@pytest.mark.parametrize("torn", [b'{"kind": "metr', b"\xff\xfe", b"3\n", b"{}\n", b'{"kind": 1}\n', b"\n"])
def test_a_torn_line_holds_nothing_and_spoils_none_behind_it(journal: Journal, torn: bytes) -> None:
    journal.add("start", {})
    with journal.path.open("ab") as file:
        file.write(torn)
    assert [entry.kind for entry in journal.read()] == ["start"]
    journal.add("status", {})
    found = journal.read()
    assert [(entry.kind, entry.line) for entry in found] == [("start", 0), ("status", 2)]
    assert [entry.kind for entry in journal.read(found[-1].line)] == ["status"]


def test_a_line_that_is_being_written_is_not_read_yet(journal: Journal) -> None:
    journal.path.write_bytes(b'{"kind":"start"}')
    assert journal.read() == []


def test_figures_that_are_no_numbers_come_back(journal: Journal) -> None:
    journal.add("metrics", {"values": {"loss": float("nan"), "gap": float("inf")}})
    assert str(journal.read()[0].content["values"]) == "{'loss': nan, 'gap': inf}"


def _add_many(folder: Path, number: int) -> None:
    for step in range(200):
        Journal(folder).add("metrics", {"from": number, "step": step, "padding": "x" * 200})


def test_processes_that_write_at_once_do_not_mix_their_lines(journal: Journal) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_many, args=(journal.folder, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = [json.loads(line) for line in journal.path.read_bytes().splitlines()]
    assert len(lines) == 600
    for number in range(3):
        assert [line["step"] for line in lines if line["from"] == number] == list(range(200))


def test_one_alone_sends_at_a_time(journal: Journal) -> None:
    journal.add("start", {})
    first = journal.lock()
    assert first is not None
    assert journal.lock() is None
    first.close()
    again = journal.lock()
    assert again is not None
    again.close()
