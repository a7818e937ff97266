from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from medfuse import progress
from medfuse.progress import bar, start_logging

LOG = logging.getLogger("medfuse")


@pytest.fixture(autouse=True)
def _same_logger_afterwards() -> Iterator[None]:
    kept = (LOG.handlers[:], LOG.propagate, LOG.level)
    yield
    LOG.handlers[:], LOG.propagate, level = kept
    LOG.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    yield now


def test_quiet_bar_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    assert list(bar("reading", quiet=True)([1, 2, 3])) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_log_has_a_line_every_few_seconds_with_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    start_logging()
    for _ in bar("reading")(range(10)):
        clock[0] += progress.LINE_EVERY_S / 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading: 2 of 10, 0.4/s, 20 s left"
    assert lines[-1] == "reading: 10 of 10 in 25 s"
    assert len(lines) == 5


@pytest.mark.parametrize("items", [[], [1], list(range(100))])
def test_fast_job_has_one_line_at_its_end(capsys: pytest.CaptureFixture[str], items: list[int]) -> None:
    start_logging()
    assert list(bar("reading")(items)) == items
    assert capsys.readouterr().err == f"reading: {len(items)} of {len(items)} in 0 s\n"


def test_terminal_shows_a_bar_that_yields_the_same_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = sys.stderr
    assert list(bar("reading")([1, 2, 3])) == [1, 2, 3]
    assert isinstance(shown, Terminal)
    assert "reading" in shown.getvalue()
    assert "3/3" in shown.getvalue()


def test_log_lines_go_to_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    LOG.info("three studies")
    LOG.debug("hidden")
    assert capsys.readouterr() == ("", "three studies\n")


def test_quiet_log_keeps_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(quiet=True)
    LOG.info("hidden")
    LOG.warning("one study refused")
    assert capsys.readouterr().err == "one study refused\n"


def test_json_log_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(json_log=True)
    LOG.warning('a "quoted"\nline of %d', 3)
    LOG.info("next")
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert first["level"] == "warning"
    assert first["message"] == 'a "quoted"\nline of 3'
    assert first["time"].endswith("Z")
    assert second["message"] == "next"


def test_logging_that_is_started_twice_says_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging()
    start_logging()
    LOG.info("once")
    assert capsys.readouterr().err == "once\n"
