"""Cases of several studies -> batches whose answers do not depend on what lies beside a case."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import nn

from medfuse.errors import MedfuseError
from medfuse.inference.predictor import TOKEN_MULTIPLE
from medfuse.scoring.preparing import PreparedStudy
from medfuse.scoring.rows import Refusal
from medfuse.scoring.work import Work
from medfuse.tensors import Sample
from medfuse.types import Prediction

__all__ = ["Answer", "Batches", "PendingStudy", "batch_size_for", "timed"]

BATCH_SIZE = 8
MAX_WAIT = 64
"""Studies that a case waits for others of its kind."""

Answer = Sequence[Prediction] | MedfuseError
"""A case's predictions, one a target, or why it has none."""

_BATCH_DEPENDENT = ("RNNBase", "HuggingFaceEncoder")
"""Classes whose sums run over a batch's packed steps or over the chunks of all its texts."""


def batch_size_for(model: nn.Module) -> int:
    """Return how many cases are predicted at once: one, where a batch's other cases would change the last bit.

    Parameters
    ----------
    model : module

    Returns
    -------
    int

    Examples
    --------
    >>> batch_size_for(nn.Linear(2, 2)), batch_size_for(nn.GRU(2, 2))
    (8, 1)
    """
    kinds = {kind.__name__ for module in model.modules() for kind in type(module).__mro__}
    return 1 if kinds & set(_BATCH_DEPENDENT) else BATCH_SIZE


@dataclass(slots=True, eq=False)
class PendingStudy:
    """A study some of whose cases wait for their answers.

    Parameters
    ----------
    work : Work
    prepared : PreparedStudy
    seconds : float
        Spent on it so far.
    """

    work: Work
    prepared: PreparedStudy
    seconds: float
    n_left: int = field(init=False)
    predictions: list[Prediction] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n_left = len(self.prepared.samples)

    def answer(self, sample: Sample, answer: Answer, seconds: float) -> None:
        """Take the answer of one case."""
        self.n_left -= 1
        self.seconds += seconds
        if isinstance(answer, MedfuseError):
            self.refusals.append((sample.case.lesion_id, "predict", answer))
        else:
            self.predictions += answer


_Case = tuple[PendingStudy, Sample]
_Kind = tuple[int, int, int]


class Batches:
    """Gathers the cases of studies into batches of one kind, and the answers back into studies.

    Parameters
    ----------
    size : int
        Cases a batch; a batch that is sent with fewer is filled up by whoever predicts it.
    submit : callable
        Has a batch predicted elsewhere; its result is what `timed` gives.
    """

    def __init__(self, size: int, submit: Callable[[Sequence[Sample]], Future[tuple[list[Answer], float]]]) -> None:
        self._size, self._submit = size, submit
        self._groups: dict[_Kind, list[_Case]] = {}
        self._since: dict[_Kind, int] = {}
        self._sent: deque[tuple[list[_Case], Future[tuple[list[Answer], float]]]] = deque()
        self._finished: deque[PendingStudy] = deque()
        self._n_studies = 0

    def add(self, study: PendingStudy) -> None:
        """Take the cases of a study."""
        self._n_studies += 1
        if not study.n_left:
            self._finished.append(study)
        for sample in study.prepared.samples:
            kind = _kind(sample)
            self._since.setdefault(kind, self._n_studies)
            group = self._groups.setdefault(kind, [])
            group.append((study, sample))
            if len(group) == self._size:
                self._send(kind)
        for late in [kind for kind, since in self._since.items() if self._n_studies - since >= MAX_WAIT]:
            self._send(late)

    def send_all(self) -> None:
        """Send the batches that are not full too."""
        for kind in list(self._groups):
            self._send(kind)

    def finished(self, *, max_sent: int) -> Iterator[PendingStudy]:
        """Yield the studies whose every case is answered.

        Parameters
        ----------
        max_sent : int
            Batches that may go on waiting for their answers; for the others this waits.
        """
        while self._sent and (len(self._sent) > max_sent or self._sent[0][1].done()):
            cases, future = self._sent.popleft()
            answers, seconds = future.result()
            for (study, sample), answer in zip(cases, answers, strict=True):
                study.answer(sample, answer, seconds / len(cases))
                if not study.n_left:
                    self._finished.append(study)
        while self._finished:
            yield self._finished.popleft()

    def _send(self, kind: _Kind) -> None:
        cases = self._groups.pop(kind)
        del self._since[kind]
        self._sent.append((cases, self._submit([sample for _, sample in cases])))


def _kind(sample: Sample) -> _Kind:
    """Tell cases whose tensors have equal shapes: the modalities that are there, and the padded length of the text."""
    length = 0 if sample.token_ids is None else -(-len(sample.token_ids) // TOKEN_MULTIPLE)
    return int(sample.image is not None), length, int(sample.table is not None)


def timed(predict: Callable[[Sequence[Sample]], list[Answer]], samples: Sequence[Sample]) -> tuple[list[Answer], float]:
    """Return the answers of a batch, and how long they took in seconds."""
    started = time.perf_counter()
    return predict(samples), time.perf_counter() - started
