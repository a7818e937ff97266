"""What a scoring run would do: studies, hours, disk; measured on a few of its studies, and nothing is written."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, StudyEntry
from medfuse.scoring import parts
from medfuse.scoring.engine import identity_of
from medfuse.scoring.ledger import DoneStudies, check_identity
from medfuse.scoring.options import ScoreOptions
from medfuse.scoring.scorer import Scorer
from medfuse.scoring.work import Work, to_works

__all__ = ["ScorePlan", "plan_scoring"]

N_MEASURED = 8
SEED = 0


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """What a run would do.

    Parameters
    ----------
    n_studies, n_done, n_waiting : int
        Of the input; results from the same content; left for this command.
    n_measured, n_refused : int
        Waiting studies that were scored to measure, and those of them with a refused case.
    seconds_a_study : float
    hours : float
        That the waiting ones are expected to take, with as many workers as were asked for.
    disk_mb : float
        That their results are expected to take at most.
    """

    n_studies: int
    n_done: int
    n_waiting: int
    n_measured: int
    n_refused: int
    seconds_a_study: float
    hours: float
    disk_mb: float

    def lines(self) -> list[str]:
        """Return it as text."""
        return [
            f"{self.n_studies} studies: {self.n_done} done, {self.n_waiting} to score",
            f"measured on {self.n_measured} of them: {self.seconds_a_study:.3f} s a study, "
            f"{self.n_refused} with a refused case",
            f"expected: {self.hours:.2f} hours, at most {self.disk_mb:.1f} MB of results",
        ]


def plan_scoring(
    entries: Collection[StudyEntry],
    *,
    predictor: Predictor,
    out: Path,
    pseudonymizer: Pseudonymizer,
    options: ScoreOptions,
) -> ScorePlan:
    """Say what scoring studies into a folder would do.

    Parameters
    ----------
    entries, predictor, out, pseudonymizer, options
        As for `medfuse.scoring.score`.

    Returns
    -------
    ScorePlan

    Raises
    ------
    UsageError
        If ``out`` holds the results of another run.
    """
    check_identity(out, identity_of(predictor, pseudonymizer, position=options.position))
    done = DoneStudies(parts.part_paths(out / "predictions"))
    chosen: list[Work] = []
    n_done = n_waiting = 0
    draw = random.Random(SEED)  # noqa: S311 - a sample, no secret
    for work in to_works(entries, pseudonymizer):
        if done.holds(work.study_key, work.digest, retry_refused=options.retry_refused):
            n_done += 1
        elif options.takes(work.study_key):
            n_waiting += 1
            _keep_some(chosen, work, n_waiting, draw)
    seconds, n_bytes, n_refused = _measure(chosen, predictor, options)
    processes = max(1, options.workers)
    return ScorePlan(
        len(entries),
        n_done,
        n_waiting,
        len(chosen),
        n_refused,
        seconds,
        n_waiting * seconds / processes / 3600,
        n_waiting * n_bytes / 1e6,
    )


def _keep_some(chosen: list[Work], work: Work, n_seen: int, draw: random.Random) -> None:
    """Keep an even sample of what passes. Source: Vitter 1985, Random sampling with a reservoir, algorithm R."""
    if len(chosen) < N_MEASURED:
        chosen.append(work)
    elif (place := draw.randrange(n_seen)) < N_MEASURED:
        chosen[place] = work


def _measure(works: Iterable[Work], predictor: Predictor, options: ScoreOptions) -> tuple[float, float, int]:
    """Return seconds and bytes a study, and how many of some have a refused case."""
    chosen = list(works)
    if not chosen:
        return 0.0, 0.0, 0
    scorer = Scorer(predictor, position=options.position, study_seconds=options.study_seconds)
    list(scorer.run(chosen[:1]))  # the first pays for what is imported where it is used
    started = time.perf_counter()
    found = list(scorer.run(chosen))
    seconds = (time.perf_counter() - started) / len(chosen)
    n_bytes = sum(len(json.dumps(row)) for study in found for row in study.rows) / len(chosen)
    return seconds, n_bytes, sum(any(row["status"] == "refused" for row in study.rows) for study in found)
