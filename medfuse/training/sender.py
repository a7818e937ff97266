"""The thread that sends journals to a store, so that no training waits for one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import BinaryIO, Protocol

from medfuse.errors import DataError, MedfuseError, TrainingError
from medfuse.training.journal import Entry, Journal, Mark

__all__ = ["Sender", "Store"]

log = logging.getLogger("medfuse")
POLL_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


class Store(Protocol):
    """Where journals are sent."""

    def send(self, journal: Journal, entry: Entry, *, run_id: str, is_doubtful: bool) -> str:
        """Send one entry and return the id of its run, which is empty before the entry ``start``.

        Parameters
        ----------
        journal : Journal
            Whose folder holds the files that an entry names.
        entry : Entry
        run_id : str
        is_doubtful : bool
            The entry may have been sent before: what the store has already must not be logged again.

        Raises
        ------
        DataError
            If the store will never take it; those behind it go on. Any other error means that the store is away.
        """
        ...


class Sender:
    """Sends what journals hold, in order, and tries again after a growing pause while the store is away.

    Parameters
    ----------
    uri : str
        Names the store in each journal's marks.
    connect : callable
        Returns the store; called in the thread, and again when it failed.
    patience_s : float
        Seconds without any progress after which `close` no longer waits, and a warning says that the store is slow.
    """

    def __init__(self, uri: str, connect: Callable[[], Store], *, patience_s: float) -> None:
        self.uri = uri
        self.patience_s = patience_s
        self.problem = ""
        self._connect = connect
        self._store: Store | None = None
        self._outlets: list[_Outlet] = []
        self._stop = threading.Event()
        self._moved = time.monotonic()  # when an entry was last done, or there was none
        self._has_warned = False
        self._is_given_up = False
        # A daemon: a store that never answers must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="medfuse-tracking", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, journal: Journal) -> None:
        """Send this journal too, from its mark on."""
        self._outlets.append(_Outlet(journal, self.uri))

    def run_id_of(self, journal: Journal) -> str:
        """Wait until a journal's run is known to the store, or the store is away; return its id or nothing."""
        while True:
            mark = journal.read_mark(self.uri)
            if mark.run_id or self.problem or self.is_stuck() or not self._thread.is_alive():
                return mark.run_id
            time.sleep(POLL_S / 4)

    def is_stuck(self) -> bool:
        """Return whether nothing has moved for longer than the patience; the first time it is logged."""
        stuck = time.monotonic() - self._moved > self.patience_s
        if stuck:
            self._warn(f"has not answered for {self.patience_s:.0f} s")
        return stuck

    def close(self) -> int:
        """Send what is left, as long as the store moves; return the number of entries that were not sent."""
        self._stop.set()
        while self._thread.is_alive() and not self.is_stuck():
            self._thread.join(POLL_S / 4)
        self._is_given_up = True
        return sum(outlet.n_left() for outlet in self._outlets)

    def _run(self) -> None:
        pause, retry_at = FIRST_PAUSE_S, 0.0
        while not self._is_given_up:
            stopping = self._stop.wait(POLL_S)
            self._moved = time.monotonic()
            if stopping or time.monotonic() >= retry_at:
                try:
                    self._send_all()
                    pause, self.problem = FIRST_PAUSE_S, ""
                except Exception as error:  # a store fails in its own ways; none may end a training
                    self._store = None
                    self.problem = error.found if isinstance(error, MedfuseError) else type(error).__name__
                    self._warn(f"does not answer ({self.problem})")
                    pause, retry_at = min(2 * pause, LONGEST_PAUSE_S), time.monotonic() + pause
            if stopping:
                break
        for outlet in self._outlets:
            outlet.close()

    def _send_all(self) -> None:
        for outlet in tuple(self._outlets):
            for entry in outlet.pending():
                if self._is_given_up:
                    return
                self._moved = time.monotonic()
                self._store = self._store or self._connect()
                outlet.send(self._store, entry)

    def _warn(self, what: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("tracking: the MLflow store %s; what it lacks is kept in the run's folder", what)


class _Outlet:
    """How far one journal is sent."""

    def __init__(self, journal: Journal, uri: str) -> None:
        self.journal = journal
        self.uri = uri
        self.sent, self.run_id = 0, ""
        self._held: BinaryIO | None = None
        self._size = -1
        # Whoever sent before may have been killed, or cut off, between sending a line and marking it.
        self._is_doubtful = True

    def pending(self) -> list[Entry]:
        if self._held is None:
            if not self.journal.path.exists():
                return []
            self._held = self.journal.lock()
            if self._held is None:
                raise TrainingError("tracking", "another process is sending this run")
            mark = self.journal.read_mark(self.uri)
            self.sent, self.run_id = mark.sent, mark.run_id
        size = self.journal.path.stat().st_size
        entries = self.journal.read(self.sent) if size != self._size else []
        if not entries:
            self._size = size
        return entries

    def send(self, store: Store, entry: Entry) -> None:
        doubtful, self._is_doubtful = self._is_doubtful, True
        try:
            self.run_id = store.send(self.journal, entry, run_id=self.run_id, is_doubtful=doubtful)
        except DataError as error:
            log.warning("%s", error)
        self.sent = entry.line + 1
        self.journal.mark(self.uri, Mark(self.sent, self.run_id))
        self._is_doubtful = False

    def n_left(self) -> int:
        return len(self.journal.read(self.journal.read_mark(self.uri).sent))

    def close(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None
