"""How long one study may take: an alarm where this is the main thread, else the end of the process."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from medfuse.errors import DataError

__all__ = ["Limit", "alarm_after", "end_process_after", "too_long"]

Limit = Callable[[float], AbstractContextManager[None]]
"""Bounds what runs within it to so many seconds."""


class _TimeUpError(BaseException):
    """Not an Exception, so that no reader takes it for a damaged file."""


@contextmanager
def alarm_after(seconds: float) -> Iterator[None]:
    """Raise where a study takes too long; without effect outside the main thread, or where there is no SIGALRM.

    Parameters
    ----------
    seconds : float

    Raises
    ------
    DataError
        If the time is up. Code that never comes back to Python is not stopped: see `end_process_after`.

    Examples
    --------
    >>> with alarm_after(5):
    ...     "in time"
    'in time'
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        raise _TimeUpError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TimeUpError:
        raise too_long(seconds) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def end_process_after(seconds: float) -> Iterator[None]:
    """End this process where a study takes too long, whatever it is doing; whoever started it sees it end.

    Parameters
    ----------
    seconds : float
    """
    with Path(os.devnull).open("w", encoding="ascii") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def too_long(seconds: float) -> DataError:
    """Return why a study is refused whose time was up."""
    found = f"took over {seconds:.0f} s and was stopped"
    return DataError("study", found, expected="a study that is read in time, or a longer --study-limit")
