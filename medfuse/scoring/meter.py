"""How far a scoring run is: studies done, refused and left, rate, time left; refused cases by their pseudonyms."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from medfuse.scoring.rows import Row

__all__ = ["Meter"]

LINE_EVERY_S = 5.0
SHOWN_REFUSALS = 20
log = logging.getLogger("medfuse")


class Meter:
    """Logs how far a run is.

    Parameters
    ----------
    quiet : bool
        Log nothing.
    shown_refusals : int
        Refused cases that are named one by one; all of them are in refused.jsonl.
    """

    def __init__(self, *, quiet: bool = False, shown_refusals: int = SHOWN_REFUSALS) -> None:
        self._quiet = quiet
        self._n_shown = shown_refusals
        self._n_total = self._n_done = self._n_skipped = self._n_refused = 0
        self._started = self._told = time.monotonic()

    def start(self, n_total: int) -> None:
        """Begin a run over so many studies."""
        self._n_total = n_total
        self._started = self._told = time.monotonic()

    def skip(self) -> None:
        """Count a study that is done already, or another command's."""
        self._n_skipped += 1

    def add(self, rows: Sequence[Row]) -> None:
        """Count a finished study by its rows."""
        self._n_done += 1
        refused = [row for row in rows if row["status"] == "refused"]
        self._n_refused += bool(refused)
        for row in refused[: max(0, self._n_shown)]:
            self._say("refused %s-%s at %s: %s", row["study_key"], row["lesion_id"], row["stage"], row["reason"])
        if refused:
            self._n_shown -= len(refused)
        if time.monotonic() - self._told >= LINE_EVERY_S:
            self._told = time.monotonic()
            self._say("%s", self.line())

    def line(self) -> str:
        """Return how far it is."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        left, rate = max(0, self._n_total - self._n_done - self._n_skipped), self._n_done / seconds
        ends = f"{left / rate:.0f} s left" if rate else "time left unknown"
        return (
            f"studies: {self._n_done + self._n_skipped} of {self._n_total}, {self._n_refused} refused, {left} left, "
            f"{rate:.1f}/s, {ends}"
        )

    def _say(self, message: str, *values: object) -> None:
        if not self._quiet:
            log.info(message, *values)
