"""Scoring by worker processes of dask.distributed, on this machine or on a cluster: what they lose is done again."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import dask
from distributed import CancelledError, Client, Future, LocalCluster, WorkerPlugin, as_completed, get_worker
from distributed.scheduler import KilledWorker

from medfuse.data.positions import WHOLE, Position
from medfuse.errors import DataError, MedfuseError, ScoringError, UsageError
from medfuse.inference import Predictor
from medfuse.scoring.limits import end_process_after
from medfuse.scoring.rows import RowLayout
from medfuse.scoring.scorer import N_TRIES, Scorer, StudyRows
from medfuse.scoring.work import Work

__all__ = ["ClusterScorer", "ScorerPlugin", "score_chunk"]

PLUGIN, TOPIC = "medfuse-scorer", "medfuse-in-hand"
CHUNKS_A_WORKER = 2
CHUNK_SECONDS, FIRST_CHUNK, MAX_CHUNK = 2.0, 4, 64
COUNT_EVERY_S = 5.0
NO_WORKER_S, WAIT_S = 300.0, 0.02
"""A worker of this machine that ended comes back in seconds, on a busy one in a minute; a cluster's may queue."""

UNREADABLE = "deserialization of the task graph"
"""What a scheduler says of tasks of a package that it has not got."""

WORKER_ENVIRONMENT = {
    # See the Makefile: pooled 3D networks spend their time in malloc, and waiting threads take others' cores.
    "MALLOC_TRIM_THRESHOLD_": 4_000_000_000,
    "MALLOC_MMAP_THRESHOLD_": 4_000_000_000,
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
}
log = logging.getLogger("medfuse")


class ScorerPlugin(WorkerPlugin):  # type: ignore[misc]
    """Gives a worker the model, once, however many studies it scores.

    Parameters
    ----------
    predictor : Predictor
    position : {"require", "centre"}
    study_seconds : float
        A worker that reads one study for longer ends itself, and is started anew by its nanny.
    """

    name = PLUGIN

    def __init__(self, predictor: Predictor, *, position: Position, study_seconds: float) -> None:
        self._arguments: tuple[Predictor, Position, float] = (predictor, position, study_seconds)

    def setup(self, worker: Any) -> None:
        """Begin on a worker."""
        import torch

        torch.set_num_threads(1)
        predictor, position, seconds = self._arguments
        self.lock = threading.Lock()  # one chunk at a time, whatever number of threads the worker was given
        self.scorer = Scorer(predictor, position=position, study_seconds=seconds, limit=end_process_after)


def score_chunk(works: Sequence[Work]) -> tuple[list[StudyRows], float]:
    """Score a few studies on a worker, each announced before it is read.

    Parameters
    ----------
    works : sequence of Work

    Returns
    -------
    rows : list of StudyRows
    seconds : float
    """
    worker = get_worker()
    plugin: ScorerPlugin = worker.plugins[PLUGIN]

    def announced() -> Iterator[Work]:
        for work in works:
            worker.log_event(TOPIC, (worker.address, work.study_key))
            yield work

    with plugin.lock:
        started = time.perf_counter()
        rows = list(plugin.scorer.run(announced()))
        return rows, time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class _Chunk:
    works: tuple[Work, ...]
    n_deaths: int = 0


class ClusterScorer:
    """Scores studies by the workers of a cluster, as `Scorer` does in this process.

    Parameters
    ----------
    predictor : Predictor
    position : {"require", "centre"}
    study_seconds : float
        See `Scorer`.
    workers : int
        Processes to start on this machine; 0 where there is a scheduler.
    scheduler : str
        Address of a scheduler of dask.distributed whose workers see the archive under the same paths.
    """

    def __init__(
        self, predictor: Predictor, *, position: Position, study_seconds: float, workers: int = 0, scheduler: str = ""
    ) -> None:
        self._plugin = ScorerPlugin(predictor, position=position, study_seconds=study_seconds)
        self._layout = RowLayout.of(predictor.bundle)
        self._study_seconds = study_seconds
        self._workers, self._scheduler = workers, scheduler

    def run(self, works: Iterable[Work]) -> Iterator[StudyRows]:
        """Score studies; see `Scorer.run`.

        A worker that ends takes its chunk with it: the study that it had in hand is tried alone, the others again
        together. One that ends two workers alone is refused.

        Raises
        ------
        UsageError
            If there is no such scheduler.
        ScoringError
            If the scheduler is lost. What was done stays.
        """
        waiting = iter(works)
        first = next(waiting, None)
        if first is None:
            return
        with _connected(self._workers, self._scheduler) as client:
            in_hand: dict[str, str] = {}
            client.subscribe_topic(TOPIC, lambda event: in_hand.update([event[1]]))
            client.register_plugin(self._plugin)
            try:
                yield from self._results(client, chain([first], waiting), in_hand)
            finally:
                _quietly(client.unregister_worker_plugin, PLUGIN)

    def _results(self, client: Client, works: Iterable[Work], in_hand: dict[str, str]) -> Iterator[StudyRows]:
        chunks = _Chunks(works)
        waiting: dict[Future, _Chunk] = {}
        done = as_completed(loop=client.loop)
        room = _Room(client, patience=NO_WORKER_S if self._workers else float("inf"))
        n_alone = Counter[str]()
        while True:
            while len(waiting) < room.n_chunks() and (chunk := chunks.next()) is not None:
                future = client.submit(score_chunk, chunk.works, pure=False, retries=0)
                waiting[future] = chunk
                done.add(future)
            if not waiting:
                return
            room.wait_for(done)
            future = next(done)
            chunk = waiting.pop(future)
            try:
                rows, seconds = future.result()
            except KilledWorker as error:
                studied = in_hand.get(error.last_worker.address, "")
                refused = chunks.take_back(chunk, studied, n_alone)
                yield from map(self._refused, refused)
            except (CancelledError, OSError, TimeoutError) as error:
                raise _lost(error) from error
            except RuntimeError as error:
                if UNREADABLE not in str(error):
                    raise
                expected = "medfuse in the scheduler's own environment, in the same version"
                raise ScoringError("--scheduler", "it cannot read what is to be done", expected=expected) from error
            else:
                chunks.learn(seconds / len(chunk.works))
                yield from rows
            future.release()

    def _refused(self, work: Work) -> StudyRows:
        found = f"ended the process that read it, {N_TRIES} times alone (a crash, no memory left, or over "
        error = DataError("study", f"{found}{self._study_seconds:.0f} s)", expected="a study that can be read")
        return StudyRows(work.study_key, work.digest, self._layout.refused(work.study_key, [(WHOLE, "read", error)]))


class _Chunks:
    """The studies in chunks that take about `CHUNK_SECONDS`; those that are tried again come first."""

    def __init__(self, works: Iterable[Work]) -> None:
        self._works = iter(works)
        self._again: deque[_Chunk] = deque()
        self._size = FIRST_CHUNK

    def next(self) -> _Chunk | None:
        if self._again:
            return self._again.popleft()
        works = tuple(islice(self._works, self._size))
        return _Chunk(works) if works else None

    def learn(self, seconds_a_study: float) -> None:
        """Fit the size to how long a study takes."""
        wanted = round(CHUNK_SECONDS / max(seconds_a_study, 1e-6))
        self._size = max(1, min(wanted, 2 * self._size, MAX_CHUNK))

    def take_back(self, chunk: _Chunk, in_hand: str, n_alone: Counter[str]) -> list[Work]:
        """Queue the studies of a chunk whose worker ended again; return those that are given up."""
        if len(chunk.works) == 1:
            (work,) = chunk.works
            n_alone[work.study_key] += in_hand in ("", work.study_key)
            if n_alone[work.study_key] >= N_TRIES:
                return [work]
            self._again.append(chunk)
            return []
        n_deaths = chunk.n_deaths + 1
        suspects = [work for work in chunk.works if work.study_key == in_hand or n_deaths > N_TRIES]
        named = {work.study_key for work in suspects}
        others = tuple(work for work in chunk.works if work.study_key not in named)
        self._again += [_Chunk((work,)) for work in suspects]
        if others:
            self._again.append(_Chunk(others, n_deaths if suspects else chunk.n_deaths))
        return []


class _Room:
    """How many chunks may be on their way: a few a worker, so that neither they nor memory wait."""

    def __init__(self, client: Client, *, patience: float) -> None:
        self._client, self._patience = client, patience
        self._counted = -COUNT_EVERY_S
        self._n_workers = 1

    def n_chunks(self) -> int:
        now = time.monotonic()
        if now - self._counted >= COUNT_EVERY_S:
            self._n_workers = max(1, len(self._client.nthreads()))
            self._counted = now
        return CHUNKS_A_WORKER * self._n_workers

    def wait_for(self, done: as_completed) -> None:
        """Wait until a chunk is done, as long as there is a worker, or one may come back.

        Raises
        ------
        ScoringError
            If there has been none for longer than one has patience, seconds.
        """
        seen = counted = time.monotonic()
        while not done.has_ready():
            time.sleep(WAIT_S)
            now = time.monotonic()
            if now - counted < COUNT_EVERY_S:
                continue
            counted = now
            if self._client.nthreads():
                seen = now
            elif now - seen > self._patience:
                expected = "workers that come back; the same command then goes on"
                raise ScoringError("workers", f"found none for {self._patience:.0f} s", expected=expected)


@contextmanager
def _connected(workers: int, scheduler: str) -> Iterator[Client]:
    """Yield a client of a scheduler, or of one that is started here with its workers."""
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.admin.low-level-log-length": 0,
    }
    with dask.config.set(settings):
        if scheduler:
            try:
                client = Client(scheduler, timeout="10s", set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                found = f"found no scheduler there ({type(error).__name__})"
                raise UsageError("--scheduler", found, expected="its address, as in tcp://host:8786") from error
            with client:
                yield client
            return
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):  # fmt: skip
            yield client


def _quietly(call: Callable[..., object], *arguments: object) -> None:
    """Clean up where that is still possible."""
    try:
        call(*arguments)
    except (OSError, TimeoutError, CancelledError, MedfuseError) as error:
        log.debug("not cleaned up: %s", type(error).__name__)


def _lost(error: BaseException) -> ScoringError:
    found = f"was lost ({type(error).__name__})"
    return ScoringError("scheduler", found, expected="one that stays; the same command then goes on")
