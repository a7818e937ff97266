"""An archive's studies -> its results folder, in this process or by workers. One bad study never stops the rest."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medfuse import __version__
from medfuse.config import flatten
from medfuse.data.positions import Position
from medfuse.errors import ScoringError, UsageError
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer, StudyEntry
from medfuse.io.study_stream import StoredStudies
from medfuse.scoring.ledger import Ledger
from medfuse.scoring.meter import Meter
from medfuse.scoring.options import ScoreOptions
from medfuse.scoring.parts import key_of
from medfuse.scoring.retrieval import RetrievedStudies
from medfuse.scoring.scorer import Scorer, StudyRows
from medfuse.scoring.summary import write_summary
from medfuse.scoring.work import Work, to_works

if TYPE_CHECKING:
    from medfuse.scoring.cluster import ClusterScorer

__all__ = ["ScoreSummary", "identity_of", "score"]

FLUSH_SECONDS, MAX_FLUSH_SECONDS = 2.0, 60.0
FLUSH_SHARE = 0.02
"""Finished rows wait for the disk this share of the time that the run has taken, between those bounds."""

FLUSH_STUDIES = 4096


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """How a scoring run ended: cases scored and refused in all, studies done before it, its seconds, its identity.

    ``n_warned`` of the scored cases carry a warning: see warnings.jsonl.
    """

    n_scored: int
    n_refused: int
    n_done_before: int
    seconds: float
    identity: Mapping[str, str]
    n_warned: int = 0


def score(
    entries: Collection[StudyEntry],
    *,
    predictor: Predictor,
    out: Path,
    pseudonymizer: Pseudonymizer,
    options: ScoreOptions | None = None,
    meter: Meter | None = None,
) -> ScoreSummary:
    """Score studies into a results folder; a folder of the same model goes on where it stopped.

    A study whose content changed since, for example by a late report, is scored again, and it alone.

    Parameters
    ----------
    entries : collection of StudyEntry
        Each study once, as `medfuse.io.find_studies` gives them.
    predictor : Predictor
    out : Path
        Gets predictions/part-*.parquet, refused.jsonl, warnings.jsonl, summary.html and run.json. Ids in it are
        keyed pseudonyms.
    pseudonymizer : Pseudonymizer
    options : ScoreOptions, optional
    meter : Meter, optional
        Shows how far it is.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    UsageError
        If ``out`` holds the results of another model, other options or another pseudonym key, or a study is
        given more than once.
    ScoringError
        If the results cannot be written any more. What was written stays, and the same call goes on from there.
    """
    started = time.monotonic()
    options, meter = options or ScoreOptions(), meter or Meter(quiet=True)
    _check_once(entries)
    identity = identity_of(predictor, pseudonymizer, position=options.position)
    about = {"medfuse": __version__, "studies": len(entries)}
    with Ledger(out, identity=identity, share=options.share) as ledger:
        ledger.write_run({"state": "running", **about})
        waiting = _Waiting(to_works(entries, pseudonymizer), ledger, options, meter)
        meter.start(len(entries))
        _write_rows(_scorer(predictor, options).run(waiting), ledger, meter, started)
        counts = ledger.count()
        ledger.write_lists()
        write_summary(out)
        seconds = round(time.monotonic() - started, 3)
        is_whole = options.share[1] == 1 or ledger.n_done_now() >= len(entries)
        found = {"scored": counts.n_scored, "refused": counts.n_refused, "warned": counts.n_warned}
        state = {"state": "finished", "source": options.source} if is_whole else {"state": "running"}
        ledger.write_run({**state, **about, **found, "seconds": seconds})
    return ScoreSummary(*counts[:2], waiting.n_done, seconds, identity, n_warned=counts.n_warned)


def _scorer(predictor: Predictor, options: ScoreOptions) -> Scorer | ClusterScorer:
    """Return what scores: dask is imported only where it is asked for."""
    if not (options.workers or options.scheduler):
        return Scorer(predictor, position=options.position, study_seconds=options.study_seconds)
    from medfuse.scoring.cluster import ClusterScorer

    return ClusterScorer(
        predictor,
        position=options.position,
        study_seconds=options.study_seconds,
        workers=options.workers,
        scheduler=options.scheduler,
    )


def identity_of(predictor: Predictor, pseudonymizer: Pseudonymizer, *, position: Position) -> dict[str, str]:
    """Return what must be equal for a results folder to be continued."""
    bundle = predictor.bundle
    config: dict[str, Any] = {
        "preprocessing": predictor.preprocessing.to_dict(),
        "model": bundle.config.model_dump(mode="json"),
        "series": bundle.series.model_dump(mode="json"),
    }
    return {
        "model_id": bundle.model_id,
        "position": position,
        # A pseudonym that only this key gives: under another one the same study would be there twice.
        "pseudonym_key": pseudonymizer.file("ledger"),
        "preprocessing_digest": predictor.preprocessing.digest,
        **flatten(config),
    }


class _Waiting(Iterable[Work]):
    """The studies of this share that are not done; those that are, are counted on the way."""

    def __init__(self, works: Iterable[Work], ledger: Ledger, options: ScoreOptions, meter: Meter) -> None:
        self._works, self._ledger, self._options, self._meter = works, ledger, options, meter
        self.n_done = 0

    def __iter__(self) -> Iterator[Work]:
        for work in self._works:
            if not self._options.takes(work.study_key):
                self._meter.skip()
            elif self._ledger.done.holds(work.study_key, work.digest, retry_refused=self._options.retry_refused):
                self.n_done += 1
                self._meter.skip()
            else:
                yield work


def _write_rows(results: Iterable[StudyRows], ledger: Ledger, meter: Meter, started: float) -> None:
    """Write results as they come; what is finished when the run is interrupted is written too."""
    flushed, n_waiting = time.monotonic(), 0
    try:
        for found in results:
            ledger.add(found.study_key, found.rows, digest=found.digest)
            meter.add(found.rows)
            n_waiting += 1
            now = time.monotonic()
            if n_waiting >= FLUSH_STUDIES or now - flushed >= _patience(now - started):
                ledger.flush()
                flushed, n_waiting = now, 0
    except ScoringError:
        raise
    except BaseException:
        ledger.flush()
        raise
    ledger.flush()


def _patience(seconds: float) -> float:
    """Return how long finished rows may wait for the disk, after so long a run.

    Examples
    --------
    >>> _patience(10), _patience(1000), _patience(100_000)
    (2.0, 20.0, 60.0)
    """
    return min(max(FLUSH_SHARE * seconds, FLUSH_SECONDS), MAX_FLUSH_SECONDS)


def _check_once(entries: Collection[StudyEntry]) -> None:
    """Refuse a list that names a study twice; what an archive holds, or a service lists, is there once."""
    if isinstance(entries, StoredStudies | RetrievedStudies):
        return
    if n_twice := len(entries) - len({key_of(entry.study_uid) for entry in entries}):
        plural = "studies" if n_twice > 1 else "study"
        raise UsageError("INPUT", f"found {n_twice} {plural} more than once", expected="each study once")
