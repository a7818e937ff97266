"""How far a long job is: a bar in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from medfuse.errors import UsageError

__all__ = ["Progress", "bar", "counted", "parse_duration", "start_logging"]

T = TypeVar("T")
LINE_EVERY_S = 5.0
log = logging.getLogger("medfuse")


class Progress(Protocol):
    """Shows how far an iteration is: items in, the same items out."""

    def __call__(self, items: Sequence[T], /) -> Iterable[T]:
        """Yield the items."""
        ...


def bar(label: str, *, quiet: bool = False) -> Progress:
    """Return a wrapper that shows how far an iteration is.

    Parameters
    ----------
    label : str
        What is being done.
    quiet : bool
        Show nothing.

    Returns
    -------
    Progress

    Examples
    --------
    >>> list(bar("counting", quiet=True)([1, 2]))
    [1, 2]
    """
    if quiet:
        return iter
    if sys.stderr.isatty():
        return lambda items: _rich_bar(items, label)
    return lambda items: _lines(items, label)


def counted(label: str, *, quiet: bool = False) -> Callable[[Iterable[T]], Iterable[T]]:
    """Return a wrapper that shows how far an iteration of unknown length is.

    Parameters
    ----------
    label : str
        What is counted.
    quiet : bool
        Show nothing.

    Returns
    -------
    callable
        Items in, the same items out.

    Examples
    --------
    >>> list(counted("files", quiet=True)(iter([1, 2])))
    [1, 2]
    """
    return iter if quiet else lambda items: _counted(items, label)


def _counted(items: Iterable[T], label: str) -> Iterator[T]:
    started = shown = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - shown >= LINE_EVERY_S:
            shown = now
            log.info("%s: %d, %.0f/s", label, done, done / (now - started))
        yield item


def _rich_bar(items: Sequence[T], label: str) -> Iterator[T]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as shown:
        yield from shown.track(items, description=label)


def _lines(items: Sequence[T], label: str) -> Iterator[T]:
    started = shown = time.monotonic()
    total = len(items)
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - shown >= LINE_EVERY_S:
            shown = now
            rate = done / (now - started)
            log.info("%s: %d of %d, %.1f/s, %.0f s left", label, done, total, rate, (total - done) / rate)
        yield item
    log.info("%s: %d of %d in %.0f s", label, total, total, time.monotonic() - started)


def start_logging(*, quiet: bool = False, json_log: bool = False) -> None:
    """Send medfuse's own log lines to stderr.

    Parameters
    ----------
    quiet : bool
        Warnings and errors only.
    json_log : bool
        One JSON object a line: time, level, message.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if json_log else logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.INFO)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return json.dumps({"time": when, "level": record.levelname.lower(), "message": record.getMessage()})


def parse_duration(text: str) -> float:
    """Return the seconds that a user means.

    Parameters
    ----------
    text : str
        Seconds, or numbers with d, h, m and s, or SLURM's ``[days-]hours:minutes:seconds``.

    Returns
    -------
    float

    Raises
    ------
    UsageError
        If it is no duration above 0.

    Examples
    --------
    >>> parse_duration("90"), parse_duration("1h30m"), parse_duration("1-02:00:00")
    (90.0, 5400.0, 93600.0)
    """
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    words = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text)
    found = clock or words
    parts = found.groups() if found else ()
    seconds = sum(float(part or 0) * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=False))
    if not seconds:
        raise UsageError("duration", f"found {text!r}", expected="seconds, or as in 90m, 1h30m, 1-02:00:00")
    return seconds
