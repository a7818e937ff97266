import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medfuse.errors import ScoringError, UsageError
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, StudyEntry
from medfuse.scoring import ScoreOptions, cluster, score


def results_of(out: Path) -> pd.DataFrame:
    parts = [pd.read_parquet(path) for path in sorted((out / "predictions").glob("part-*.parquet"))]
    table = pd.concat(parts).sort_values(["study_key", "lesion_id"], ignore_index=True)
    return table.drop(columns="seconds")


def poisoned(entry: StudyEntry, uid: str, poison: Any) -> StudyEntry:
    """A study on which whatever reads it dies or hangs."""
    return replace(entry, study_uid=uid, lesions=(), find_lesions=poison)


@pytest.mark.slow
def test_workers_score_as_this_process_does_and_outlive_what_kills_them(
    toy: Any, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    good = list(toy.entries)
    crash = poisoned(good[0], "1.2.3.4.1", partial(os._exit, 1))
    hang = poisoned(good[0], "1.2.3.4.2", partial(time.sleep, 1000))
    studies = [*good[:5], crash, *good[5:20], hang, *good[20:]]
    score(good, predictor=toy_predictor, out=tmp_path / "here", pseudonymizer=names)
    options = ScoreOptions(workers=2, study_seconds=3.0)
    summary = score(studies, predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names, options=options)
    assert (summary.n_scored, summary.n_refused) == (len(good), 2)
    refused = [json.loads(line) for line in (tmp_path / "out" / "refused.jsonl").read_text().splitlines()]
    assert {line["study_key"] for line in refused} == {names.study(entry.study_uid) for entry in (crash, hang)}
    assert all("ended the process that read it, 2 times alone" in line["reason"] for line in refused)
    found = results_of(tmp_path / "out")
    scored = found[found["status"] == "scored"].reset_index(drop=True)
    pd.testing.assert_frame_equal(scored, results_of(tmp_path / "here"), check_exact=True)
    again = score(studies, predictor=toy_predictor, out=tmp_path / "out", pseudonymizer=names)  # other workers: none
    assert again.n_done_before == len(studies)


def test_a_scheduler_that_is_not_there_is_said_so(
    toy: Any, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    options = ScoreOptions(scheduler="nonsense")
    with pytest.raises(UsageError, match="--scheduler: found no scheduler there"):
        score(toy.entries[:1], predictor=toy_predictor, out=tmp_path, pseudonymizer=names, options=options)


def test_workers_that_do_not_come_back_are_said_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        def nthreads(self) -> dict[str, int]:
            return {}

        def has_ready(self) -> bool:
            return False

    nobody: Any = Nobody()
    monkeypatch.setattr(cluster, "COUNT_EVERY_S", 0.0)
    with pytest.raises(ScoringError, match="workers: found none for 0 s"):
        cluster._Room(nobody, patience=0.05).wait_for(nobody)


BARE = """
import asyncio, sys
sys.modules["medfuse"] = None  # as where it is not installed
from distributed import Scheduler

async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_scheduler_without_medfuse_is_named(
    toy: Any, toy_predictor: Predictor, names: Pseudonymizer, tmp_path: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            options = ScoreOptions(scheduler=process.stdout.readline().decode().strip())
            with pytest.raises(ScoringError, match="expected medfuse in the scheduler's own environment"):
                score(toy.entries[:1], predictor=toy_predictor, out=tmp_path, pseudonymizer=names, options=options)
        finally:
            process.kill()
