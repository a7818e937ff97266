"""Scoring more and more studies: memory and time of the command, what scheduling costs, a simulated archive."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from medfuse.config import SeriesRule
from medfuse.errors import DataError
from medfuse.inference import Predictor
from medfuse.io import LesionEntry, Pseudonymizer, StudyEntry
from medfuse.io.archive_series import FoundSeries
from medfuse.io.series_files import SeriesFiles
from medfuse.io.study_stream import StoredStudies, StudyTable
from medfuse.scoring import Ledger, ScoreOptions, plan_scoring
from medfuse.scoring.engine import identity_of
from medfuse.scoring.rows import RowLayout
from medfuse.scoring.work import Work, to_works
from pipelines.scoring_tools.inputs import SMALL_SCAN, make_model, write_archive
from pipelines.scoring_tools.sides import watched

__all__ = ["growth", "measure_command", "measure_overhead", "measure_simulation"]

KEY = bytes(32)
PART_STUDIES = 4096
N_FIRST = 200
"""Studies that are left out of the overhead's time, and with them the workers' start and the first, short chunks."""


def growth(
    work: Path, *, sizes: Sequence[int], workers: int, run: Callable[..., dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Score archives of small studies by the command, each twice, in processes of their own.

    Parameters
    ----------
    work : Path
    sizes : sequence of int
        Studies.
    workers : int
    run : callable
        Measures in a process of its own.

    Returns
    -------
    dict of int to dict
        By size: ``peak_mb`` of the command, of its largest worker and of its largest other process, ``s`` a study
        without the start, and ``resume_s``.
    """
    found: dict[int, dict[str, Any]] = {}
    model = make_model(SMALL_SCAN, work / "models")
    for size in sizes:
        archive, rois = write_archive(work / f"small_{size}", SMALL_SCAN, n_studies=size)
        with tempfile.TemporaryDirectory(dir=work) as out:
            arguments = [str(archive), "--rois", str(rois), "--model", str(model), "--out", f"{out}/scores", "--quiet"]
            first = run("command", "score", *arguments, "--workers", str(workers))
            again = run("command", "score", *arguments, "--workers", str(workers))
        found[size] = {"peak_mb": first["peak_mb"], "s": first["s"], "resume_s": again["s"]}
    start = found[min(found)]["s"] if found else 0.0
    for size, figures in found.items():
        figures["s"] = (
            max(figures["s"] - start, 1e-6) / max(size - min(found), 1) if size > min(found) else start / size
        )
    return found


def measure_command(*arguments: str) -> dict[str, Any]:
    """Run a command of medfuse and watch its processes.

    Returns
    -------
    dict
        ``s``, and ``peak_mb`` of the command, of its largest worker and of its largest other process.
    """
    command = [str(Path(sys.executable).with_name("medfuse")), *arguments]
    with watched() as peak:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603
        _, told = process.communicate()
        seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"error: benchmark: the command ended with {process.returncode}: {told[-2000:]}")
    groups: dict[str, list[float]] = {"command": [0.1], "worker": [0.1], "others": [0.1]}
    for pid, mb in peak.mb.items():
        if pid != os.getpid():
            group = "command" if pid == process.pid else "worker" if "spawn_main" in peak.names[pid] else "others"
            groups[group].append(mb)
    return {"s": seconds, "peak_mb": {group: max(found) for group, found in groups.items()}}


def measure_overhead(n_studies: str, seconds: str, workers: str) -> dict[str, Any]:
    """Score studies that do nothing but take their time; the workers' start is left out.

    Returns
    -------
    dict
        ``percent`` above the time that the studies take themselves.
    """
    from medfuse.scoring.cluster import ClusterScorer

    with tempfile.TemporaryDirectory() as folder:
        predictor = Predictor.load(make_model(SMALL_SCAN, Path(folder)))
    n, each, n_workers = int(n_studies), float(seconds), int(workers)
    entries = (StudyEntry(str(number), "P", find_lesions=partial(_take, each)) for number in range(n))
    scorer = ClusterScorer(predictor, position="require", study_seconds=60, workers=n_workers)
    moments = [time.perf_counter() for _ in scorer.run(to_works(entries, Pseudonymizer(KEY)))]
    # Results come a chunk at a time: the time begins with the end of one.
    first = next(k for k in range(N_FIRST, n) if moments[k + 1] - moments[k] > each)
    least = (n - first - 1) * each / n_workers
    spent = moments[-1] - moments[first]
    return {"percent": 100 * (spent / least - 1), "s": spent}


def _take(seconds: float) -> tuple[LesionEntry, ...]:
    time.sleep(seconds)
    raise DataError("study", "found nothing in it", expected="nothing: it took its time")


def measure_simulation(n_studies: str) -> dict[str, Any]:
    """Make index, ledger and plan of studies that are nowhere.

    Returns
    -------
    dict
        ``s`` and ``peak_mb`` of the process, by what was made.
    """
    n = int(n_studies)
    with tempfile.TemporaryDirectory() as folder:
        predictor = Predictor.load(make_model(SMALL_SCAN, Path(folder) / "models"))
        out, names = Path(folder) / "scores", Pseudonymizer(KEY)
        spent: dict[str, float] = {}
        peaks: dict[str, float] = {}

        def timed(what: str, run: Callable[[], Any]) -> Any:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far is forgotten
            started = time.perf_counter()
            made = run()
            spent[what], peaks[what] = time.perf_counter() - started, _peak_mb()
            return made

        studies = timed("index", lambda: StoredStudies(_table(n), unit="HU", rule=SeriesRule()))
        identity = identity_of(predictor, names, position="require")
        layout = RowLayout.of(predictor.bundle)
        timed("ledger, written", lambda: _write(out, identity, layout, to_works(islice(studies, n - 8), names)))
        options = ScoreOptions()
        plan = timed(
            "plan, with the ledger read",
            lambda: plan_scoring(studies, predictor=predictor, out=out, pseudonymizer=names, options=options),
        )
        if (plan.n_studies, plan.n_done, plan.n_waiting) != (n, n - 8, 8):
            raise SystemExit("error: benchmark: the plan of the simulated archive is wrong")
    return {"s": spent, "peak_mb": peaks}


def _table(n: int) -> StudyTable:
    table = StudyTable(Path("/nowhere"))
    for number in range(n):
        uid = f"2.25.{10**20 + number}"
        names = SeriesFiles.of("/nowhere", [f"{number:07d}/{k:04d}.dcm" for k in range(200)])
        row: Mapping[str, object] = {
            "study_uid": uid, "series_uid": f"{uid}.1", "patient_id": f"P{number}", "accession_number": "",
            "modality": "CT", "n_volumes": 1, "is_volume": True, "reason": "", "warnings": "", "n_files": 200,
            "n_slices": 200, "rows": 512, "columns": 512, "slice_thickness_mm": 1.0, "kernel": "B30f",
            "frame_of_reference_uid": f"{uid}.2", "slice_step_mm": 1.0,
        }  # fmt: skip
        table.add_series(FoundSeries(dict(row), names, frozenset({Path("/nowhere", f"{number:07d}")})))
        table.add_lesion(uid, LesionEntry("1", centre=(1.0, 2.0, 3.0)))
    return table


def _write(out: Path, identity: Mapping[str, str], layout: RowLayout, works: Iterator[Work]) -> None:
    error = DataError("study", "was made up")
    with Ledger(out, identity=identity) as ledger:
        for number, work in enumerate(works, start=1):
            row = layout.refused(work.study_key, [("1", "read", error)])[0] | {"status": "scored", "reason": ""}
            ledger.add(work.study_key, [row], digest=work.digest)
            if number % PART_STUDIES == 0:
                ledger.flush()
        ledger.flush()
        ledger.write_lists()


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000
