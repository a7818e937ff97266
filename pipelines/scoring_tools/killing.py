"""Running `medfuse score`, undisturbed or while its processes are killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medfuse.errors import UsageError
from medfuse.io.pseudonyms import CONFIG_DIR
from medfuse.scoring.parts import part_paths, read_states
from pipelines.scoring_tools.poison import Archive
from pipelines.scoring_tools.sides import family

__all__ = ["Killing", "Run", "score_killed", "score_once"]

VICTIMS = ("worker", "worker", "scheduler", "command")
POLL_S, START_S, END_S = 0.1, 120.0, 300.0
KILL_AFTER = (0.01, 0.035)
"""A kill follows the one before when this share of the studies has been finished since, drawn between both."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Killing:
    """How many processes are killed, and what draws which and when."""

    n_kills: int
    draw: random.Random


@dataclass
class Run:
    """What came of scoring an archive."""

    folder: Path
    exit_codes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)


def score_once(archive: Archive, model: Path, work: Path, *, workers: int) -> Run:
    """Score an archive into a folder of its own, anew."""
    run = Run(_emptied(work / f"scores_{workers}"))
    started = time.perf_counter()
    with _command(archive, model, run.folder, work, "--workers", str(workers)) as process:
        run.exit_codes.append(process.wait())
    run.seconds = time.perf_counter() - started
    return run


def score_killed(archive: Archive, model: Path, work: Path, *, killing: Killing) -> Run:
    """Score an archive by a scheduler and two workers, and kill one of them or the command again and again.

    What was killed is started again: the same command, and a scheduler with its workers at another port. A worker is
    started again by its nanny.
    """
    run = Run(_emptied(work / "scores_killed"))
    n_studies = archive.n_good + len(archive.poisoned)
    started = time.perf_counter()
    while not run.exit_codes or run.exit_codes[-1] not in (0, 3):
        with _cluster(work) as (address, scheduler, nanny):
            while scheduler.poll() is None:
                with _command(archive, model, run.folder, work, "--scheduler", address) as command:
                    _kill_some(run, killing, {"scheduler": scheduler, "command": command, "worker": nanny}, n_studies)
                    run.exit_codes.append(command.wait(timeout=END_S))  # of a lost scheduler it says so by itself
                if run.exit_codes[-1] != -signal.SIGKILL:
                    break
            if run.exit_codes[-1] not in (0, 3) and scheduler.poll() is None:
                raise SystemExit(f"error: the command ended with {run.exit_codes[-1]}; expected 0 or 3")
    run.seconds = time.perf_counter() - started
    return run


def _kill_some(run: Run, killing: Killing, processes: Mapping[str, subprocess.Popen[bytes]], n_studies: int) -> None:
    """Kill workers until the command ends, or until the scheduler or the command is killed."""
    command = processes["command"]
    while True:
        since, wanted = n_done(run.folder), killing.draw.uniform(*KILL_AFTER) * n_studies
        while n_done(run.folder) - since < wanted or sum(run.kills.values()) >= killing.n_kills:
            if command.poll() is not None:
                return
            time.sleep(POLL_S)
        victim = killing.draw.choice(VICTIMS)
        pids = {
            "worker": [pid for pid in family(processes["worker"].pid) if _is_worker(pid)],
            "scheduler": [processes["scheduler"].pid],
            "command": [command.pid],
        }[victim]
        if pids:
            os.kill(killing.draw.choice(pids), signal.SIGKILL)
            run.kills[victim] += 1
        if victim != "worker":
            return


def n_done(folder: Path) -> int:
    """Count the studies in a results folder."""
    try:
        return sum(len(read_states(path)) for path in part_paths(folder / "predictions"))
    except UsageError:  # replaced while it was read
        return 0


def _is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@contextmanager
def _command(archive: Archive, model: Path, out: Path, work: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        str(Path(sys.executable).with_name("medfuse")), "score", str(archive.root), "--rois", str(archive.rois),
        "--model", str(model), "--out", str(out), "--json-log", *more,
    ]  # fmt: skip
    with (work / f"{out.name}.log").open("ab") as told, _started(command, work, told.fileno()) as process:
        yield process


@contextmanager
def _cluster(work: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """Start a scheduler and a nanny of two workers on this machine; end them and all that they started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    run = [sys.executable, "-m"]
    first = [*run, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    second = [*run, "distributed.cli.dask_worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"]
    with (work / "cluster.log").open("ab") as told, _started(first, work, told.fileno()) as scheduler:
        until = time.monotonic() + START_S
        while time.monotonic() < until and not _listens(port):
            time.sleep(POLL_S)
        with _started(second, work, told.fileno()) as nanny:
            yield address, scheduler, nanny


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _started(command: list[str], work: Path, told: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process; at the end it and whatever it started are ended."""
    environment = {**os.environ, **ONE_THREAD, CONFIG_DIR: str(work / "config"), "DASK_TEMPORARY_DIRECTORY": str(work)}
    process = subprocess.Popen(command, stdout=told, stderr=told, env=environment)  # noqa: S603 - this project's commands
    try:
        yield process
    finally:
        for pid in [*family(process.pid)][::-1]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
