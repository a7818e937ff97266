"""The thread against stores that hang, fail, refuse and come back."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medfuse.errors import DataError
from medfuse.training import sender as sender_module
from medfuse.training.journal import Entry, Journal
from medfuse.training.sender import Sender

URI = "fake://store"


class FakeStore:
    """A store that keeps what it gets, and does what it is told before it does."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.doubted: list[int] = []
        self.before: Callable[[Entry], None] = lambda entry: None
        self.after: Callable[[Entry], None] = lambda entry: None

    def send(self, journal: Journal, entry: Entry, *, run_id: str, is_doubtful: bool) -> str:
        assert run_id == ("" if entry.content["step"] == 0 else "run"), "the run is known once it was started"
        self.before(entry)
        step = entry.content["step"]
        if is_doubtful:
            self.doubted.append(step)
        if not (is_doubtful and step in self.got):
            self.got.append(step)
        self.after(entry)
        return "run"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "POLL_S", 0.01)
    monkeypatch.setattr(sender_module, "FIRST_PAUSE_S", 0.02)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


@pytest.fixture
def start(store: FakeStore, journal: Journal) -> Iterator[Callable[[], Sender]]:
    made: list[Sender] = []

    def start() -> Sender:
        made.append(Sender(URI, lambda: store, patience_s=0.3))
        made[-1].add(journal)
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


def write(journal: Journal, *steps: int) -> None:
    for step in steps:
        journal.add("metrics", {"step": step})


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def test_everything_is_sent_once_and_in_order(store: FakeStore, journal: Journal, start: Callable[[], Sender]) -> None:
    write(journal, 0, 1)
    sender = start()
    wait_until(lambda: store.got == [0, 1])
    write(journal, 2, 3)
    assert sender.close() == 0
    assert store.got == [0, 1, 2, 3]
    assert store.doubted == [0], "only what an earlier sender may have sent is doubtful"
    assert sender.run_id_of(journal) == "run"


def test_a_second_sender_goes_on_where_the_first_was(
    store: FakeStore, journal: Journal, start: Callable[[], Sender]
) -> None:
    write(journal, 0, 1)
    start().close()
    write(journal, 2)
    start().close()
    assert store.got == [0, 1, 2]


def test_a_store_that_fails_is_warned_of_once_and_gets_all_when_it_comes_back(
    store: FakeStore, journal: Journal, start: Callable[[], Sender], caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[int] = []

    def fail(entry: Entry) -> None:
        if len(failures) < 3:
            failures.append(entry.content["step"])
            raise ConnectionError("secret host")

    store.before = fail
    write(journal, 0, 1)
    with caplog.at_level(logging.WARNING, logger="medfuse"):
        sender = start()
        wait_until(lambda: store.got == [0, 1])
        write(journal, 2)
        assert sender.close() == 0
    assert (failures, store.got) == ([0, 0, 0], [0, 1, 2])
    [warning] = [record.getMessage() for record in caplog.records]
    assert "does not answer (ConnectionError); what it lacks is kept" in warning
    assert "secret" not in warning


def test_an_entry_that_was_taken_before_the_answer_was_lost_is_not_logged_twice(
    store: FakeStore, journal: Journal, start: Callable[[], Sender]
) -> None:
    lost: list[int] = []

    def lose(entry: Entry) -> None:
        if entry.content["step"] == 1 and not lost:
            lost.append(1)
            raise TimeoutError

    store.after = lose
    write(journal, 0, 1, 2)
    start()
    wait_until(lambda: len(store.got) == 3)
    assert lost == [1]
    assert store.got == [0, 1, 2]
    assert store.doubted == [0, 1]


def test_a_store_that_hangs_holds_nobody_up(
    store: FakeStore, journal: Journal, start: Callable[[], Sender], caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    def hang(entry: Entry) -> None:
        if entry.content["step"] == 1 and not release.is_set():
            release.wait(10)

    store.before = hang
    write(journal, 0, 1, 2)
    with caplog.at_level(logging.WARNING, logger="medfuse"):
        sender = start()
        began = time.monotonic()
        assert sender.close() == 2
    assert 0.25 < time.monotonic() - began < 2
    assert [record.getMessage() for record in caplog.records if "has not answered" in record.getMessage()]
    # While the call hangs nobody else may send: it could still arrive.
    other = start()
    assert other.close() == 2
    release.set()
    wait_until(lambda: (held := journal.lock()) is not None and not held.close())
    assert store.got == [0, 1], "a sender that was given up ends with the call that hung"
    assert start().close() == 0
    assert store.got == [0, 1, 2]


def test_what_the_store_will_never_take_is_said_and_passed_over(
    store: FakeStore, journal: Journal, start: Callable[[], Sender], caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(entry: Entry) -> None:
        if entry.content["step"] == 1:
            raise DataError("tracking: artifact of line 2", "the file that it names is gone")

    store.before = refuse
    write(journal, 0, 1, 2)
    with caplog.at_level(logging.WARNING, logger="medfuse"):
        assert start().close() == 0
    assert store.got == [0, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "tracking: artifact of line 2: the file that it names is gone"
    ]


def test_a_store_that_cannot_be_reached_at_all_keeps_the_journal(journal: Journal, tmp_path: Path) -> None:
    def connect() -> FakeStore:
        raise OSError

    write(journal, 0, 1)
    sender = Sender(URI, connect, patience_s=0.3)
    sender.add(journal)
    sender.start()
    assert sender.run_id_of(journal) == ""
    assert sender.close() == 2
    assert len(journal.read()) == 2


def test_children_are_sent_by_their_parent_s_thread(store: FakeStore, tmp_path: Path) -> None:
    journals = []
    for name in ("parent", "child"):
        (tmp_path / name).mkdir()
        journals.append(Journal(tmp_path / name))
        write(journals[-1], 0, 1)
    sender = Sender(URI, lambda: store, patience_s=0.3)
    sender.start()
    for one in journals:
        sender.add(one)
    assert sender.close() == 0
    assert sorted(store.got) == [0, 1, 1], "each journal's first entry is doubtful, and the fake has seen a 0"
    assert all(one.read_mark(URI).run_id == "run" for one in journals)
