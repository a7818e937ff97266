"""Studies in, rows out: read here, predicted in a second thread, in batches over several studies."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from medfuse.data.positions import WHOLE, Position
from medfuse.errors import DataError, MedfuseError, UsageError
from medfuse.inference import Predictor
from medfuse.scoring.batches import Answer, Batches, PendingStudy, batch_size_for, timed
from medfuse.scoring.limits import Limit, alarm_after
from medfuse.scoring.preparing import PreparedStudy, prepare_study
from medfuse.scoring.rows import Row, RowLayout, unique_texts
from medfuse.scoring.work import Work
from medfuse.tensors import Sample
from medfuse.types import Prediction

__all__ = ["N_TRIES", "Scorer", "StudyRows"]

N_TRIES = 2
MAX_SENT = 2
"""Batches that wait for their answers: reading stops until one is done."""


class StudyRows(NamedTuple):
    """What became of one study."""

    study_key: str
    digest: int
    rows: list[Row]


class Scorer:
    """Scores studies with one model.

    A case's answer is the same to the bit whatever lies beside it: batches are of one size, their cases have the same
    modalities and texts of one padded length, and what lacks is filled up by repeating a case.

    Parameters
    ----------
    predictor : Predictor
    position : {"require", "centre"}
        What to do with a study that has no lesion position: refuse it, or take the volume's centre.
    study_seconds : float
        How long reading one study may take.
    limit : callable
        What becomes of one that takes longer.
    """

    def __init__(
        self, predictor: Predictor, *, position: Position, study_seconds: float, limit: Limit = alarm_after
    ) -> None:
        self.predictor = predictor
        self.layout = RowLayout.of(predictor.bundle)
        self._position: Position = position
        self._seconds = study_seconds
        self._limit = limit
        self._batch_size = batch_size_for(predictor.bundle.model)

    def run(self, works: Iterable[Work]) -> Iterator[StudyRows]:
        """Score studies.

        Parameters
        ----------
        works : iterable of Work

        Yields
        ------
        StudyRows
            In the order in which they are done; each study once, each of its cases scored or refused.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="predict") as pool:
            batches = Batches(self._batch_size, lambda samples: pool.submit(timed, self._answer, samples))
            for work in works:
                started = time.perf_counter()
                prepared = self._prepare(work)
                batches.add(PendingStudy(work, prepared, time.perf_counter() - started))
                yield from map(self._rows, batches.finished(max_sent=MAX_SENT))
            batches.send_all()
            yield from map(self._rows, batches.finished(max_sent=0))

    def _prepare(self, work: Work) -> PreparedStudy:
        """Prepare a study; what goes wrong in a way that nobody foresaw is tried twice."""
        refusal: MedfuseError | None = None
        for _ in range(N_TRIES):
            try:
                with self._limit(self._seconds):
                    return prepare_study(work, preprocessing=self.predictor.preprocessing, position=self._position)
            except UsageError:
                raise
            except Exception as error:
                refusal = _as_refusal(error)
        return refused_study(work, refusal or DataError("study", "was not read"))

    def _answer(self, samples: Sequence[Sample]) -> list[Answer]:
        """Predict a batch; if that fails, case by case, and what fails again is refused."""
        try:
            return list(self._predict(samples))
        except Exception:
            return [self._answer_alone(sample) for sample in samples]

    def _answer_alone(self, sample: Sample) -> Answer:
        try:
            return self._predict([sample])[0]
        except Exception as error:
            return _as_refusal(error)

    def _predict(self, samples: Sequence[Sample]) -> list[list[Prediction]]:
        n = self._batch_size
        predictions = self.predictor.predict_samples([*samples, *[samples[-1]] * (n - len(samples))])
        return [predictions[row::n] for row in range(len(samples))]

    def _rows(self, study: PendingStudy) -> StudyRows:
        prepared = study.prepared
        scored = self.layout.scored(study.predictions)
        for row in scored:
            flags = prepared.flags.get(row["lesion_id"], ())
            row["flags"] = unique_texts([*filter(None, row["flags"].split("; ")), *flags])
        rows = [*self.layout.refused(prepared.study_key, (*prepared.refusals, *study.refusals)), *scored]
        told = {"warnings": prepared.warnings, "seconds": round(study.seconds / len(rows), 4)}
        return StudyRows(study.work.study_key, study.work.digest, [row | told for row in rows])


def refused_study(work: Work, error: MedfuseError) -> PreparedStudy:
    """Return a study that cannot be read at all."""
    return PreparedStudy(work.study_key, (), ((WHOLE, "read", error),), "", {})


def _as_refusal(error: Exception) -> MedfuseError:
    """Return why a study is refused; the words of an error that nobody foresaw may name a patient and are left out."""
    if isinstance(error, MedfuseError):
        return error
    found = f"met an unexpected {type(error).__name__}, twice"
    return DataError("study", found, expected="a report of this fault to medfuse, without the study")
