"""Study after study: read, prepare, predict, write. One bad study never stops the rest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medfuse import __version__
from medfuse.data.positions import WHOLE, Position, with_positions
from medfuse.errors import DataError, MedfuseError, UsageError
from medfuse.inference import Predictor
from medfuse.inference.calibration import conditions_of
from medfuse.io import Pseudonymizer, StudyEntry, read_study
from medfuse.progress import Progress
from medfuse.scoring.ledger import Ledger
from medfuse.tensors import Sample
from medfuse.types import Prediction, Study

__all__ = ["ScoreSummary", "score", "score_study"]

STUDIES_A_PART = 64
_Refusal = tuple[str, str, MedfuseError]
"""lesion_id, stage (read, prepare, predict) and why."""


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
    entries: Sequence[StudyEntry],
    *,
    predictor: Predictor,
    out: Path,
    pseudonymizer: Pseudonymizer,
    position: Position = "require",
    progress: Progress = iter,
) -> ScoreSummary:
    """Score studies into a results folder; a folder of the same model goes on where it stopped.

    Parameters
    ----------
    entries : sequence of StudyEntry
        As `medfuse.io.find_studies` gives them.
    predictor : Predictor
    out : Path
        Gets predictions/part-*.parquet, refused.jsonl, warnings.jsonl and run.json. Ids in it are keyed pseudonyms.
    pseudonymizer : Pseudonymizer
    position : {"require", "centre"}
        What to do with a study that has no lesion position: refuse it, or take the volume's centre.
    progress : callable
        Wraps the studies, for example to show a bar.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    UsageError
        If ``out`` holds the results of another model, other options or another pseudonym key, or a study is
        given more than once.
    """
    started = time.perf_counter()
    if n_twice := len(entries) - len({entry.study_uid for entry in entries}):
        plural = "studies" if n_twice > 1 else "study"
        raise UsageError("INPUT", f"found {n_twice} {plural} more than once", expected="each study once")
    identity = {
        "model_id": predictor.bundle.model_id,
        "position": position,
        # A pseudonym that only this key gives: under another one the same study would be there twice.
        "pseudonym_key": pseudonymizer.file("ledger"),
    }
    ledger = Ledger(out, identity=identity)
    waiting = [entry for entry in entries if pseudonymizer.study(entry.study_uid) not in ledger.done]
    for number, entry in enumerate(progress(waiting), start=1):
        ledger.add(score_study(entry, predictor=predictor, pseudonymizer=pseudonymizer, position=position))
        if number % STUDIES_A_PART == 0:
            ledger.flush()
    ledger.flush()
    ledger.write_lists()
    table = ledger.table()
    summary = ScoreSummary(
        int((table["status"] == "scored").sum()),
        int((table["status"] == "refused").sum()),
        len(entries) - len(waiting),
        round(time.perf_counter() - started, 3),
        identity,
        n_warned=int(((table["status"] == "scored") & (table.get("warnings", "") != "")).sum()),
    )
    ledger.write_run(
        {
            "identity": identity,
            "medfuse": __version__,
            "scored": summary.n_scored,
            "refused": summary.n_refused,
            "seconds": summary.seconds,
        }
    )
    return summary


def score_study(
    entry: StudyEntry, *, predictor: Predictor, pseudonymizer: Pseudonymizer, position: Position
) -> list[dict[str, Any]]:
    """Score every case of one study.

    Parameters
    ----------
    entry : StudyEntry
    predictor : Predictor
    pseudonymizer : Pseudonymizer
    position : {"require", "centre"}

    Returns
    -------
    list of dict
        One row a case, scored or refused; a study that cannot be read is one refused row of case ``whole``,
        or one a lesion where each has its own reason.
    """
    started = time.perf_counter()
    study_key = pseudonymizer.study(entry.study_uid)
    refusals: list[_Refusal] = []
    unread: list[tuple[str, MedfuseError]] = []
    predictions: list[Prediction] = []
    warnings = ""
    try:
        study = read_study(entry, pseudonymizer=pseudonymizer, refusals=unread)
    except DataError as error:
        unread = unread or [(WHOLE, error)]
    else:
        samples, refusals = _prepare(study, predictor, position)
        warnings = _warnings(study, samples)
        try:
            predictions = predictor.predict_samples(samples)
        except DataError as error:
            refusals += [(sample.case.lesion_id, "predict", error) for sample in samples]
    refusals = [*((lesion_id, "read", error) for lesion_id, error in unread), *refusals]
    rows = [*_refused_rows(study_key, refusals), *_scored_rows(predictions)]
    seconds = round((time.perf_counter() - started) / len(rows), 4)
    common = {"warnings": warnings, "model_id": predictor.bundle.model_id, "seconds": seconds}
    return [_blank(predictor) | row | common for row in rows]


def _warnings(study: Study, samples: Sequence[Sample]) -> str:
    """Return what the readers noticed in a study's images and texts, and what is against its answers."""
    of_images = {text for volume in study.volumes.values() for text in volume.warnings}
    reports = [report for report in (study.report, *(lesion.text for lesion in study.lesions)) if report is not None]
    of_reports = {f"report {text}" for report in reports for text in report.warnings}
    return "; ".join(sorted(of_images | of_reports | {doubt for sample in samples for doubt in sample.doubts}))


def _prepare(study: Study, predictor: Predictor, position: Position) -> tuple[list[Sample], list[_Refusal]]:
    samples: list[Sample] = []
    refusals: list[_Refusal] = []
    for lesion in with_positions(study, position).lesions:
        try:
            samples.append(predictor.preprocessing(study, lesion))
        except DataError as error:
            refusals.append((lesion.lesion_id, "prepare", error))
    return samples, refusals


def _blank(predictor: Predictor) -> dict[str, Any]:
    """Return an empty row, so that every part has the same columns and types whatever is in it."""
    modalities = predictor.preprocessing.modalities
    single = [condition for condition in conditions_of(modalities) if condition != "fused"]
    names = [name for t in predictor.bundle.targets for name, _ in _columns(t.name, t.classes)]
    text = dict.fromkeys(("study_key", "lesion_id", "status", "stage", "reason", "warnings", "flags"), "")
    numbers = [f"probability_{part}{name}" for name in names for part in ("", *(f"{c}_" for c in single))]
    return {**text, **dict.fromkeys(numbers, float("nan")), "modalities_used": "", "model_id": "", "seconds": 0.0}


def _refused_rows(study_key: str, refusals: Sequence[_Refusal]) -> list[dict[str, Any]]:
    return [
        {
            "study_key": study_key,
            "lesion_id": lesion_id,
            "status": "refused",
            "stage": stage,
            "reason": str(error),
        }
        for lesion_id, stage, error in refusals
    ]


def _scored_rows(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Lay predictions out as one row a case, its targets side by side."""
    rows: dict[str, dict[str, Any]] = {}
    for prediction in predictions:
        row = rows.setdefault(
            str(prediction.case),
            {
                "study_key": prediction.case.study_key,
                "lesion_id": prediction.case.lesion_id,
                "status": "scored",
                "flags": "; ".join(prediction.flags),
                "modalities_used": "+".join(prediction.modalities_used),
            },
        )
        row |= _probabilities(prediction)
    return list(rows.values())


def _probabilities(prediction: Prediction) -> Mapping[str, float]:
    columns = _columns(prediction.target, prediction.classes)
    answer = prediction.probabilities[prediction.condition]
    single = {
        f"probability_{condition}_{name}": values[index]
        for condition, values in prediction.probabilities.items()
        if condition != "fused"
        for name, index in columns
    }
    return {**{f"probability_{name}": answer[index] for name, index in columns}, **single}


def _columns(target: str, classes: Sequence[str]) -> list[tuple[str, int]]:
    """Return the columns of a target by what follows ``probability_``: one if it is binary, else one a class."""
    if len(classes) == 2:
        return [(target, 1)]
    return [(f"{target}_{name}", index) for index, name in enumerate(classes)]
