"""Fill the store of prepared images with those of a manifest, in several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

from medfuse.data.prepared import Preparer, open_store
from medfuse.data.preprocessing import Preprocessing
from medfuse.errors import DataError, MedfuseError, UsageError
from medfuse.image_config import CacheConfig
from medfuse.io import Manifest, Pseudonymizer, StudyEntry
from medfuse.progress import Progress

__all__ = ["Filled", "fill_store", "usable_cores"]


@dataclass(frozen=True, slots=True)
class Filled:
    """How a run ended: images made, images that were there, and (study_key, lesion_id, reason) of each refusal."""

    n_made: int
    n_known: int
    refused: tuple[tuple[str, str, str], ...]


def fill_store(
    manifest: Manifest,
    *,
    preprocessing: Preprocessing,
    cache: CacheConfig,
    pseudonymizer: Pseudonymizer,
    workers: int = 1,
    progress: Progress = iter,
) -> Filled:
    """Prepare and keep the image of every case of a manifest that is not kept yet.

    Parameters
    ----------
    manifest : Manifest
    preprocessing : Preprocessing
        Its text options have no part in it.
    cache : CacheConfig
    pseudonymizer : Pseudonymizer
    workers : int
        Processes; a run that is stopped goes on where it was.
    progress : callable
        Wraps the studies, for example to show a bar.

    Returns
    -------
    Filled
        A bad study or lesion is named there; the others go on.

    Raises
    ------
    UsageError
        If the cache is switched off, cannot be written, or is too small for the manifest.
    """
    preprocessing = replace(preprocessing, modalities=("image",))
    entries = [entry for entry in manifest.entries(unit=preprocessing.unit) if entry.images]
    store = open_store(cache)
    if store is None:
        raise UsageError("data.cache.max_gb", "found 0, which keeps no image", expected="a limit above 0")
    with store:
        Preparer(preprocessing, pseudonymizer, store).check_room(entries)
    worker = _Worker(preprocessing, cache, pseudonymizer)
    done = _in_processes(worker, entries, workers=workers) if workers > 1 else map(worker, entries)
    n_made, n_known = 0, 0
    refused: list[tuple[str, str, str]] = []
    for entry in progress(entries):
        made, known, bad = next(done)
        n_made, n_known = n_made + made, n_known + known
        refused += [(pseudonymizer.study(entry.study_uid), lesion_id, reason) for lesion_id, reason in bad]
    return Filled(n_made, n_known, tuple(refused))


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_Done = tuple[int, int, list[tuple[str, str]]]
"""Images made, images known, and (lesion_id, reason) of each refusal."""


class _Worker:
    """Prepares one study after another; each process opens the store for itself."""

    def __init__(self, preprocessing: Preprocessing, cache: CacheConfig, pseudonymizer: Pseudonymizer) -> None:
        self._cache = cache
        self._preparer = Preparer(preprocessing, pseudonymizer)

    def __call__(self, entry: StudyEntry) -> _Done:
        if self._preparer.store is None:
            self._preparer = replace(self._preparer, store=open_store(self._cache))
        preparer, store = self._preparer, self._preparer.store
        n_before = store.n_added if store else 0
        bad: list[tuple[str, MedfuseError]] = []
        images = preparer(entry, refusals=bad)
        n_made = store.n_added - n_before if store else 0
        for lesion_id, image in images.items():
            doubts = preparer.preprocessing.doubts(image.facts, None)
            bad += [(lesion_id, DataError("case", f"found an {doubt}", expected="one unit")) for doubt in doubts]
        return n_made, len(images) - n_made, [(lesion_id, str(error)) for lesion_id, error in bad]


_WORKER: list[_Worker] = []
"""Of this process; a function that another process calls finds it nowhere else."""


def _start(worker: _Worker) -> None:
    _WORKER[:] = [worker]


def _work(entry: StudyEntry) -> _Done:
    return _WORKER[0](entry)


def _in_processes(worker: _Worker, entries: Sequence[StudyEntry], *, workers: int) -> Iterator[_Done]:
    # Not forked: threads that torch may have started would be missing in the child, with their locks held.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(worker,))
    try:
        yield from pool.map(_work, entries)
    except BrokenProcessPool as error:
        found = "found a worker that was killed: too little memory?"
        raise UsageError("--workers", found, expected="fewer workers; what was done is kept") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
