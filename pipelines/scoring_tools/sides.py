"""The two sides that score an archive of CT series: medfuse's workers, and a loop as MONAI's documentation has it."""

from __future__ import annotations

import csv
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medfuse.data import collate
from medfuse.inference import Predictor
from medfuse.io import Pseudonymizer
from medfuse.io.inputs import FoundStudies
from medfuse.memory import prepare_process
from medfuse.scoring.work import Work, to_works
from medfuse.tensors import Batch, Sample
from medfuse.types import CaseId

__all__ = ["Peak", "family", "measure_medfuse", "measure_monai", "names_of", "watched", "works_of"]

KEY = bytes(32)
LEAST_STUDIES = 256
"""That medfuse scores, each series again and again: one round of a few would end within its first chunks."""

N_FIRST = 32
"""Studies that are left out of its time, and with them the workers' start."""

POLL_S = 0.2


@dataclass
class Peak:
    """Peak memory of this process and of each that it started, MB, and their CPU time, as far as they were seen."""

    mb: dict[int, float] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    cpu_s: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        """Look at every process once."""
        for pid in family(os.getpid()):
            try:
                status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
                command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
                times = (
                    Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                )
            except OSError:  # it ended meanwhile
                continue
            peak = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
            if peak is not None:
                self.mb[pid] = int(peak.split()[1]) / 1000
                self.names[pid] = command.replace("\0", " ")
                self.cpu_s[pid] = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> Iterator[int]:
    """Yield a process and all that it started, as far as they run."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


@contextmanager
def watched() -> Iterator[Peak]:
    """Watch memory and CPU time of this process and its children."""
    peak, ended = Peak(), threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_S):
            peak.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def measure_medfuse(archive: str, rois: str, model: str, n_studies: str) -> dict[str, Any]:
    """Score an archive by two workers, each series some times over under names of its own.

    Returns
    -------
    dict
        ``s`` and ``cpu_s`` a study, ``peak_mb`` of the largest worker, ``probabilities`` by study.
    """
    from medfuse.scoring.cluster import ClusterScorer

    prepare_process()
    predictor = Predictor.load(model)
    works = works_of(archive, rois, predictor)[: int(n_studies)]
    n_turns = -(-LEAST_STUDIES // len(works))
    many = [replace(work, study_key=f"{work.study_key}-{turn}") for turn in range(n_turns) for work in works]
    scorer = ClusterScorer(predictor, position="require", study_seconds=300, workers=2)
    found: dict[str, float] = {}
    moments: list[tuple[float, float]] = []
    with watched() as peak:
        for number, study in enumerate(scorer.run(many), start=1):
            [answer] = study.rows
            if answer["status"] != "scored":
                raise SystemExit(f"error: benchmark: a study was refused: {answer['reason']}")
            found[study.study_key.partition("-")[0]] = answer["probability_malignancy"]
            if number in (N_FIRST, len(many)):
                peak.look()
                moments.append((time.perf_counter(), sum(peak.cpu_s.values())))
    (started, cpu_before), (ended, cpu) = moments
    n = len(many) - N_FIRST
    workers = [mb for pid, mb in peak.mb.items() if "spawn_main" in peak.names[pid]]
    names = names_of(rois)
    probabilities = {names[key]: value for key, value in found.items()}
    seconds, spent = ended - started, cpu - cpu_before
    return {"s": seconds / n, "cpu_s": spent / n, "peak_mb": max(workers), "probabilities": probabilities}


def measure_monai(archive: str, rois: str, model: str, n_studies: str, way: str) -> dict[str, Any]:
    """Score an archive as a user of MONAI would, with a DataLoader of two workers and an eager float32 model.

    Parameters
    ----------
    archive, rois, model, n_studies : str
    way : {"whole first", "crop first", "whole"}
        What comes first, resampling the series or cropping it; or no crop.

    Returns
    -------
    dict
        As `measure_medfuse`; its peak is that of the largest process.
    """
    from monai.data import DataLoader, Dataset

    predictor = Predictor.load(model)
    items = [
        {"image": str(Path(archive) / f"study{number:06d}"), "centre": centre, "study": study}
        for number, (study, centre) in enumerate(_positions(rois))
    ][: int(n_studies)]
    preprocessing = predictor.preprocessing
    steps = _monai_steps(way, preprocessing.image.size, preprocessing.image.spacing_mm, preprocessing.shown_window)
    target = predictor.bundle.targets[0]
    calibration = predictor.bundle.calibration[target.name]["image"]
    probabilities: dict[str, float] = {}
    with watched() as peak, torch.inference_mode():
        peak.look()
        started, cpu = time.perf_counter(), sum(peak.cpu_s.values())
        for batch in DataLoader(Dataset(items, steps), batch_size=1, num_workers=2):
            sample = Sample(CaseId("S", "1"), image=batch["image"].as_tensor()[0])
            logits = predictor.bundle.model(_collated(sample, predictor)).logits[target.name]
            [study] = batch["study"]
            probabilities[study] = float(calibration.probabilities(logits, target)[0, 1])
        seconds = time.perf_counter() - started
        peak.look()
    n = len(items)
    spent = sum(peak.cpu_s.values()) - cpu
    return {"s": seconds / n, "cpu_s": spent / n, "peak_mb": max(peak.mb.values()), "probabilities": probabilities}


def _monai_steps(way: str, size: Sequence[int], spacing_mm: float | None, window: tuple[float, float]) -> Any:
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd, ScaleIntensityRanged, Spacingd

    step = spacing_mm or 1.0
    low, high = window
    begin = [LoadImaged("image"), EnsureChannelFirstd("image"), Orientationd("image", axcodes="RAS", labels=None)]
    resample = [Spacingd("image", pixdim=(step,) * 3, mode="bilinear")]
    crop_on_grid = [_CropAround(size, step)]
    scale = [ScaleIntensityRanged("image", low, high, 0.0, 1.0, clip=True)]
    middles: dict[str, list[Any]] = {
        "whole first": [*resample, *crop_on_grid],
        "crop first": [_CropAround(size, step, is_native=True), *resample, *crop_on_grid],
        "whole": resample,
    }
    return Compose([*begin, *middles[way], *scale])


class _CropAround:
    """Cuts the box around ``centre`` out of ``image``, on the grid that it has."""

    def __init__(self, size: Sequence[int], step_mm: float, *, is_native: bool = False) -> None:
        self._size, self._step, self._is_native = np.array(size), step_mm, is_native

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        from monai.transforms import SpatialCrop

        affine = np.asarray(item["image"].affine)
        spacing = np.abs(np.diagonal(affine)[:3])
        corner = np.array(item["centre"]) - self._step * (self._size - 1) / 2
        start = np.rint((np.linalg.inv(affine) @ [*corner, 1.0])[:3]).astype(int)
        size = np.ceil(self._size * self._step / spacing).astype(int) + 1 if self._is_native else self._size
        cropped = SpatialCrop(roi_start=start, roi_end=start + size)(item["image"])
        return {**item, "image": cropped}


def _collated(sample: Sample, predictor: Predictor) -> Batch:
    preparation = predictor.preprocessing
    return collate([sample], modalities=preparation.modalities, image_shape=preparation.image_shape)


def works_of(archive: str, rois: str, predictor: Predictor) -> list[Work]:
    """Return the studies of an archive that have a lesion in a rois.csv."""
    found = FoundStudies(Path(archive), rois=Path(rois))
    entries = found.entries(unit=predictor.preprocessing.unit, rule=predictor.bundle.series)
    return [work for work in to_works(entries, Pseudonymizer(KEY)) if work.entry.lesions]


def _positions(rois: str) -> list[tuple[str, tuple[float, ...]]]:
    with Path(rois).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["study_uid"], tuple(float(row[f"{axis}_mm"]) for axis in "xyz")) for row in rows]


def names_of(rois: str) -> dict[str, str]:
    """Return the studies of a rois.csv by their pseudonyms."""
    names = Pseudonymizer(KEY)
    return {names.study(study): study for study, _ in _positions(rois)}
